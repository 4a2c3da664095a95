"""
Tariffs: what a quantity of water or electricity costs, exactly. Pure functions only.

A tariff version is a list of charges. A component prices the use, by its own factor and its own
tiers; then come fixed charges, a minimum, and taxes. Each adds its lines. Any number in it may be
a formula, which is worked out where the number is needed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, localcontext
from enum import StrEnum
from fractions import Fraction
from typing import Final, NamedTuple, TypeGuard

from core.billing.formulas import Formula, value_of
from core.billing.tariff_model import (
    MINIMUM,
    Charge,
    ChargePer,
    Component,
    Interval,
    Prices,
    TariffVersion,
    Tax,
)
from core.billing.terms import INTERVAL_NAMES, Names
from core.billing.tiers import TierUse, fill_tiers, in_case, tier_limits, total
from core.errors import DomainError
from core.money import divide, round_minor, round_to
from core.periods import Period

# Only a division can have no exact result: it keeps this many digits after the point.
DIVISION_DIGITS: Final = 12
_AVERAGE_DIGITS: Final = 6
# A bill longer than a month that touches two seasons has to be split before it is priced.
_LONGEST_MONTH_DAYS: Final = 31
# Arithmetic that would lose a digit raises instead.
_EXACT: Final = Context(prec=60, traps=[Inexact, InvalidOperation, DivisionByZero])


class RegisterNotPriced(DomainError):
    """The tariff has no price for what this register counted."""

    code = "billing.register_not_priced"


class PeriodSpansSeasons(DomainError):
    """A period longer than a month has days in two seasons: share its use by days first."""

    code = "billing.period_spans_seasons"


class IntervalsMissing(DomainError):
    """A price follows the market or the hour, and the use of each interval is not known."""

    code = "billing.intervals_missing"


class LineKind(StrEnum):
    """Which part of the tariff made a line."""

    USE = "use"
    FIXED = "fixed"
    MINIMUM = "minimum"
    TAX = "tax"
    LATE = "late"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """
    What each register counted in a period; a meter with one register names it as it likes.

    `intervals` say when, for prices that follow the market or the hour.
    """

    period: Period
    quantities: Mapping[str, Decimal]
    intervals: Sequence[Interval] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PricingContext:
    """
    What the price depends on besides the use.

    `used` is what the tier window already holds, by register, and `window_use` its whole use, if
    there is more to come. `months` are the months counted in the window; `None` is all of it.
    `bill` is the whole bill of which the use is a part, `before` what its earlier parts cost and
    `is_last` whether none follows.
    """

    used: Mapping[str, Decimal] = field(default_factory=dict)
    window_use: Decimal | None = None
    people: int = 1
    months: int | Fraction | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    bill: Usage | None = None
    before: Decimal = Decimal(0)
    is_last: bool = True


class Line(NamedTuple):
    """
    One line of a bill: `amount` is `quantity` times `unit_price`, exact but for part months.

    Where each interval had its price, the unit price is their average, to six digits.
    `tier`, `tier_from` and `tier_to` are set where tiers decided, `register` where the time of
    use did. For a tax the quantity is the taxed amount and the price its rate; for a late
    payment it is what came late to the bill in `code`, and the price its share for a day.
    """

    kind: LineKind
    code: str
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal
    register: str | None = None
    tier: int | None = None
    tier_from: Decimal | None = None
    tier_to: Decimal | None = None


class Priced(NamedTuple):
    """
    A priced use: exact lines and total, the one rounded total, and the new accumulator.

    `cases` are the season and the tier of the cliff that chose limits and prices.
    """

    cases: tuple[str, ...]
    version: TariffVersion
    lines: tuple[Line, ...]
    total: Decimal
    used_before: Mapping[str, Decimal]
    quantities: Mapping[str, Decimal]

    @property
    def total_minor(self) -> int:
        """The total, rounded once by the tariff's rule. Units: minor units."""
        rounding = self.version.rounding
        return round_minor(
            self.total, currency=self.version.currency, mode=rounding.mode, digits=rounding.digits
        )

    @property
    def used(self) -> Mapping[str, Decimal]:
        """What the tier window holds after this use, by register."""
        before, more = self.used_before, self.quantities
        return {
            r: _EXACT.add(before.get(r, Decimal(0)), more.get(r, Decimal(0)))
            for r in (*before, *more)
        }


def price(version: TariffVersion, *, usage: Usage, context: PricingContext) -> Priced:
    """
    Return what the use costs, line by line.

    Use fills the tiers from where `context.used` ends. Where registers have their own prices and
    a bill crosses a limit, each register's use is divided in the proportion of the whole.
    Nothing is rounded but the total, once, by the tariff's rule.

    Raises:
        RegisterNotPriced: a register was used for which a component has no price.
        PeriodSpansSeasons: the period is longer than a month and has days in two seasons.
        ValueError: a quantity is negative or finer than the tariff bills.
    """
    quantities = _billable(usage.quantities, digits=version.quantity_digits)
    used = _billable(context.used, digits=version.quantity_digits)
    with localcontext(_EXACT):
        bill = context.bill or usage
        names = Names(
            version,
            period=bill.period,
            use=total(bill.quantities),
            people=context.people,
            attributes=context.attributes,
        )
        usage = Usage(period=usage.period, quantities=quantities, intervals=usage.intervals)
        pricing = _Pricing(version, usage, context, names, used=total(used))
        lines = pricing.lines()
        return Priced(pricing.cases, version, tuple(lines), _sum(lines), used, quantities)


class _Pricing:
    """One use on its way through a version; the season and the cliff have chosen the cases."""

    def __init__(
        self,
        version: TariffVersion,
        usage: Usage,
        context: PricingContext,
        names: Names,
        *,
        used: Decimal,
    ) -> None:
        self._version, self._usage, self._context = version, usage, context
        self._names, self._used = names, used
        self._limits: dict[str, tuple[Decimal, ...]] = {}
        season = season_of(version, period=usage.period)
        self.cases: tuple[str, ...] = (season,)
        if version.cliff is not None:
            whole = context.window_use
            whole = used + total(usage.quantities) if whole is None else whole
            below = [limit for limit in self._limits_of(version.cliff) if limit < whole]
            self.cases = (season, cliff_case(len(below) + 1))

    def lines(self) -> list[Line]:
        """Return the lines of all charges, in the order of the tariff."""
        version, lines = self._version, list[Line]()
        for code, component in version.components.items():
            lines.extend(self._use_lines(code, component))
        for code, charge in version.fixed.items():
            lines.extend(self._charge_lines(LineKind.FIXED, code, charge))
        if version.minimum:
            lines.extend(self._minimum_lines(version.minimum, lines))
        for code, tax in version.taxes.items():
            lines.append(self._tax_line(code, tax, lines))
        return lines

    def _limits_of(self, tiers: str) -> tuple[Decimal, ...]:
        if tiers not in self._limits:
            self._limits[tiers] = tier_limits(
                self._version.tiers[tiers],
                cases=self.cases,
                names=self._names,
                period=self._usage.period,
                people=self._context.people,
                months=self._context.months,
                digits=self._version.quantity_digits,
            )
        return self._limits[tiers]

    def _use_lines(self, code: str, component: Component) -> Iterator[Line]:
        prices = in_case(component.prices, self.cases)
        if is_by_interval(prices):
            yield from self._interval_lines(code, component, prices[0])
            return
        tiered = component.tiers is not None
        parts = fill_tiers(
            self._limits_of(component.tiers) if component.tiers else (),
            used=self._used,
            quantities=self._usage.quantities,
            digits=self._version.quantity_digits,
        )
        for part in parts:
            for register, used, unit_price in self._priced(code, part, prices):
                quantity = used * component.factor
                yield Line(
                    kind=LineKind.USE,
                    code=code,
                    quantity=quantity,
                    unit_price=unit_price,
                    amount=quantity * unit_price,
                    register=register,
                    tier=part.tier if tiered else None,
                    tier_from=part.starts if tiered else None,
                    tier_to=part.ends if tiered else None,
                )

    def _priced(
        self, code: str, part: TierUse, prices: Prices
    ) -> Iterator[tuple[str | None, Decimal, Decimal]]:
        """Yield what is used of each register in a tier, with its price."""
        by_register = prices[part.tier - 1]
        if not isinstance(by_register, Mapping):
            yield None, total(part.by_register), value_of(by_register, self._names)
            return
        for register, used in part.by_register.items():
            if not used:
                continue
            if register not in by_register:
                raise RegisterNotPriced(register=register, component=code)
            yield register, used, value_of(by_register[register], self._names)

    def _interval_lines(self, code: str, component: Component, formula: Formula) -> Iterator[Line]:
        intervals = self._usage.intervals
        used = sum((each.use for each in intervals), Decimal(0))
        if used != total(self._usage.quantities):
            raise IntervalsMissing(component=code)
        if not used:
            return
        cost = sum(
            (each.use * formula.value(self._names.at(each)) for each in intervals), Decimal(0)
        )
        yield Line(
            kind=LineKind.USE,
            code=code,
            quantity=used * component.factor,
            unit_price=divide(cost, used, digits=_AVERAGE_DIGITS),
            amount=cost * component.factor,
        )

    def _charge_lines(self, kind: LineKind, code: str, charge: Charge) -> Iterator[Line]:
        if charge.per is ChargePer.BILL and not self._context.is_last:
            return
        amount, times = value_of(charge.amount, self._names), Fraction(1)
        if charge.per is ChargePer.DAY:
            times = Fraction(self._usage.period.days)
        elif charge.per is ChargePer.MONTH:
            times = self._usage.period.months
        if amount:
            yield Line(
                kind=kind,
                code=code,
                quantity=divide(
                    Decimal(times.numerator), times.denominator, digits=DIVISION_DIGITS
                ),
                unit_price=amount,
                amount=divide(amount * times.numerator, times.denominator, digits=DIVISION_DIGITS),
            )

    def _minimum_lines(self, minimum: Charge, lines: Sequence[Line]) -> Iterator[Line]:
        """Yield what is missing; credits that are fixed are given on top of the minimum."""
        before = self._context.before if minimum.per is ChargePer.BILL else Decimal(0)
        for least in self._charge_lines(LineKind.MINIMUM, MINIMUM, minimum):
            charged = _sum(line for line in lines if line.kind is LineKind.USE or line.amount > 0)
            missing = least.amount - before - charged
            if missing > 0:
                yield least._replace(quantity=Decimal(1), unit_price=missing, amount=missing)

    def _tax_line(self, code: str, tax: Tax, lines: Sequence[Line]) -> Line:
        taxed = _sum(
            line
            for line in lines
            if (line.code in tax.on if tax.on else line.kind is not LineKind.TAX)
        )
        rate = value_of(tax.rate, self._names)
        return Line(
            kind=LineKind.TAX, code=code, quantity=taxed, unit_price=rate, amount=taxed * rate
        )


def is_by_interval(prices: Prices) -> TypeGuard[tuple[Formula]]:
    """Tell whether a price follows the market or the hour."""
    first = prices[0]
    return isinstance(first, Formula) and not INTERVAL_NAMES.isdisjoint(first.names)


def cliff_case(tier: int) -> str:
    """Return the name, among the cases of limits and prices, of a tier of the cliff."""
    return f"tier{tier}"


def season_of(version: TariffVersion, *, period: Period) -> str:
    """
    Return the season that prices a period: the one of its last day, "" if there are none.

    Raises:
        PeriodSpansSeasons: the period is longer than a month and has days in two seasons.
    """
    if not version.seasons:
        return ""
    by_month = {month: name for name, months in version.seasons.items() for month in months}
    first = period.starts.month - 1
    touched = {by_month[(first + n) % 12 + 1] for n in range(period.months_touched)}
    if len(touched) > 1 and period.days > _LONGEST_MONTH_DAYS:
        raise PeriodSpansSeasons(starts=period.starts, ends=period.ends)
    return by_month[period.last_day.month]


def _billable(quantities: Mapping[str, Decimal], *, digits: int) -> dict[str, Decimal]:
    """Write every quantity with the same digits, so that a bill made again is the same text."""
    billable = {register: round_to(each, digits=digits) for register, each in quantities.items()}
    for register, quantity in quantities.items():
        if quantity < 0 or quantity != billable[register]:
            raise ValueError(f"cannot bill {quantity} of {register!r}")
    return billable


def _sum(lines: Iterable[Line]) -> Decimal:
    return sum((line.amount for line in lines), Decimal(0))

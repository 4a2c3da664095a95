"""
Tariffs: what a quantity of water or electricity costs, exactly. Pure functions only.

A tariff version is a list of charges. A component prices the use, by its own factor and its own
tiers; then come charges that do not depend on use, a minimum, and taxes. Each adds its lines.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, localcontext
from enum import StrEnum
from typing import Final

from core.billing.tariff_model import (
    MINIMUM,
    Charge,
    ChargePer,
    Component,
    TariffVersion,
    Tax,
)
from core.billing.tiers import (
    TierUse,
    fill_tiers,
    in_season,
    tier_limits,
    total,
)
from core.errors import DomainError
from core.money import divide, round_minor, round_to
from core.periods import Period

# Only a division can have no exact result: it keeps this many digits after the point.
DIVISION_DIGITS: Final = 12
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


class LineKind(StrEnum):
    """Which part of the tariff made a line."""

    USE = "use"
    FIXED = "fixed"
    MINIMUM = "minimum"
    TAX = "tax"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What each register counted in a period; a meter with one register names it as it likes."""

    period: Period
    quantities: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class PricingContext:
    """
    What the price depends on besides the use.

    `used` is what the tier window already holds, by register. `months` are the months counted in
    the tier window (part of a month counts as one); `None` is the whole window.
    """

    used: Mapping[str, Decimal] = field(default_factory=dict)
    people: int = 1
    months: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """
    One line of a bill: `amount` is `quantity` times `unit_price`, exact but for part months.

    `tier`, `tier_from` and `tier_to` are set where tiers decided, `register` where the time of
    use did. For a tax the quantity is the taxed amount and the price its rate.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """A priced use: exact lines and total, the one rounded total, and the new accumulator."""

    currency: str
    lines: tuple[Line, ...]
    total: Decimal
    total_minor: int
    used: Mapping[str, Decimal]


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
    before = _billable(context.used, digits=version.quantity_digits)
    with localcontext(_EXACT):
        season = season_of(version, period=usage.period)
        limits = {
            name: tier_limits(
                tiering,
                season=season,
                period=usage.period,
                people=context.people,
                months=context.months,
                digits=version.quantity_digits,
            )
            for name, tiering in version.tiers.items()
        }
        usage = replace(usage, quantities=quantities)
        lines = _lines(version, usage, limits=limits, before=total(before), season=season)
        exact = _sum(lines)
        return Priced(
            currency=version.currency,
            lines=tuple(lines),
            total=exact,
            total_minor=round_minor(
                exact,
                currency=version.currency,
                mode=version.rounding.mode,
                digits=version.rounding.digits,
            ),
            used=_merged(before, quantities),
        )


def _lines(
    version: TariffVersion,
    usage: Usage,
    *,
    limits: Mapping[str, tuple[Decimal, ...]],
    before: Decimal,
    season: str,
) -> list[Line]:
    lines: list[Line] = []
    for code, component in version.components.items():
        parts = fill_tiers(
            limits[component.tiers] if component.tiers else (),
            used=before,
            quantities=usage.quantities,
            digits=version.quantity_digits,
        )
        lines.extend(_use_lines(code, component, parts, season=season))
    for code, charge in version.fixed.items():
        lines.append(_fixed_line(LineKind.FIXED, code, charge, usage.period))
    if version.minimum:
        lines.extend(_minimum_lines(version.minimum, lines, usage.period))
    lines.extend([_tax_line(code, tax, lines) for code, tax in version.taxes.items()])
    return lines


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


def _use_lines(
    code: str, component: Component, parts: Iterator[TierUse], *, season: str
) -> Iterator[Line]:
    tiered = component.tiers is not None
    for part in parts:
        prices = in_season(component.prices, season)[part.tier - 1]
        parted: list[tuple[str | None, Decimal, Decimal | None]]
        if isinstance(prices, Decimal):
            parted = [(None, total(part.by_register), prices)]
        else:
            parted = [(name, used, prices.get(name)) for name, used in part.by_register.items()]
        for register, used, unit_price in parted:
            if not used:
                continue
            if unit_price is None:
                raise RegisterNotPriced(register=register, component=code)
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


def _fixed_line(kind: LineKind, code: str, charge: Charge, period: Period) -> Line:
    numerator, denominator = 1, 1
    if charge.per is ChargePer.DAY:
        numerator = period.days
    elif charge.per is ChargePer.MONTH:
        numerator, denominator = period.months.as_integer_ratio()
    return Line(
        kind=kind,
        code=code,
        quantity=divide(Decimal(numerator), denominator, digits=DIVISION_DIGITS),
        unit_price=charge.amount,
        amount=divide(charge.amount * numerator, denominator, digits=DIVISION_DIGITS),
    )


def _minimum_lines(minimum: Charge, lines: list[Line], period: Period) -> list[Line]:
    least = _fixed_line(LineKind.MINIMUM, MINIMUM, minimum, period)
    missing = least.amount - _sum(lines)
    filled = replace(least, quantity=Decimal(1), unit_price=missing, amount=missing)
    return [filled] if missing > 0 else []


def _tax_line(code: str, tax: Tax, lines: list[Line]) -> Line:
    taxed = _sum([line for line in lines if not tax.on or line.code in tax.on])
    amount = taxed * tax.rate
    return Line(kind=LineKind.TAX, code=code, quantity=taxed, unit_price=tax.rate, amount=amount)


def _billable(quantities: Mapping[str, Decimal], *, digits: int) -> dict[str, Decimal]:
    """Write every quantity with the same digits, so that a bill made again is the same text."""
    billable = {register: round_to(each, digits=digits) for register, each in quantities.items()}
    for register, quantity in quantities.items():
        if quantity < 0 or quantity != billable[register]:
            raise ValueError(f"cannot bill {quantity} of {register!r}")
    return billable


def _sum(lines: list[Line]) -> Decimal:
    return sum((line.amount for line in lines), Decimal(0))


def _merged(used: Mapping[str, Decimal], more: Mapping[str, Decimal]) -> dict[str, Decimal]:
    registers = dict.fromkeys((*used, *more))
    return {r: used.get(r, Decimal(0)) + more.get(r, Decimal(0)) for r in registers}

"""
What a bill is: a use priced over a period in which prices, seasons or the year may change. Pure.

A period is divided where something changes, its use by days, and each part is priced by the
version in force. Tiers that were used in one part stay used in the next; the total of all parts
is rounded once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise

from core.billing.consumption import share_by_days
from core.billing.late_fees import LateFee, LatePayment, late_charges
from core.billing.tariff_model import Interval, PartMonth, TariffVersion, Window, version_on
from core.billing.tariffs import Line, LineKind, PricingContext, Usage, price
from core.billing.tiers import LimitsPer, total
from core.money import round_minor
from core.periods import Period, month_of, year_of

_DIGITS = 60  # enough that no sum of exact amounts loses one
_DAY = timedelta(days=1)
_BY_DAYS = {LimitsPer.DAY, LimitsPer.THIRTY_DAYS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """
    Everything that decides a bill.

    `used` is what the year's tiers hold when the period starts, by register; `customer_since` is
    the day from which the months of the first year are counted, `customer_until` that with which
    those of the last year end. `attributes` are what the tariff's formulas may ask about, and
    `intervals` the use by short intervals, if prices follow the market or the hour. `late` are
    the payments that came late since the bill before.

    Units:
        `quantities`, `used`: the service's unit.
    """

    versions: tuple[TariffVersion, ...]
    period: Period
    quantities: Mapping[str, Decimal]
    used: Mapping[str, Decimal]
    people: int
    customer_since: date
    customer_until: date | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    intervals: tuple[Interval, ...] = ()
    late: tuple[LatePayment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledPart:
    """The use of some days of the period, or the days by which a payment came late; its lines."""

    period: Period
    quantities: Mapping[str, Decimal]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputedBill:
    """A bill's parts and its one rounded total."""

    currency: str
    parts: tuple[BilledPart, ...]
    total_minor: int


def compute_bill(basis: Basis) -> ComputedBill:
    """
    Return what the use of a period costs.

    Raises:
        TariffNotInForce: a day of the period has no price.
        RegisterNotPriced: a register was used for which there is no price.
    """
    with localcontext(prec=_DIGITS):
        return _compute(basis, _parts(basis))


def attributes_asked(
    versions: Sequence[TariffVersion], *, customer_class: str, known: Mapping[str, str]
) -> dict[str, str]:
    """Return what is known about a customer that these versions ask for."""
    asked = {name for version in versions for name in version.attributes}
    if not asked:
        return {}
    all_known = {"customer_class": customer_class, **known}
    return {name: str(all_known[name]) for name in sorted(asked & all_known.keys())}


def _compute(basis: Basis, periods: Sequence[Period]) -> ComputedBill:
    uses = _uses(basis, periods)
    parts: list[BilledPart] = []
    exact = Decimal(0)
    for use in uses:
        version = version_on(basis.versions, use.period.starts)
        window = _window(basis, version, use.period)
        used = _used_before(basis, version, window, parts)
        later = (
            total(each.quantities)
            for each in uses[len(parts) :]
            if window.contains(each.period.starts)
        )
        context = PricingContext(
            used=used,
            window_use=total(used) + sum(later, Decimal(0)),
            people=basis.people,
            months=_months(basis, version, window),
            attributes=basis.attributes,
            bill=Usage(period=basis.period, quantities=basis.quantities),
            before=exact,
            is_last=len(parts) == len(uses) - 1,
        )
        priced = price(version, usage=use, context=context)
        exact += priced.total
        parts.append(BilledPart(period=use.period, quantities=use.quantities, lines=priced.lines))
    last = version_on(basis.versions, basis.period.last_day)
    late = _late_parts(basis, last.late_fee)
    exact += sum((line.amount for part in late for line in part.lines), Decimal(0))
    return ComputedBill(
        currency=last.currency,
        parts=(*parts, *late),
        total_minor=round_minor(
            exact, currency=last.currency, mode=last.rounding.mode, digits=last.rounding.digits
        ),
    )


def _late_parts(basis: Basis, rule: LateFee | None) -> list[BilledPart]:
    """Return what paying late costs, which is not taxed and no part of any minimum."""
    return [
        BilledPart(
            period=charge.period,
            quantities={},
            lines=(
                Line(
                    kind=LineKind.LATE,
                    code=late.bill,
                    quantity=late.amount,
                    unit_price=charge.per_day,
                    amount=charge.amount,
                ),
            ),
        )
        for late in basis.late
        if rule is not None
        for charge in late_charges(rule, late)
    ]


def _uses(basis: Basis, periods: Sequence[Period]) -> list[Usage]:
    """Return the use of each part: by its intervals, or if they are not known by its days."""
    digits = version_on(basis.versions, basis.period.starts).quantity_digits
    shares = {
        register: share_by_days(quantity, parts=periods, digits=digits)
        for register, quantity in basis.quantities.items()
    }
    uses = []
    for index, period in enumerate(periods):
        within = tuple(each for each in basis.intervals if period.contains(each.at.date()))
        quantities = {register: share[index] for register, share in shares.items()}
        if basis.intervals:
            (register,) = quantities
            quantities[register] = sum((each.use for each in within), Decimal(0))
        uses.append(Usage(period=period, quantities=quantities, intervals=within))
    return uses


def _parts(basis: Basis) -> list[Period]:
    period = basis.period
    if len(basis.versions) == 1 and period.months_touched == 1:
        return [period]
    cuts = {v.valid_from for v in basis.versions if period.starts < v.valid_from < period.ends}
    for before, day in pairwise(_months_of(period)):
        version = version_on(basis.versions, day)
        changes = (
            version.window is Window.MONTH
            or (version.window is Window.YEAR and before.year != day.year)
            or _season(version, before) != _season(version, day)
        )
        if changes:
            cuts.add(day)
    bounds = [period.starts, *sorted(cuts), period.ends]
    return [Period(*pair) for pair in pairwise(bounds)]


def _months_of(period: Period) -> Iterator[date]:
    day = period.starts
    while day < period.ends:
        yield day
        day = month_of(day).ends


def _season(version: TariffVersion, day: date) -> str:
    return next((name for name, months in version.seasons.items() if day.month in months), "")


def _window(basis: Basis, version: TariffVersion, period: Period) -> Period:
    """Return the days whose use fills the same tiers as that of a part."""
    match version.window:
        case Window.YEAR:
            return year_of(period.starts)
        case Window.MONTH:
            return month_of(period.starts)
    if any(tiering.per in _BY_DAYS for tiering in version.tiers.values()):
        return period
    # Other limits or prices begin their own tiers, with the months that they were in force.
    season = _season(version, period.starts)
    starts, ends = basis.period.starts, basis.period.ends
    for day in list(_months_of(basis.period))[1:]:
        if day <= period.starts and _season(version, day - _DAY) != season:
            starts = day
        if period.starts < day < ends and _season(version, day) != season:
            ends = day
    return Period(starts, ends)


def _used_before(
    basis: Basis, version: TariffVersion, window: Period, parts: Sequence[BilledPart]
) -> Mapping[str, Decimal]:
    """Return what the tiers of a part's window hold when the part starts."""
    used: dict[str, Decimal] = {}
    if version.window is Window.YEAR and window.contains(basis.period.starts):
        used = dict(basis.used)
    for part in parts:
        if window.contains(part.period.starts):
            for register, quantity in part.quantities.items():
                used[register] = used.get(register, Decimal(0)) + quantity
    return used


def _months(basis: Basis, version: TariffVersion, window: Period) -> int | Fraction | None:
    """Return the months counted in a window, a part of one as the tariff says; None is all."""
    if version.window is Window.MONTH:
        return None
    counted = window
    if version.window is Window.YEAR:
        until = min(window.ends, basis.customer_until or window.ends)
        counted = Period(max(window.starts, basis.customer_since), until)
        if counted == window:
            return None
    return counted.months_touched if version.part_month is PartMonth.WHOLE else counted.months

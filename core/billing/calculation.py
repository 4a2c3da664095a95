"""
What a bill is: a use priced over a period in which prices, seasons or the year may change. Pure.

A period is divided where something changes, its use by days, and each part is priced by the
version in force. Tiers that were used in one part stay used in the next; the total of all parts
is rounded once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal, localcontext
from itertools import pairwise

from core.billing.consumption import share_by_days
from core.billing.tariff_model import Charge, ChargePer, TariffVersion, Window, version_on
from core.billing.tariffs import Line, PricingContext, Usage, price
from core.billing.tiers import LimitsPer
from core.money import round_minor
from core.periods import Period, month_of, year_of

_DIGITS = 60  # enough that no sum of exact amounts loses one
_BY_DAYS = {LimitsPer.DAY, LimitsPer.THIRTY_DAYS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """
    Everything that decides a bill.

    `used` is what the year's tiers hold when the period starts, by register; `customer_since` is
    the day from which the months of the first year are counted.

    Units:
        `quantities`, `used`: the service's unit.
    """

    versions: tuple[TariffVersion, ...]
    period: Period
    quantities: Mapping[str, Decimal]
    used: Mapping[str, Decimal]
    people: int
    customer_since: date


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledPart:
    """The use of some days of the period, and its lines."""

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


def _compute(basis: Basis, periods: Sequence[Period]) -> ComputedBill:
    digits = version_on(basis.versions, basis.period.starts).quantity_digits
    shares = {
        register: share_by_days(quantity, parts=periods, digits=digits)
        for register, quantity in basis.quantities.items()
    }
    parts: list[BilledPart] = []
    exact = Decimal(0)
    for index, period in enumerate(periods):
        quantities = {register: share[index] for register, share in shares.items()}
        version = version_on(basis.versions, period.starts)
        whole = version
        if len(periods) > 1:
            version = _part_of_bill(version, is_last=index == len(periods) - 1, before=exact)
        context = PricingContext(
            used=_used_before(basis, whole, period, parts),
            people=basis.people,
            months=_months(basis, whole, period),
        )
        priced = price(version, usage=Usage(period=period, quantities=quantities), context=context)
        exact += priced.total
        parts.append(BilledPart(period=period, quantities=quantities, lines=priced.lines))
    last = version_on(basis.versions, basis.period.last_day)
    return ComputedBill(
        currency=last.currency,
        parts=tuple(parts),
        total_minor=round_minor(
            exact, currency=last.currency, mode=last.rounding.mode, digits=last.rounding.digits
        ),
    )


def _parts(basis: Basis) -> list[Period]:
    period = basis.period
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


def _used_before(
    basis: Basis, version: TariffVersion, period: Period, parts: Sequence[BilledPart]
) -> Mapping[str, Decimal]:
    """Return what the tiers of a part's window hold when the part starts."""
    used: dict[str, Decimal] = {}
    window = basis.period
    if version.window is Window.YEAR:
        window = year_of(period.starts)
        if window.contains(basis.period.starts):
            used = dict(basis.used)
    elif version.window is Window.MONTH:
        window = month_of(period.starts)
    elif any(tiering.per in _BY_DAYS for tiering in version.tiers.values()):
        return {}
    for part in parts:
        if window.contains(part.period.starts):
            for register, quantity in part.quantities.items():
                used[register] = used.get(register, Decimal(0)) + quantity
    return used


def _months(basis: Basis, version: TariffVersion, period: Period) -> int | None:
    """Return the months counted in a part's window, a part of a month as one; None is all."""
    match version.window:
        case Window.YEAR:
            year = year_of(period.starts)
            since = max(year.starts, basis.customer_since)
            return None if since == year.starts else Period(since, year.ends).months_touched
        case Window.BILL:
            return basis.period.months_touched
        case Window.MONTH:
            return None


def _part_of_bill(version: TariffVersion, *, is_last: bool, before: Decimal) -> TariffVersion:
    """Return a version whose charges per bill stand in the last part only."""

    def is_kept(charge: Charge) -> bool:
        return is_last or charge.per is not ChargePer.BILL

    minimum = version.minimum
    if minimum is not None and minimum.per is ChargePer.BILL:
        missing = max(minimum.amount - before, Decimal(0))
        minimum = replace(minimum, amount=missing) if is_last else None
    fixed = {code: charge for code, charge in version.fixed.items() if is_kept(charge)}
    return replace(version, minimum=minimum, fixed=fixed)

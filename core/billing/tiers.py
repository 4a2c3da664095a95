"""Tiers: where the limits lie for one customer, and which use falls between them. Pure."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple, TypeVar

from core.billing.formulas import Names, Number, value_of
from core.money import divide
from core.periods import Period

T = TypeVar("T", bound=tuple[object, ...])


class LimitsPer(StrEnum):
    """What a limit is written for, and so what it is multiplied by."""

    BILL = "bill"  # as written
    DAY = "day"  # times the days of the period
    THIRTY_DAYS = "30 days"  # times days / 30, kept to two digits
    MONTH = "month"  # times the months counted, 1 unless told
    YEAR = "year"  # times the months counted / 12, 12 unless told


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseholdRule:
    """
    How limits move in households of `from_person` people or more.

    Either `per_head` replaces all limits (each times the people), or the limits numbered in
    `limits` (from 1) rise by `flat` once and by `per_person` for every person from that one on.
    """

    from_person: int
    limits: tuple[int, ...] = ()
    flat: Decimal = Decimal(0)
    per_person: Decimal = Decimal(0)
    per_head: tuple[Decimal, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiering:
    """
    Inclusive upper limits of all tiers but the last, or those for each case.

    Units:
        `limits`: the customer's own units, before any component's factor.
    """

    limits: tuple[Number, ...] | Mapping[str, tuple[Number, ...]]
    per: LimitsPer
    household: tuple[HouseholdRule, ...] = ()


class TierUse(NamedTuple):
    """The use that falls into one tier, above `starts` and up to and including `ends`."""

    tier: int
    starts: Decimal
    ends: Decimal | None
    by_register: Mapping[str, Decimal]


def in_case(values: T | Mapping[str, T], cases: Collection[str]) -> T:
    """Return what holds in these cases (a season, a tier of a cliff), if it depends on them."""
    if not isinstance(values, Mapping):
        return values
    for case in cases:
        if case in values:
            return values[case]
    raise LookupError(f"none of {', '.join(cases)}")


def tier_limits(
    tiering: Tiering,
    *,
    cases: Collection[str],
    names: Names,
    period: Period,
    people: int,
    months: int | Fraction | None,
    digits: int,
) -> tuple[Decimal, ...]:
    """
    Return the limits for this household, period and number of months counted, to `digits`.

    A limit that a household rule lifts above the next one lifts that one too.
    """
    factor = _scale(tiering.per, days=period.days, months=months)
    limits: list[Decimal] = []
    for limit in _household_limits(tiering, cases=cases, names=names, people=people):
        scaled = divide(limit * factor.numerator, factor.denominator, digits=digits)
        limits.append(max(scaled, limits[-1] if limits else Decimal(0)))
    return tuple(limits)


def _scale(per: LimitsPer, *, days: int, months: int | Fraction | None) -> Fraction:
    match per:
        case LimitsPer.BILL:
            return Fraction(1)
        case LimitsPer.DAY:
            return Fraction(days)
        case LimitsPer.THIRTY_DAYS:
            return Fraction(divide(Decimal(days), 30, digits=2))
        case LimitsPer.MONTH:
            return Fraction(1 if months is None else months)
        case LimitsPer.YEAR:
            return Fraction(12 if months is None else months) / 12


def _household_limits(
    tiering: Tiering, *, cases: Collection[str], names: Names, people: int
) -> list[Decimal]:
    limits = [value_of(limit, names) for limit in in_case(tiering.limits, cases)]
    for rule in tiering.household:
        if people < rule.from_person:
            continue
        if rule.per_head:
            limits = [limit * people for limit in rule.per_head]
        for number in rule.limits:
            limits[number - 1] += rule.flat + rule.per_person * (people - rule.from_person + 1)
    return limits


def fill_tiers(
    limits: tuple[Decimal, ...],
    *,
    used: Decimal,
    quantities: Mapping[str, Decimal],
    digits: int,
) -> Iterator[TierUse]:
    """
    Yield the part of the use in each tier, starting from what was used before.

    A limit itself belongs to the tier below it. Where a limit is crossed, the use of each
    register is divided in the proportion of the whole, to `digits`; the parts always add up.
    """
    left, position, lower = dict(quantities), used, Decimal(0)
    for tier, upper in enumerate((*limits, None), start=1):
        whole = total(left)
        if not whole:
            return
        room = whole if upper is None else min(whole, max(upper - position, Decimal(0)))
        if room == whole:
            yield TierUse(tier, lower, upper, left)
            return
        if room:
            taken = _take(left, room, digits=digits)
            yield TierUse(tier, lower, upper, taken)
            left = {register: left[register] - taken[register] for register in left}
            position += room
        if upper is not None:
            lower = upper


def _take(left: Mapping[str, Decimal], quantity: Decimal, *, digits: int) -> dict[str, Decimal]:
    whole, running, given = total(left), Decimal(0), Decimal(0)
    taken = {}
    for register, remaining in left.items():
        running += remaining
        reached = divide(running * quantity, whole, digits=digits)
        taken[register] = reached - given
        given = reached
    return taken


def total(quantities: Mapping[str, Decimal]) -> Decimal:
    """Return the sum over all registers."""
    return sum(quantities.values(), Decimal(0))

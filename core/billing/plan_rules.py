"""
Plans to pay in parts: where one may go, its parts, and whether it is kept. Pure functions only.

A plan says how much of its bills may be left after each day. So it needs no book of its own:
whatever takes something off the bills (a payment, a credit note, a bill taken back) pays its next
part, and whatever puts something back on them (a payment that is reversed) opens a part again.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from core.billing.dispute_rules import Pause, apart
from core.billing.plan_models import PlanState

S = PlanState
ACTIVE: Final = frozenset({S.ASKED, S.OFFERED, S.AGREED})
NEXT: Final[Mapping[PlanState, frozenset[PlanState]]] = MappingProxyType(
    {
        S.ASKED: frozenset({S.AGREED, S.DECLINED, S.WITHDRAWN, S.ENDED}),
        S.OFFERED: frozenset({S.AGREED, S.WITHDRAWN, S.ENDED}),
        S.AGREED: frozenset({S.KEPT, S.BROKEN, S.ENDED}),
        **{end: frozenset[PlanState]() for end in S if end not in ACTIVE},
    }
)
# The first part shows that a plan is meant; nobody waits long for it.
FIRST_WITHIN_DAYS: Final = 7
REMIND_DAYS: Final = 3
PARTS_MIN: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the operator allows. Units: `part_minor_min` minor units."""

    parts_max: int
    part_minor_min: int
    days: int
    grace_days: int


@dataclass(frozen=True, slots=True)
class Part:
    """What is to be paid by the end of a day. Units: minor units."""

    due: date
    amount_minor: int


@dataclass(frozen=True, slots=True)
class NextPart:
    """What is to be paid next: the rest of which part, by when. Units: minor units."""

    position: int
    due: date
    amount_minor: int


class Look(StrEnum):
    """What a look at an agreed plan finds."""

    FINE = "fine"
    SHORT = "short"
    BROKEN = "broken"


def may_become(state: PlanState, following: PlanState) -> bool:
    """Tell whether a plan may go from one state to another."""
    return following in NEXT[state]


def possible_parts(debt_minor: int, *, terms: Terms) -> range:
    """Return into how many parts a debt may be divided, empty if it is too small."""
    most = min(terms.parts_max, debt_minor // max(terms.part_minor_min, 1))
    return range(PARTS_MIN, most + 1)


def divide_debt(debt_minor: int, *, count: int, today: date, terms: Terms) -> list[Part]:
    """Return the parts of a debt: equal but for the smallest coins, which the first ones take."""
    share, over = divmod(debt_minor, count)
    first = today + timedelta(days=min(FIRST_WITHIN_DAYS, terms.days))
    return [
        Part(first + timedelta(days=terms.days * index), share + (index < over))
        for index in range(count)
    ]


def put_off(parts: Iterable[Part], *, days: int) -> list[Part]:
    """Return the parts as many days later as it took to agree on them."""
    return [Part(part.due + timedelta(days=days), part.amount_minor) for part in parts]


def stood_still(parts: Iterable[Part], *, pauses: Collection[Pause], now: datetime) -> list[Part]:
    """Return the parts later by the days for which, before they were due, an objection was open."""
    moved = []
    for part in parts:
        due = part.due
        for begun, ended in apart(pauses, now):
            if begun.date() <= due:
                due += ended.date() - begun.date()
        moved.append(Part(due, part.amount_minor))
    return moved


def left_at_most(parts: Iterable[Part], *, day: date) -> int:
    """Return how much may be left at the beginning of a day. Units: minor units."""
    return sum(part.amount_minor for part in parts if part.due >= day)


def next_part(parts: Sequence[Part], *, left_minor: int) -> NextPart | None:
    """Return what is to be paid next of what is left, if anything is."""
    later = sum(part.amount_minor for part in parts)
    for position, part in enumerate(parts, 1):
        later -= part.amount_minor
        if left_minor > later:
            return NextPart(position, part.due, left_minor - later)
    return None


def look_at(
    parts: Sequence[Part],
    *,
    left_minor: int,
    today: date,
    short_since: date | None,
    grace_days: int,
) -> Look:
    """
    Return whether an agreed plan is kept on a day.

    The days of grace count from the look that first found too much left, so nobody loses a plan
    without having been told, and money that went back long after its part gives them too.
    """
    if left_minor <= left_at_most(parts, day=today):
        return Look.FINE
    is_over = today - (short_since or today) >= timedelta(days=grace_days)
    return Look.BROKEN if is_over else Look.SHORT

"""Objections: where one may go, and how they stop the clocks of a debt. Pure functions only."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Final

from core.billing.correction_models import DisputeState

# Every end is final: whoever was wrong about one objects to the next bill.
NEXT: Final[Mapping[DisputeState, frozenset[DisputeState]]] = MappingProxyType(
    {
        DisputeState.OPEN: frozenset(
            {DisputeState.UPHELD, DisputeState.DECLINED, DisputeState.WITHDRAWN}
        ),
        DisputeState.UPHELD: frozenset(),
        DisputeState.DECLINED: frozenset(),
        DisputeState.WITHDRAWN: frozenset(),
    }
)


@dataclass(frozen=True, slots=True)
class Pause:
    """The time for which an objection was open or a plan ran; no end while it still is."""

    since: datetime
    until: datetime | None


def may_become(state: DisputeState, following: DisputeState) -> bool:
    """Tell whether an objection may go from one state to another."""
    return following in NEXT[state]


def counted_from(moment: datetime, *, pauses: Iterable[Pause], now: datetime) -> datetime:
    """
    Return a moment moved on by all time since for which the clocks stood still.

    So what has passed since it is exactly the time for which they ran: it stands while an
    objection is open or a debt is paid in parts and then goes on, and never goes back. Time that
    lies in two pauses counts once.
    """
    since = (max(ended - max(begun, moment), timedelta(0)) for begun, ended in apart(pauses, now))
    return moment + sum(since, timedelta(0))


def apart(pauses: Iterable[Pause], now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield from when until when these pauses lasted until now, in order and none of it twice."""
    reached = None
    for pause in sorted(pauses, key=lambda pause: pause.since):
        begun, ended = max(pause.since, reached or pause.since), min(pause.until or now, now)
        if begun < ended:
            yield begun, ended
            reached = ended


def due_after(due: date, *, opened: date, answered: date) -> date:
    """Return the day by which a bill is to be paid after an objection took these local days."""
    return due + (answered - opened)

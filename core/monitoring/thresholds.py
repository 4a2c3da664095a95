"""When a measured quantity is abnormal, and when it is normal again. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from core.monitoring.models import Side

SILENCE_MAX = timedelta(hours=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """
    What is normal, both bounds included; a missing bound does not limit.

    Units: bounds and `deadband` as the quantity. An alarm ends only when the value has come back
    inside by `deadband`; both its start and its end take `hold`.
    """

    low: Decimal | None = None
    high: Decimal | None = None
    deadband: Decimal = Decimal(0)
    hold: timedelta = timedelta(0)

    def side_of(self, value: Decimal, *, alarm: Side | None = None) -> Side | None:
        """Return the side on which a value is abnormal, for a quantity with or without an alarm."""
        if self.low is not None:
            back = self.low + self.deadband
            if alarm is Side.LOW and self.high is not None:
                back = min(back, self.high)
            if value < (back if alarm is Side.LOW else self.low):
                return Side.LOW
        if self.high is not None:
            back = self.high - self.deadband
            if alarm is Side.HIGH and self.low is not None:
                back = max(back, self.low)
            if value > (back if alarm is Side.HIGH else self.high):
                return Side.HIGH
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """
    What is remembered of one quantity of one meter.

    `side` is where the latest values lie, without a break, `since` when and with which `worst`;
    `alarm` is the side of the open alarm, with its own `alarm_worst`. Nothing before `last_at`
    is judged again.
    """

    last_at: datetime | None = None
    side: Side | None = None
    since: datetime | None = None
    worst: Decimal | None = None
    alarm: Side | None = None
    alarm_worst: Decimal | None = None

    @property
    def is_calm(self) -> bool:
        """Whether there is nothing to remember: inside the range and no alarm."""
        return self.alarm is None and self.side is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """The quantity has been abnormal for long enough."""

    at: datetime
    side: Side
    limit: Decimal
    began_at: datetime
    worst: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Worse:
    """The open alarm's quantity is farther outside than ever."""

    at: datetime
    worst: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The open alarm's quantity has left the abnormal side for long enough."""

    at: datetime
    value: Decimal


Event = Raised | Worse | Ended


def judge(
    limits: Range,
    state: State,
    samples: Iterable[tuple[datetime, Decimal]],
    *,
    silence_max: timedelta = SILENCE_MAX,
) -> tuple[State, list[Event]]:
    """
    Return the state after more samples and what happened on the way.

    A sample that is not newer than the last judged one changes nothing, so judging a window
    again creates nothing new. Time without samples longer than `silence_max` is no evidence of
    anything: what was counted before it counts no more. An alarm that turns to the other side
    ends, and the other one is raised, at the same moment.
    """
    events: list[Event] = []
    for at, value in samples:
        if state.last_at is None or at > state.last_at:
            state, happened = _judge_one(limits, state, at, value, silence_max)
            events += happened
    return state, events


def _judge_one(
    limits: Range, state: State, at: datetime, value: Decimal, silence_max: timedelta
) -> tuple[State, list[Event]]:
    side = limits.side_of(value, alarm=state.alarm)
    was_silent = state.last_at is not None and at - state.last_at > silence_max
    goes_on = side is state.side and state.since is not None and not was_silent
    since = state.since if goes_on and state.since is not None else at
    before = state.worst if goes_on else None
    worst = None if side is None else _worse_of(side, before, value)
    state = replace(state, last_at=at, side=side, since=since, worst=worst)
    if side is state.alarm:
        return _stay(state, at, value)
    if at - since < limits.hold:
        return state, []
    events: list[Event] = []
    if state.alarm is not None:
        events.append(Ended(at=at, value=value))
    if side is not None and worst is not None:
        limit = limits.low if side is Side.LOW else limits.high
        assert limit is not None  # noqa: S101 (there is no side without its bound)
        events.append(Raised(at=at, side=side, limit=limit, began_at=since, worst=worst))
    return replace(state, alarm=side, alarm_worst=worst), events


def _stay(state: State, at: datetime, value: Decimal) -> tuple[State, list[Event]]:
    if state.alarm is None:
        return state, []
    worst = _worse_of(state.alarm, state.alarm_worst, value)
    if worst == state.alarm_worst:
        return state, []
    return replace(state, alarm_worst=worst), [Worse(at=at, worst=worst)]


def _worse_of(side: Side, known: Decimal | None, value: Decimal) -> Decimal:
    if known is None:
        return value
    return min(known, value) if side is Side.LOW else max(known, value)

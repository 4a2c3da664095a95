"""Alarms found again by walking back from every sample: slow, and plain to read."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from core.monitoring.thresholds import Range


class SlowAlarm(NamedTuple):
    """An alarm as it stands in its row."""

    side: str
    began_at: datetime
    raised_at: datetime
    worst: Decimal
    ended_at: datetime | None
    end_value: Decimal | None


Series = Sequence[tuple[datetime, Decimal]]


def side_while(limits: Range, value: Decimal, alarm: str | None) -> str | None:
    """Where a value lies; while an alarm is open, its side reaches farther in."""
    low, high = limits.low, limits.high
    floor, ceiling = low, high
    if alarm == "low" and low is not None:
        floor = low + limits.deadband if high is None else min(low + limits.deadband, high)
    if alarm == "high" and high is not None:
        ceiling = high - limits.deadband if low is None else max(high - limits.deadband, low)
    if floor is not None and value < floor:
        return "low"
    if ceiling is not None and value > ceiling:
        return "high"
    return None


def find_alarms(limits: Range, series: Series, *, silence_max: timedelta) -> list[SlowAlarm]:
    """Every alarm of a series, the last one possibly without an end."""
    found: list[SlowAlarm] = []
    sides: list[str | None] = []
    since = 0  # of the open alarm, its first sample
    alarm: str | None = None
    for i, (at, value) in enumerate(series):
        sides.append(side_while(limits, value, alarm))
        if sides[i] == alarm:
            continue
        first = i
        while (
            first > 0
            and sides[first - 1] == sides[i]
            and series[first][0] - series[first - 1][0] <= silence_max
        ):
            first -= 1
        if at - series[first][0] >= limits.hold:
            if alarm is not None:
                worst = worst_of(alarm, series, sides, since, i)
                found[-1] = found[-1]._replace(worst=worst, ended_at=at, end_value=value)
            alarm = sides[i]
            if alarm is not None:
                since = first
                found.append(SlowAlarm(alarm, series[first][0], at, value, None, None))
    if alarm is not None:
        found[-1] = found[-1]._replace(worst=worst_of(alarm, series, sides, since, len(series)))
    return found


def worst_of(
    alarm: str, series: Series, sides: Sequence[str | None], since: int, until: int
) -> Decimal:
    """The value farthest outside among those on the alarm's side."""
    values = [series[i][1] for i in range(since, until) if sides[i] == alarm]
    return min(values) if alarm == "low" else max(values)

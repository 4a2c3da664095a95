"""
When the use of water looks like a leak. Pure.

A span is what went through the meter from one register value to the next. What is not measured is
no evidence: gaps and estimates neither accuse nor clear.

Source: AquaCUE (a gallon in each of the last 24 hours; an hour below clears), WaterSmart (bursts,
equal refills), the usual window of night flow; the figures are the house's defaults.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import partial
from itertools import pairwise
from zoneinfo import ZoneInfo

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SPAN_MAX = timedelta(minutes=90)  # a longer one says nothing about its single hours
LOOK_BACK = 3 * DAY

GALLON = Decimal("0.003785")
NEVER_ZERO_OVER = DAY
NIGHT_BEGINS, NIGHT_ENDS = time(2), time(4)
NIGHTS = 3
NIGHT_RATE = Decimal("0.010")
BURST_RATE = Decimal("0.600")  # ten litres a minute, no home's habit for
BURST_OVER = 2 * HOUR
REFILLS_MIN = 4  # in two hours, each after a while without any flow
REFILL_SPREAD = Decimal("1.25")
LEARNT_FACTOR = Decimal("1.2")


class LeakKind(StrEnum):
    """How the use gives a leak away."""

    NEVER_ZERO = "never_zero"
    NIGHT_FLOW = "night_flow"
    BURST = "burst"
    REFILLS = "refills"
    WHILE_AWAY = "while_away"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What went through from one moment to another. Units: m³."""

    starts: datetime
    ends: datetime
    used: Decimal

    @property
    def rate(self) -> Decimal:
        """The mean flow. Units: m³/h."""
        return self.used * 3600 / Decimal((self.ends - self.starts).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A leak that the use gives away: since when, and how much runs at least. Units: m³/h."""

    kind: LeakKind
    began_at: datetime
    rate: Decimal


def find_leak(
    spans: Iterable[Span],
    *,
    now: datetime,
    zone: ZoneInfo,
    learnt: Decimal = Decimal(0),
) -> Finding | None:
    """
    Return the most urgent leak that the spans of the last days prove, if any.

    `learnt` is the flow that people declared to be theirs: up to a little more is no finding of
    any kind. Units: m³/h.
    """
    known = [span for span in spans if _is_short(span) and span.ends <= now]
    burst = partial(_running, kind=LeakKind.BURST, over=BURST_OVER, rate_min=BURST_RATE)
    never_zero = partial(_running, kind=LeakKind.NEVER_ZERO, over=NEVER_ZERO_OVER, rate_min=GALLON)
    for rule in (burst, never_zero, _night_flow, _refills):
        found = rule(known, now, zone)
        if found is not None and found.rate > learnt * LEARNT_FACTOR:
            return found
    return None


def is_over(kind: LeakKind, spans: Iterable[Span], *, since: datetime, zone: ZoneInfo) -> bool:
    """Tell whether anything measured since then shows that it no longer runs."""
    known = [span for span in spans if span.starts >= since and _is_short(span)]
    match kind:
        case LeakKind.NEVER_ZERO:
            return any(span.rate < GALLON for span in known)
        case LeakKind.BURST:
            return any(span.rate < BURST_RATE for span in known)
        case LeakKind.NIGHT_FLOW:
            return any(span.rate < NIGHT_RATE for night in _nights(known, zone) for span in night)
        case LeakKind.REFILLS:
            return any(len(_draws(night)) * 2 < REFILLS_MIN for night in _nights(known, zone))
        case LeakKind.WHILE_AWAY:
            return any(not span.used for span in spans if span.starts >= since)


def find_spells(spans: Iterable[Span], *, since: datetime, until: datetime) -> list[Span]:
    """Return each spell of use between two moments as one span, whatever its length."""
    spells: list[Span] = []
    for span in spans:
        if span.starts < since or span.ends > until or not span.used:
            continue
        if spells and spells[-1].ends == span.starts:
            before = spells.pop()
            spells.append(Span(starts=before.starts, ends=span.ends, used=before.used + span.used))
        else:
            spells.append(span)
    return spells


def _is_short(span: Span) -> bool:
    return span.ends - span.starts <= SPAN_MAX


def _covering(spans: Sequence[Span], *, since: datetime, until: datetime) -> list[Span] | None:
    """Return the spans of a time without a gap, or nothing where one is missing."""
    inside = [span for span in spans if span.ends > since and span.starts < until]
    reached = since
    for span in inside:
        if span.starts > reached:
            return None
        reached = max(reached, span.ends)
    return inside if inside and reached >= until else None


def _newest(spans: Sequence[Span], now: datetime) -> datetime | None:
    """Return the end of the newest span, unless it is too old to speak of now."""
    ends = max((span.ends for span in spans), default=None)
    return ends if ends is not None and now - ends <= SPAN_MAX else None


def _running(
    spans: Sequence[Span],
    now: datetime,
    _zone: ZoneInfo,
    *,
    kind: LeakKind,
    over: timedelta,
    rate_min: Decimal,
) -> Finding | None:
    """Find a flow that was never less than this for so long, up to now."""
    ends = _newest(spans, now)
    if ends is None:
        return None
    running = _covering(spans, since=ends - over, until=ends)
    if running is None or any(span.rate < rate_min for span in running):
        return None
    return Finding(kind=kind, began_at=running[0].starts, rate=min(span.rate for span in running))


def _nights(spans: Sequence[Span], zone: ZoneInfo) -> list[list[Span]]:
    """Return the spans of each night that was measured without a gap, the newest night first."""
    days = sorted({span.starts.astimezone(zone).date() for span in spans}, reverse=True)
    nights = []
    for day in days:
        begins, ends = (datetime.combine(day, at, tzinfo=zone) for at in (NIGHT_BEGINS, NIGHT_ENDS))
        inside = [span for span in spans if span.starts >= begins and span.ends <= ends]
        whole = _covering(inside, since=begins, until=ends)
        if whole is not None:
            nights.append(whole)
    return nights


def _night_flow(spans: Sequence[Span], now: datetime, zone: ZoneInfo) -> Finding | None:
    nights = _nights(spans, zone)[:NIGHTS]
    if len(nights) < NIGHTS or now - nights[-1][0].starts > LOOK_BACK:
        return None
    lowest = min(span.rate for night in nights for span in night)
    if lowest < NIGHT_RATE:
        return None
    return Finding(kind=LeakKind.NIGHT_FLOW, began_at=nights[-1][0].starts, rate=lowest)


def _draws(night: Sequence[Span]) -> list[Span]:
    """Return the spans in which something was drawn after one in which nothing was."""
    return [span for before, span in pairwise(night) if not before.used and span.used]


def _refills(spans: Sequence[Span], now: datetime, zone: ZoneInfo) -> Finding | None:
    """Find a cistern that leaks: it is filled up with the same amount all night long."""
    for night in _nights([span for span in spans if now - span.starts <= DAY], zone):
        draws = _draws(night)
        amounts = sorted(span.used for span in draws)
        if len(draws) >= REFILLS_MIN and amounts[-1] <= amounts[0] * REFILL_SPREAD:
            total = sum((span.used for span in night), Decimal(0))
            hours = Decimal((night[-1].ends - night[0].starts).total_seconds()) / 3600
            return Finding(kind=LeakKind.REFILLS, began_at=draws[0].starts, rate=total / hours)
    return None

"""Samples against their normal range: watches and alarms, for a whole batch at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import groupby

from sqlalchemy import delete, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.db import SCHEMA
from core.monitoring.models import Alarm, Quantity, Side, Watch
from core.monitoring.ranges import SWITCHED_OFF, MeterFacts, Ranges
from core.monitoring.rows import Rows, arrays, is_among
from core.monitoring.thresholds import Ended, Event, Raised, Range, State, judge

Watched = tuple[int, Quantity]

_NEWEST = text(
    f"""
    SELECT k.meter_id, k.quantity, s.taken_at
    FROM unnest(CAST(:meters AS bigint[]), CAST(:quantities AS text[])) k (meter_id, quantity)
    CROSS JOIN LATERAL (
        SELECT taken_at FROM {SCHEMA}.samples s
        WHERE s.meter_id = k.meter_id AND s.quantity = k.quantity
        ORDER BY taken_at DESC LIMIT 1
    ) s
    """  # noqa: S608 (a constant)
)
_UPDATE_ALARMS = text(
    f"""
    UPDATE {SCHEMA}.alarms a
    SET worst = k.worst, ended_at = k.ended_at, end_value = k.end_value
    FROM unnest(
        CAST(:ids AS bigint[]), CAST(:worsts AS numeric[]), CAST(:ends AS timestamptz[]),
        CAST(:values AS numeric[])
    ) k (id, worst, ended_at, end_value)
    WHERE a.id = k.id
    """  # noqa: S608 (a constant)
)
_KEEP_WATCHES = text(
    f"""
    INSERT INTO {SCHEMA}.watches (meter_id, quantity, side, since, last_at, worst, alarm_id)
    SELECT * FROM unnest(
        CAST(:meters AS bigint[]), CAST(:quantities AS text[]), CAST(:sides AS text[]),
        CAST(:sinces AS timestamptz[]), CAST(:lasts AS timestamptz[]), CAST(:worsts AS numeric[]),
        CAST(:alarms AS bigint[])
    )
    ON CONFLICT (meter_id, quantity) DO UPDATE SET
        side = excluded.side, since = excluded.since, last_at = excluded.last_at,
        worst = excluded.worst, alarm_id = excluded.alarm_id
    """  # noqa: S608 (a constant)
)
_DROP_WATCHES = text(
    f"""
    DELETE FROM {SCHEMA}.watches w
    USING unnest(CAST(:meters AS bigint[]), CAST(:quantities AS text[])) k (meter_id, quantity)
    WHERE w.meter_id = k.meter_id AND w.quantity = k.quantity
    """  # noqa: S608 (a constant)
)


@dataclass(slots=True, kw_only=True)
class _AlarmRow:
    """An alarm as it will stand after the batch; `id` is given to new ones when stored."""

    id: int | None = None
    side: Side
    worst: Decimal
    raised: Raised | None = None
    ended: Ended | None = None


@dataclass(slots=True, kw_only=True)
class _Course:
    """One quantity of one meter through the batch."""

    state: State
    alarm: _AlarmRow | None = None
    is_kept: bool = False
    changed: list[_AlarmRow] = field(default_factory=list)

    def take(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Raised):
                self.alarm = _AlarmRow(side=event.side, worst=event.worst, raised=event)
            assert self.alarm is not None  # noqa: S101 (nothing gets worse or ends before it began)
            if isinstance(event, Ended):
                self.alarm.ended = event
            else:
                self.alarm.worst = event.worst
            if self.alarm not in self.changed:
                self.changed.append(self.alarm)
            if isinstance(event, Ended):
                self.alarm = None


Courses = dict[Watched, _Course]


async def load_courses(
    session: AsyncSession, samples: Rows, *, meters: Mapping[int, MeterFacts], ranges: Ranges
) -> Courses:
    """
    Return what is remembered of each quantity that these samples can change.

    That is nothing for one that is calm and stays in its range, which is nearly every one. Must
    be called before the samples are stored: a quantity without a watch is judged from its newest
    stored sample on.
    """
    if not samples:
        return {}
    courses = await _load_watches(session, {key.meter_id for key in samples})
    abnormal = _find_abnormal(samples, meters=meters, ranges=ranges) - courses.keys()
    if abnormal:
        courses |= {watched: _Course(state=State()) for watched in abnormal}
        newest = await session.execute(_NEWEST, arrays("meters quantities", abnormal))
        for meter_id, quantity, taken_at in newest:
            courses[meter_id, Quantity(quantity)].state = State(last_at=taken_at)
    return {
        watched: course
        for watched, course in courses.items()
        if watched[0] in meters and _is_judged(meters[watched[0]], watched[1], course)
    }


def _is_judged(meter: MeterFacts, quantity: Quantity, course: _Course) -> bool:
    """
    Tell whether a meter shows anything about the supply.

    Behind a closed valve or an open relay it does not. But one that cut off a voltage which is
    too high may still see it, and so can tell when it has become normal.
    """
    is_seen = quantity is Quantity.VOLTAGE and course.state.alarm is Side.HIGH
    return meter.supply not in SWITCHED_OFF or is_seen


def _find_abnormal(
    samples: Rows, *, meters: Mapping[int, MeterFacts], ranges: Ranges
) -> set[Watched]:
    limits: dict[tuple[int, str], Range] = {}
    found = set()
    for key, value in samples.items():
        watched = key[:2]
        if watched not in limits:
            limits[watched] = ranges.of(meters[key.meter_id], Quantity(key.name))
        if limits[watched].side_of(value) is not None:
            found.add((key.meter_id, Quantity(key.name)))
    return found


async def _load_watches(session: AsyncSession, meter_ids: Iterable[int]) -> Courses:
    rows = await session.execute(
        select(Watch, Alarm)
        .outerjoin(Alarm, Alarm.id == Watch.alarm_id)
        .where(is_among(Watch.meter_id, meter_ids))
    )
    courses: Courses = {}
    for watch, alarm in rows:
        state = State(last_at=watch.last_at, side=watch.side, since=watch.since, worst=watch.worst)
        course = _Course(state=state, is_kept=True)
        if alarm is not None:
            course.state = replace(state, alarm=alarm.side, alarm_worst=alarm.worst)
            course.alarm = _AlarmRow(id=alarm.id, side=alarm.side, worst=alarm.worst)
        courses[watch.meter_id, watch.quantity] = course
    return courses


async def judge_samples(
    session: AsyncSession,
    fresh: Rows,
    *,
    courses: Courses,
    meters: Mapping[int, MeterFacts],
    ranges: Ranges,
) -> list[int]:
    """Judge samples that were just stored; return the ids of the alarms raised or ended."""
    if not courses:
        return []
    concerned = sorted(
        (key, value)
        for key, value in fresh.items()
        if (key.meter_id, Quantity(key.name)) in courses
        and key.taken_at >= (meters[key.meter_id].supply_since or key.taken_at)
    )
    touched: Courses = {}
    for (meter_id, name), group in groupby(concerned, key=lambda item: item[0][:2]):
        quantity = Quantity(name)
        course = courses[meter_id, quantity]
        limits = ranges.of(meters[meter_id], quantity)
        is_off = meters[meter_id].supply in SWITCHED_OFF
        samples = [
            (key.taken_at, value)
            for key, value in group
            if not (is_off and limits.side_of(value) is Side.LOW)  # behind the open relay
        ]
        course.state, events = judge(limits, course.state, samples)
        course.take(events)
        touched[meter_id, quantity] = course
    changed = await _store_alarms(session, touched)
    await _store_watches(session, touched)
    return changed


async def forget_watches(session: AsyncSession, *, meter_id: int) -> None:
    """Forget what a meter showed lately: its supply is switched off, so it showed that."""
    await session.execute(delete(Watch).where(Watch.meter_id == meter_id, Watch.alarm_id.is_(None)))


async def _store_alarms(session: AsyncSession, courses: Courses) -> list[int]:
    rows = [(watched, row) for watched, course in courses.items() for row in course.changed]
    known = [
        (row.id, row.worst, row.ended and row.ended.at, row.ended and row.ended.value)
        for _, row in rows
        if row.id is not None
    ]
    if known:
        await session.execute(_UPDATE_ALARMS, arrays("ids worsts ends values", known))
    new = [(watched, row) for watched, row in rows if row.id is None]
    if new:
        ids = await session.scalars(
            insert(Alarm).returning(Alarm.id, sort_by_parameter_order=True),
            [_alarm_values(*item) for item in new],
        )
        for (_, row), alarm_id in zip(new, ids, strict=True):
            row.id = alarm_id
    return [row.id for _, row in rows if row.id is not None and (row.raised or row.ended)]


def _alarm_values(watched: Watched, row: _AlarmRow) -> dict[str, object]:
    assert row.raised is not None  # noqa: S101 (a new row was raised in this batch)
    return {
        "meter_id": watched[0],
        "quantity": watched[1],
        "side": row.side,
        "limit": row.raised.limit,
        "worst": row.worst,
        "began_at": row.raised.began_at,
        "raised_at": row.raised.at,
        "ended_at": row.ended and row.ended.at,
        "end_value": row.ended and row.ended.value,
    }


async def _store_watches(session: AsyncSession, courses: Courses) -> None:
    kept = [
        (
            *watched,
            course.state.side,
            course.state.since,
            course.state.last_at,
            course.state.worst,
            course.alarm and course.alarm.id,
        )
        for watched, course in courses.items()
        if not course.state.is_calm
    ]
    if kept:
        names = "meters quantities sides sinces lasts worsts alarms"
        await session.execute(_KEEP_WATCHES, arrays(names, kept))
    calm = [
        watched for watched, course in courses.items() if course.is_kept and course.state.is_calm
    ]
    if calm:
        await session.execute(_DROP_WATCHES, arrays("meters quantities", calm))

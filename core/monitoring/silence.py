"""Silent meters: listened to in turn; a silence raises an alarm, and the next value ends it."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import ApiKey
from core.db import SCHEMA, lock_for_transaction
from core.monitoring import gateway_silence
from core.monitoring.gateway_models import GatewayWatch, Hearing
from core.monitoring.models import Alarm, Limit, Meter, Quantity, Side
from core.monitoring.ranges import MeterFacts, Ranges, find_meters, load_ranges
from core.monitoring.rows import arrays, is_among
from core.monitoring.silence_rules import KNOWN_AFTER, LEAST, allow, learn

CHUNK = 500
LOOK_EVERY = timedelta(minutes=30)
# For a meter that is looked at for the first time.
LOOK_BACK = timedelta(days=31)
# A gateway is judged before the meters behind it, whatever comes first.
GRACE = timedelta(hours=1)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
NO_TIME = timedelta(0)

_NEWEST = text(
    f"""
    SELECT k.meter_id, greatest(
        (SELECT max(taken_at) FROM {SCHEMA}.samples s
          WHERE s.meter_id = k.meter_id AND s.quantity IN ('pressure', 'voltage')
            AND s.taken_at > k.after),
        (SELECT max(taken_at) FROM {SCHEMA}.readings r
          WHERE r.meter_id = k.meter_id AND r.source = 'gateway' AND r.taken_at > k.after)
    ) AS newest_at
    FROM unnest(CAST(:meters AS bigint[]), CAST(:afters AS timestamptz[])) k (meter_id, after)
    """  # noqa: S608 (a constant)
)
# What the first look finds of the days that it takes to know a meter.
_KNOWN = text(
    f"""
    SELECT k.meter_id, min(p.taken_at) AS since, max(p.pause) AS pause
    FROM unnest(CAST(:meters AS bigint[])) k (meter_id)
    CROSS JOIN LATERAL (
        SELECT taken_at, taken_at - lag(taken_at) OVER (ORDER BY taken_at) AS pause FROM (
            SELECT taken_at FROM {SCHEMA}.samples s
             WHERE s.meter_id = k.meter_id AND s.quantity IN ('pressure', 'voltage')
               AND s.taken_at > :after
            UNION SELECT taken_at FROM {SCHEMA}.readings r
             WHERE r.meter_id = k.meter_id AND r.source = 'gateway' AND r.taken_at > :after
        ) both_kinds
    ) p
    GROUP BY k.meter_id
    """  # noqa: S608 (a constant)
)
_KEEP = text(
    f"""
    INSERT INTO {SCHEMA}.hearings
        (meter_id, looked_at, newest_at, heard_at, known_since, usual_seconds, allowed_seconds)
    SELECT * FROM unnest(
        CAST(:meters AS bigint[]), CAST(:looks AS timestamptz[]), CAST(:newest AS timestamptz[]),
        CAST(:heard AS timestamptz[]), CAST(:since AS timestamptz[]), CAST(:usual AS bigint[]),
        CAST(:allowed AS bigint[])
    )
    ON CONFLICT (meter_id) DO UPDATE SET
        looked_at = excluded.looked_at, newest_at = excluded.newest_at,
        heard_at = excluded.heard_at, known_since = excluded.known_since,
        usual_seconds = excluded.usual_seconds, allowed_seconds = excluded.allowed_seconds
    """  # noqa: S608 (a constant)
)


class Heard(NamedTuple):
    """What a look at a meter leaves: as `Hearing`, in its order."""

    meter_id: int
    looked_at: datetime
    newest_at: datetime | None
    heard_at: datetime | None
    known_since: datetime | None
    usual_seconds: int
    allowed_seconds: int


async def look_for_silence(session: AsyncSession, *, now: datetime) -> int:
    """
    Look at gateways, then at meters that were not looked at lately; return how many meters.

    Silence of ours is nobody's: after a break in which nobody looked, or while a gateway is
    silent as a whole, no meter behind it is accused. Takes at most `CHUNK` meters, so that the
    caller comes back; whoever looks at the same time waits.
    """
    await lock_for_transaction(session, "silence")
    await gateway_silence.look_at_gateways(session, now=now)
    await _end_of_removed(session, now=now)
    found = await session.execute(
        select(Meter.id, Hearing)
        .join(ApiKey, ApiKey.id == Meter.gateway_id)
        .outerjoin(Hearing, Hearing.meter_id == Meter.id)
        .where(
            Meter.removed_at.is_(None),
            ApiKey.revoked_at.is_(None),
            Hearing.looked_at.is_(None) | (Hearing.looked_at <= now - LOOK_EVERY),
        )
        .order_by(Meter.id)
        .limit(CHUNK)
        .execution_options(populate_existing=True)
    )
    known = {row[0]: row[1] for row in found}
    if known:
        await _look(session, known, now=now)
    return len(known)


async def _look(
    session: AsyncSession, known: Mapping[int, Hearing | None], *, now: datetime
) -> None:
    newest = await _find_newest(session, known, now=now)
    meters = await find_meters(session, is_among(Meter.id, known))
    ranges = await load_ranges(session, is_among(Limit.meter_id, known))
    since = await _load_since(session, meters)
    first = await _load_first(session, known, now=now)
    heard = {
        meter.id: _hear(
            meter.id,
            known[meter.id] or first[meter.id],
            newest.get(meter.id),
            least=_least(ranges, meter),
            since=since.get(meter.gateway_id or 0, now),
            now=now,
        )
        for meter in meters
    }
    names = "meters looks newest heard since usual allowed"
    await session.execute(_KEEP, arrays(names, heard.values()))
    silent = await gateway_silence.list_silent(session)
    spared = {meter.id for meter in meters if silent & {meter.gateway_id, None}}
    await _judge(session, meters, heard, since=since, spared=spared, now=now)


async def _find_newest(
    session: AsyncSession, known: Mapping[int, Hearing | None], *, now: datetime
) -> dict[int, datetime]:
    afters = (
        (meter_id, hearing.newest_at if hearing and hearing.newest_at else now - LOOK_BACK)
        for meter_id, hearing in known.items()
    )
    rows = await session.execute(_NEWEST, arrays("meters afters", afters))
    return {row.meter_id: row.newest_at for row in rows if row.newest_at is not None}


def _least(ranges: Ranges, meter: MeterFacts) -> timedelta:
    hours = ranges.of(meter, Quantity.SILENCE).high
    return LEAST if hours is None else timedelta(seconds=int(hours * 3600))


async def _load_since(session: AsyncSession, meters: Iterable[MeterFacts]) -> dict[int, datetime]:
    rows = await session.execute(
        select(GatewayWatch.gateway_id, GatewayWatch.since).where(
            GatewayWatch.gateway_id.in_({meter.gateway_id for meter in meters})
        )
    )
    return {row.gateway_id: row.since for row in rows}


async def _load_first(
    session: AsyncSession, known: Mapping[int, Hearing | None], *, now: datetime
) -> dict[int, Hearing]:
    """Return what can be known of meters that are looked at for the first time."""
    new = [[meter_id] for meter_id, hearing in known.items() if hearing is None]
    found = {}
    if new:
        rows = await session.execute(_KNOWN, {**arrays("meters", new), "after": now - KNOWN_AFTER})
        found = {row.meter_id: row for row in rows}
    hearings = {}
    for (meter_id,) in new:
        row = found.get(meter_id)
        pause = row.pause if row is not None and row.pause is not None else NO_TIME
        hearings[meter_id] = Hearing(
            newest_at=None,
            heard_at=None,
            known_since=row.since if row is not None else None,
            usual_seconds=pause // SECOND,
        )
    return hearings


def _hear(
    meter_id: int,
    known: Hearing,
    newest_at: datetime | None,
    *,
    least: timedelta,
    since: datetime,
    now: datetime,
) -> Heard:
    usual, heard_at, known_since = known.usual_seconds * SECOND, known.heard_at, known.known_since
    if newest_at is not None:
        if heard_at is not None:
            allowed = known.allowed_seconds * SECOND
            usual = learn(usual, now - max(heard_at, since), allowed=allowed)
        heard_at, known_since = now, known_since or now
    allowed = allow(usual, least=least, known_for=now - (known_since or now) + LOOK_EVERY)
    newest_at = newest_at or known.newest_at
    seconds = (usual // SECOND, allowed // SECOND)
    return Heard(meter_id, now, newest_at, heard_at, known_since, *seconds)


async def _judge(
    session: AsyncSession,
    meters: Iterable[MeterFacts],
    heard: Mapping[int, Heard],
    *,
    since: Mapping[int, datetime],
    spared: set[int],
    now: datetime,
) -> None:
    """Raise and end alarms; while its gateway is silent, a meter's silence is not its own."""
    rows = await session.scalars(
        select(Alarm).where(
            is_among(Alarm.meter_id, heard),
            Alarm.quantity == Quantity.SILENCE,
            Alarm.ended_at.is_(None),
        )
    )
    alarms = {alarm.meter_id: alarm for alarm in rows}
    for meter in meters:
        known, alarm = heard[meter.id], alarms.get(meter.id)
        if known.heard_at is None or known.newest_at is None:
            continue
        hours = Decimal((now - known.newest_at) // HOUR)
        begins = max(known.heard_at, since.get(meter.gateway_id or 0, now))
        allowed = known.allowed_seconds * SECOND
        if alarm is None and now - begins > allowed + GRACE and meter.id not in spared:
            session.add(
                Alarm(
                    meter_id=meter.id,
                    quantity=Quantity.SILENCE,
                    side=Side.HIGH,
                    limit=Decimal(allowed // HOUR),
                    worst=hours,
                    began_at=known.newest_at,
                    raised_at=now,
                )
            )
        elif alarm is not None and known.heard_at == now:
            alarm.ended_at, alarm.end_value = now, alarm.worst
        elif alarm is not None:
            alarm.worst = hours
    await session.flush()


async def _end_of_removed(session: AsyncSession, *, now: datetime) -> None:
    """End the silence of meters from which nobody expects anything any more."""
    expected = (
        select(Meter.id)
        .join(ApiKey, ApiKey.id == Meter.gateway_id)
        .where(Meter.id == Alarm.meter_id, Meter.removed_at.is_(None), ApiKey.revoked_at.is_(None))
        .exists()
    )
    await session.execute(
        update(Alarm)
        .where(Alarm.quantity == Quantity.SILENCE, Alarm.ended_at.is_(None), ~expected)
        .values(ended_at=now, end_value=Alarm.worst)
    )

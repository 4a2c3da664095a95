"""Which readings of a register are accepted, and which are held: it would go back, or jump."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from itertools import groupby

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.db import SCHEMA
from core.monitoring.models import ReadingStatus
from core.monitoring.ranges import MeterFacts
from core.monitoring.registers import Shown, follow, is_plausible
from core.monitoring.rows import Key, Rows, arrays

Register = tuple[int, str]

# The row before the new ones: with none between or after them, and a value not higher nor too far
# below, all is well.
_UNSETTLED = text(
    f"""
    SELECT k.i FROM unnest(
        CAST(:meters AS bigint[]), CAST(:registers AS text[]), CAST(:starts AS timestamptz[]),
        CAST(:firsts AS numeric[]), CAST(:counts AS bigint[]), CAST(:ceilings AS numeric[])
    ) WITH ORDINALITY k (meter_id, register, first_at, first_value, count, ceiling, i)
    CROSS JOIN LATERAL (
        SELECT taken_at, value, status, source FROM {SCHEMA}.readings r
        WHERE r.meter_id = k.meter_id AND r.register = k.register
        ORDER BY taken_at DESC OFFSET k.count LIMIT 1
    ) p
    WHERE p.taken_at >= k.first_at OR p.value > k.first_value
        OR (k.first_value - p.value) * 3600
            > k.ceiling * greatest(extract(epoch FROM k.first_at - p.taken_at), 3600)
        OR p.status <> 'accepted' OR p.source = 'estimate'
    """  # noqa: S608 (a constant)
)
_FROM_LAST_ACCEPTED = text(
    f"""
    SELECT r.meter_id, r.register, r.taken_at, r.value, r.status, r.taken_at < k.first_at AS before,
        r.source IN ('staff', 'technician') AS is_vouched
    FROM unnest(
        CAST(:meters AS bigint[]), CAST(:registers AS text[]), CAST(:starts AS timestamptz[])
    ) k (meter_id, register, first_at)
    CROSS JOIN LATERAL (
        (SELECT * FROM {SCHEMA}.readings b
        WHERE b.meter_id = k.meter_id AND b.register = k.register AND b.taken_at < k.first_at
            AND b.status = 'accepted' AND b.source <> 'estimate'
        ORDER BY b.taken_at DESC LIMIT 1)
        UNION ALL
        SELECT * FROM {SCHEMA}.readings a
        WHERE a.meter_id = k.meter_id AND a.register = k.register AND a.taken_at >= k.first_at
            AND a.status IN ('accepted', 'held') AND a.source <> 'estimate'
    ) r
    ORDER BY r.meter_id, r.register, r.taken_at
    """  # noqa: S608 (a constant)
)
_SET_STATUS = text(
    f"""
    UPDATE {SCHEMA}.readings r SET status = k.status
    FROM unnest(
        CAST(:meters AS bigint[]), CAST(:registers AS text[]), CAST(:moments AS timestamptz[]),
        CAST(:statuses AS text[])
    ) k (meter_id, register, taken_at, status)
    WHERE r.meter_id = k.meter_id AND r.register = k.register AND r.taken_at = k.taken_at
    """  # noqa: S608 (a constant)
)


async def settle(
    session: AsyncSession, fresh: Rows, *, meters: Mapping[int, MeterFacts]
) -> set[Key]:
    """
    Decide on readings that were just stored as accepted; return the keys of those held.

    Whether a reading is accepted depends on the values of its register in the order of time, not
    on the order in which they came: one that comes late can turn a later one, which is then held.
    """
    first_rows, doubtful = _by_register(fresh, meters)
    if first_rows:
        registers = [
            (*register, *first, meters[register[0]].ceiling)
            for register, first in first_rows.items()
        ]
        found = await session.scalars(
            _UNSETTLED, arrays("meters registers starts firsts counts ceilings", registers)
        )
        doubtful |= {registers[i - 1][:2] for i in found}
    starts = [(*register, first_rows[register][0]) for register in doubtful]
    return await decide(session, starts, meters) if starts else set()


def _by_register(
    fresh: Rows, meters: Mapping[int, MeterFacts]
) -> tuple[dict[Register, tuple[datetime, Decimal, int]], set[Register]]:
    """Return each register's first new moment, value and their number; and the doubtful ones."""
    found: dict[Register, tuple[datetime, Decimal, int]] = {}
    doubtful: set[Register] = set()
    latest: dict[Register, Shown] = {}
    for key, value in sorted(fresh.items()):
        register, shown = (key.meter_id, key.name), Shown(key.taken_at, value)
        if register in found:
            first_at, first_value, count = found[register]
            found[register] = (first_at, first_value, count + 1)
            meter = meters[key.meter_id]
            # What goes on by less than an hour's worth is always plausible, which is cheap to see.
            went = value - latest[register].value
            if not 0 <= went <= meter.ceiling and not is_plausible(
                latest[register], shown, digits=meter.digits, ceiling=meter.ceiling
            ):
                doubtful.add(register)
        else:
            found[register] = (key.taken_at, value, 1)
        latest[register] = shown
    return found, doubtful


async def decide(
    session: AsyncSession,
    starts: Iterable[tuple[int, str, datetime]],
    meters: Mapping[int, MeterFacts],
) -> set[Key]:
    """Decide anew on all readings of these registers from these moments on; return those held."""
    rows = await session.execute(_FROM_LAST_ACCEPTED, arrays("meters registers starts", starts))
    held: set[Key] = set()
    changed: list[tuple[object, ...]] = []
    for (meter_id, name), group in groupby(rows, key=lambda row: (row.meter_id, row.register)):
        series, meter = list(group), meters[meter_id]
        first = series.pop(0) if series[0].before else None
        possible = follow(
            None if first is None else Shown(first.taken_at, first.value),
            (Shown(row.taken_at, row.value, row.is_vouched) for row in series),
            digits=meter.digits,
            ceiling=meter.ceiling,
        )
        for row, is_possible in zip(series, possible, strict=True):
            key = Key(meter_id, name, row.taken_at)
            status = ReadingStatus.ACCEPTED if is_possible else ReadingStatus.HELD
            if not is_possible:
                held.add(key)
            if status != row.status:
                changed.append((*key, status.value))
    if changed:
        await session.execute(_SET_STATUS, arrays("meters registers moments statuses", changed))
    return held


async def dispute(
    session: AsyncSession, keys: Collection[Key], *, meters: Mapping[int, MeterFacts]
) -> None:
    """Take back readings for which another value was sent: nothing is billed from either."""
    statuses = [(*key, ReadingStatus.DISPUTED.value) for key in keys]
    await session.execute(_SET_STATUS, arrays("meters registers moments statuses", statuses))
    await decide(session, keys, meters)

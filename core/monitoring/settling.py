"""Which readings of a register are accepted, and which are held because it would go back."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from itertools import groupby

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.db import SCHEMA
from core.monitoring.models import ReadingStatus
from core.monitoring.registers import follow
from core.monitoring.rows import Key, Rows, arrays

Register = tuple[int, str]

# The row before the new ones: with none between or after them, and no higher value, all is well.
_UNSETTLED = text(
    f"""
    SELECT k.i FROM unnest(
        CAST(:meters AS bigint[]), CAST(:registers AS text[]), CAST(:starts AS timestamptz[]),
        CAST(:firsts AS numeric[]), CAST(:counts AS bigint[])
    ) WITH ORDINALITY k (meter_id, register, first_at, first_value, count, i)
    CROSS JOIN LATERAL (
        SELECT taken_at, value, status, source FROM {SCHEMA}.readings r
        WHERE r.meter_id = k.meter_id AND r.register = k.register
        ORDER BY taken_at DESC OFFSET k.count LIMIT 1
    ) p
    WHERE p.taken_at > k.first_at OR p.value > k.first_value
        OR p.status <> 'accepted' OR p.source = 'estimate'
    """  # noqa: S608 (a constant)
)
_FROM_LAST_ACCEPTED = text(
    f"""
    SELECT r.meter_id, r.register, r.taken_at, r.value, r.status, r.taken_at < k.first_at AS before
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
            AND a.status <> 'rejected' AND a.source <> 'estimate'
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


async def settle(session: AsyncSession, fresh: Rows, *, digits: Mapping[int, int]) -> set[Key]:
    """
    Decide on readings that were just stored as accepted; return the keys of those held.

    Whether a reading is accepted depends on the values of its register in the order of time, not
    on the order in which they came: one that comes late can turn a later one, which is then held.

    Units: `digits` by meter, before the point of its register.
    """
    first_rows, doubtful = _by_register(fresh)
    if first_rows:
        registers = [(*register, *first) for register, first in first_rows.items()]
        found = await session.scalars(
            _UNSETTLED, arrays("meters registers starts firsts counts", registers)
        )
        doubtful |= {registers[i - 1][:2] for i in found}
    starts = [(*register, first_rows[register][0]) for register in doubtful]
    return await _decide(session, starts, digits) if starts else set()


def _by_register(
    fresh: Rows,
) -> tuple[dict[Register, tuple[datetime, Decimal, int]], set[Register]]:
    """Return each register's first new moment, value and their number; and those that go back."""
    found: dict[Register, tuple[datetime, Decimal, int]] = {}
    backwards: set[Register] = set()
    latest: dict[Register, Decimal] = {}
    for key, value in sorted(fresh.items()):
        register = (key.meter_id, key.name)
        if register in found:
            first_at, first_value, count = found[register]
            found[register] = (first_at, first_value, count + 1)
            if value < latest[register]:
                backwards.add(register)
        else:
            found[register] = (key.taken_at, value, 1)
        latest[register] = value
    return found, backwards


async def _decide(
    session: AsyncSession, starts: Iterable[tuple[int, str, datetime]], digits: Mapping[int, int]
) -> set[Key]:
    rows = await session.execute(_FROM_LAST_ACCEPTED, arrays("meters registers starts", starts))
    held: set[Key] = set()
    changed: list[tuple[object, ...]] = []
    for (meter_id, name), group in groupby(rows, key=lambda row: (row.meter_id, row.register)):
        series = list(group)
        before = series.pop(0).value if series[0].before else None
        possible = follow(before, (row.value for row in series), digits=digits[meter_id])
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

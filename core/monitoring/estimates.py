"""Estimates beside the readings: marked as such, never in the place of a real one."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.db import SCHEMA
from core.monitoring.partitions import ensure_months, months_of
from core.monitoring.rows import Rows, arrays

_KEEP = text(
    f"""
    INSERT INTO {SCHEMA}.readings
        (meter_id, register, taken_at, value, source, status, received_at)
    SELECT *, 'estimate', 'accepted', CAST(:now AS timestamptz) FROM unnest(
        CAST(:meters AS bigint[]), CAST(:registers AS text[]), CAST(:moments AS timestamptz[]),
        CAST(:values AS numeric[])
    )
    ON CONFLICT (meter_id, register, taken_at) DO UPDATE SET value = excluded.value
    WHERE readings.source = 'estimate'
    """  # noqa: S608 (a constant)
)


async def keep_estimates(session: AsyncSession, rows: Rows, *, now: datetime) -> None:
    """Store what registers are taken to show; what was read at that moment stays as it is."""
    if not rows:
        return
    await ensure_months(session, months_of(key.taken_at for key in rows))
    columns = arrays("meters registers moments values", [(*k, v) for k, v in rows.items()])
    await session.execute(_KEEP, {**columns, "now": now})

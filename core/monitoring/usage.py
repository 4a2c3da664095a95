"""What registers showed at given moments, and what was used between them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.db import SCHEMA
from core.monitoring.models import Source
from core.monitoring.ranges import MeterFacts
from core.monitoring.registers import advance
from core.monitoring.rows import array
from core.monitoring.service import TOTAL, RegisterValue
from core.periods import month_of, start_of_day

_REGISTERS = f"""
    WITH RECURSIVE names AS (
        SELECT m.id AS meter_id, (
            SELECT min(register) FROM {SCHEMA}.readings r WHERE r.meter_id = m.id
        ) AS register
        FROM unnest(CAST(:meters AS bigint[])) m (id)
        UNION ALL
        SELECT n.meter_id, (
            SELECT min(register) FROM {SCHEMA}.readings r
            WHERE r.meter_id = n.meter_id AND r.register > n.register
        )
        FROM names n WHERE n.register IS NOT NULL
    )
"""  # noqa: S608 (a constant); hops from name to name instead of reading every row
_AT = text(
    f"""
    {_REGISTERS}
    SELECT v.meter_id, v.register, v.taken_at, v.value, v.source, m.at
    FROM names n
    CROSS JOIN unnest(CAST(:moments AS timestamptz[])) m (at)
    CROSS JOIN LATERAL (
        SELECT * FROM {SCHEMA}.readings r
        WHERE r.meter_id = n.meter_id AND r.register = n.register AND r.taken_at <= m.at
            AND r.status = 'accepted' AND (:estimates OR r.source <> 'estimate')
        ORDER BY r.taken_at DESC LIMIT 1
    ) v
    ORDER BY v.meter_id, v.register, m.at
    """  # noqa: S608 (a constant)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """
    What was used from a local day on, up to the next one in a list.

    Nothing is interpolated or estimated: `value` is missing where no reading ended the span, and
    then counts with the next span that has one, whose `since` is that much earlier. Units: m³ or
    kWh, with the multiplier.
    """

    starts_date: date
    value: Decimal | None
    since: datetime | None


async def list_registers(
    session: AsyncSession, *, meter_ids: Collection[int], at: datetime
) -> list[RegisterValue]:
    """Return, for each register of these meters, the latest accepted reading at a moment."""
    values = {"meters": array(meter_ids), "moments": array([at]), "estimates": True}
    rows = await session.execute(_AT, values)
    return [
        RegisterValue(row.meter_id, row.register, row.taken_at, row.value, Source(row.source))
        for row in rows
    ]


async def usage_by_day(
    session: AsyncSession, *, meter: MeterFacts, last_day: date, days: int, zone: ZoneInfo
) -> list[Use]:
    """Return the use of each of the last local days."""
    starts = [last_day - timedelta(days=days - 1 - i) for i in range(days + 1)]
    return await _usage(session, meter=meter, starts=starts, zone=zone)


async def usage_by_month(
    session: AsyncSession, *, meter: MeterFacts, last_day: date, months: int, zone: ZoneInfo
) -> list[Use]:
    """Return the use of each of the last local months, the one of `last_day` being the last."""
    starts = [month_of(last_day).ends]
    while len(starts) <= months:
        starts.insert(0, month_of(starts[0] - timedelta(days=1)).starts)
    return await _usage(session, meter=meter, starts=starts, zone=zone)


async def used_between(
    session: AsyncSession,
    *,
    meter: MeterFacts,
    starts_at: datetime,
    ends_at: datetime,
    age_max: timedelta | None = None,
) -> Decimal | None:
    """
    Return what was used from one moment to another; nothing if it was not read near enough.

    The readings that tell it may be older than the bounds by `age_max`, else by a tenth of the
    time between them.

    Units: m³ or kWh, with the multiplier.
    """
    moments = (starts_at, ends_at)
    registers = await _shown_at(session, meter=meter, moments=moments)
    age_max = age_max or (ends_at - starts_at) / 10
    parts = [
        _between(register, *moments, digits=meter.digits)
        if all(at in register and at - register[at][0] <= age_max for at in moments)
        else None
        for register in registers
    ]
    return _total(parts, multiplier=meter.multiplier)


async def _usage(
    session: AsyncSession, *, meter: MeterFacts, starts: Sequence[date], zone: ZoneInfo
) -> list[Use]:
    moments = [start_of_day(day, zone=zone) for day in starts]
    registers = await _shown_at(session, meter=meter, moments=moments)
    return [
        Use(
            starts_date=day,
            value=_total(
                [_between(register, *span, digits=meter.digits) for register in registers],
                multiplier=meter.multiplier,
            ),
            since=min((each[span[0]][0] for each in registers if span[0] in each), default=None),
        )
        for day, span in zip(starts, pairwise(moments), strict=False)
    ]


_Register = dict[datetime, tuple[datetime, Decimal]]


async def _shown_at(
    session: AsyncSession, *, meter: MeterFacts, moments: Sequence[datetime]
) -> list[_Register]:
    """Return the latest real reading at each moment, of the total or else of every register."""
    values = {"meters": array([meter.id]), "moments": array(moments), "estimates": False}
    rows = await session.execute(_AT, values)
    shown: dict[str, _Register] = {}
    for row in rows:
        shown.setdefault(row.register, {})[row.at] = (row.taken_at, row.value)
    return [shown[TOTAL]] if TOTAL in shown else list(shown.values())


def _between(
    register: _Register,
    start: datetime,
    end: datetime,
    *,
    digits: int,
) -> Decimal | None:
    if start not in register or end not in register or register[end][0] <= start:
        return None
    return advance(register[start][1], register[end][1], digits=digits)


def _total(parts: Sequence[Decimal | None], *, multiplier: Decimal) -> Decimal | None:
    known = [part for part in parts if part is not None]
    return sum(known, Decimal(0)) * multiplier if known and len(known) == len(parts) else None

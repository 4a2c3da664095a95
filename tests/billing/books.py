"""A place to bill in tests: loaded tariffs, registers at month ends, runs, and the whole books."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Service
from core.billing import bills, runs
from core.billing.consumption import BilledSpan, Shown
from core.billing.tariff_store import load_tariffs, shipped_contents
from core.db import Database
from core.monitoring.models import Reading, ReadingStatus, Source
from core.monitoring.partitions import ensure_months, months_of
from core.periods import Period, start_of_day

ZONE = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 11, 2, 4, 0, tzinfo=UTC)
SEPTEMBER = Period(date(2026, 9, 1), date(2026, 10, 1))
OCTOBER = Period(date(2026, 10, 1), date(2026, 11, 1))
NOVEMBER = Period(date(2026, 11, 1), date(2026, 12, 1))


async def load_shipped(database: Database) -> list[str]:
    async with database.transaction() as session:
        return await load_tariffs(session, contents=shipped_contents())


def read(
    meter: int, day: date, value: str, *, register: str = "total", source: Source = Source.GATEWAY
) -> Reading:
    at = start_of_day(day, zone=ZONE)
    return Reading(
        meter_id=meter,
        register=register,
        taken_at=at,
        value=Decimal(value),
        source=source,
        status=ReadingStatus.ACCEPTED,
        received_at=at,
    )


def span_between(opening: Shown, closing: Shown, *, multiplier: int = 1) -> BilledSpan:
    """Return what one register of five digits showed at the two ends of a bill."""
    return BilledSpan(
        meter_id=1,
        serial="W1",
        register="total",
        digits=5,
        multiplier=Decimal(multiplier),
        opening=opening,
        closing=closing,
    )


async def keep(session: AsyncSession, readings: Sequence[Reading]) -> None:
    """Store readings in their months."""
    await ensure_months(session, months_of(reading.taken_at for reading in readings))
    session.add_all(readings)


async def show(database: Database, meter: int, values: Mapping[date, str]) -> None:
    """Have a meter's register show these values at the start of these days."""
    async with database.transaction() as session:
        await keep(session, [read(meter, day, value) for day, value in values.items()])


async def run_bills(
    database: Database, service: Service, period: Period, *, now: datetime = NOW
) -> bills.IssuedChunk:
    async with database.transaction() as session:
        run_id = await runs.start_run(session, service=service, period=period, now=now)
    async with database.transaction() as session:
        scope = await runs.get_scope(session, run_id=run_id)
        agreements = await runs.list_unbilled(session, scope=scope)
    async with database.transaction() as session:
        chunk = await bills.issue_bills(session, run_id=run_id, agreement_ids=agreements, now=now)
    async with database.transaction() as session:
        await runs.finish_run(session, run_id=run_id, now=now)
    return chunk


async def ask(database: Database, query: str, **values: object) -> list[tuple[object, ...]]:
    async with database.transaction() as session:
        return [tuple(row) for row in await session.execute(text(query), values)]

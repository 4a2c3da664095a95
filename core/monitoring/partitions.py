"""Readings and samples by month: their partitions, made when the first row of a month comes."""

from collections.abc import Iterable
from datetime import UTC, date, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.db import SCHEMA, lock_for_transaction
from core.periods import month_of

TABLES = ("readings", "samples")


def months_of(moments: Iterable[datetime]) -> set[date]:
    """Return the first days of the months in which these moments lie, in UTC."""
    utc = (moment.astimezone(UTC) for moment in moments)
    return {date(year, month, 1) for year, month in {(day.year, day.month) for day in utc}}


async def ensure_months(session: AsyncSession, months: Iterable[date]) -> None:
    """
    Make the partitions in which rows of these months are kept, where they are missing.

    Months are those of UTC; any day stands for its month. A partition is made apart and then
    attached, so nobody who reads or writes other months waits; two who need the same new month
    at once wait for each other.
    """
    firsts = {month.strftime("%Y_%m"): month for month in months}
    wanted = {
        f"{table}_{name}": (table, month) for name, month in firsts.items() for table in TABLES
    }
    if not await _missing(session, wanted):
        return
    await lock_for_transaction(session, "partitions")
    for name in await _missing(session, wanted):
        table, month = wanted[name]
        period = month_of(month)
        await session.execute(text(f"CREATE TABLE {SCHEMA}.{name} (LIKE {SCHEMA}.{table})"))
        await session.execute(
            text(
                f"ALTER TABLE {SCHEMA}.{table} ATTACH PARTITION {SCHEMA}.{name} FOR VALUES"
                f" FROM ('{period.starts} 00:00+00') TO ('{period.ends} 00:00+00')"
            )
        )


async def _missing(session: AsyncSession, names: Iterable[str]) -> list[str]:
    found = await session.scalars(
        text(
            "SELECT name FROM unnest(CAST(:names AS text[])) name WHERE NOT EXISTS ("
            " SELECT FROM pg_class c WHERE c.relname = name"
            " AND c.relnamespace = CAST(:schema AS regnamespace)) ORDER BY name"
        ),
        {"names": list(names), "schema": SCHEMA},
    )
    return list(found)

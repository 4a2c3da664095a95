"""
How fast a gateway's batches are stored, against the machine's own limit in the same run.

The limit is COPY of bytes prepared beforehand into tables of the same shape and keys, committed
per batch. Both write half registers and half samples, one of each for every meter, into months
that already hold history. Rounds alternate; medians are printed, and how they relate.

    python -m benchmarks.ingest --rounds 7

    python -m benchmarks.ingest --year

makes a database of its own on SHUIDIAN_TEST_DATABASE_URL, or on the embedded server.
"""

import argparse
import asyncio
import contextlib
import os
import resource
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
from sqlalchemy import text
from sqlalchemy.engine import make_url

from bot.migrate import upgrade
from bot.postgres import embedded
from core.db import SCHEMA, Database
from core.monitoring.ingest import NewReading, NewSample, store_batch
from core.monitoring.models import Quantity
from core.monitoring.partitions import TABLES, ensure_months

START = datetime(2026, 11, 1, tzinfo=UTC)
SERVICES = ("water", "electricity")
COLUMNS = {
    "readings": "meter_id, register, taken_at, value, source, status, received_at",
    "samples": "meter_id, quantity, taken_at, value",
}


SETTING = """
INSERT INTO shuidian.operator (id, name, timezone, currency, locale, hotline)
    VALUES (1, 'O', 'Asia/Shanghai', 'CNY', 'en', '1');
INSERT INTO shuidian.areas (kind, name, path) VALUES ('district', 'D', '/1/');
INSERT INTO shuidian.api_keys (name, token_hash, scope, created_at)
    VALUES ('g', 'g', 'gateway', '2026-01-01');
INSERT INTO shuidian.premises (area_id, address)
    SELECT 1, 'P' || i FROM generate_series(1, :meters) i;
INSERT INTO shuidian.service_points (premise_id, service, area_id)
    SELECT i, CASE i % 2 WHEN 0 THEN 'water' ELSE 'electricity' END, 1
    FROM generate_series(1, :meters) i;
INSERT INTO shuidian.meters (serial, service_point_id, digits, installed_at, gateway_id)
    SELECT 'S' || i, i, 6, '2020-01-01', 1 FROM generate_series(1, :meters) i;
INSERT INTO shuidian.limits (quantity, low, high, deadband, hold_seconds)
    VALUES ('pressure', 140, 600, 8, 1200), ('voltage', 198, 235.4, 4.4, 1200);
INSERT INTO shuidian.readings
    SELECT m, 'total', at, 1000 - :hours + h, 'gateway', 'accepted', at
    FROM generate_series(1, :meters) m, generate_series(1, :hours) h,
    LATERAL (SELECT CAST(:start AS timestamptz) - (:hours - h) * interval '1 hour') t (at);
INSERT INTO shuidian.samples
    SELECT m, CASE m % 2 WHEN 0 THEN 'pressure' ELSE 'voltage' END, at, 220
    FROM generate_series(1, :meters) m, generate_series(1, :hours) h,
    LATERAL (SELECT CAST(:start AS timestamptz) - (:hours - h) * interval '1 hour') t (at)
"""


@contextlib.contextmanager
def fresh_database() -> Iterator[str]:
    """Yield the address of a new database with all tables."""
    with contextlib.ExitStack() as stack:
        given = os.environ.get("SHUIDIAN_TEST_DATABASE_URL")
        server = given or stack.enter_context(embedded(Path(".state") / "benchmarks")).url
        name = f"ingest_{uuid.uuid4().hex[:12]}"
        admin_url = make_url(server).set(drivername="postgresql", database="postgres")
        admin = stack.enter_context(
            psycopg.connect(admin_url.render_as_string(hide_password=False), autocommit=True)
        )
        admin.execute(f"CREATE DATABASE {name}")
        try:
            url = make_url(server).set(database=name).render_as_string(hide_password=False)
            upgrade(url)
            yield url
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def build(database: Database, *, meters: int, hours: int) -> int:
    """Make meters with limits and a history of readings and samples; return the gateway's id."""
    async with database.transaction() as session:
        await ensure_months(session, [START, START - timedelta(days=20)])
        for statement in SETTING.split(";"):
            await session.execute(
                text(statement), {"meters": meters, "hours": hours, "start": START}
            )
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("DROP SCHEMA IF EXISTS limit_of_copy CASCADE"))
        await connection.execute(text("CREATE SCHEMA limit_of_copy"))
        for table in TABLES:
            limit = f"limit_of_copy.{table}"
            await connection.execute(
                text(f"CREATE TABLE {limit} (LIKE {SCHEMA}.{table}) PARTITION BY RANGE (taken_at)")
            )
            name = "register" if table == "readings" else "quantity"
            await connection.execute(
                text(f"ALTER TABLE {limit} ADD PRIMARY KEY (meter_id, {name}, taken_at)")
            )
            for month in ("2026_10", "2026_11"):
                first = f"{month.replace('_', '-')}-01"
                await connection.execute(
                    text(
                        f"CREATE TABLE {limit}_{month} PARTITION OF {limit} FOR VALUES FROM"
                        f" ('{first}') TO (timestamptz '{first}' + interval '1 month')"
                    )
                )
            await connection.execute(
                text(f"INSERT INTO {limit} SELECT * FROM {SCHEMA}.{table}")  # noqa: S608 (constants)
            )
        await connection.execute(text("VACUUM ANALYZE"))
    return 1


def make_batch(
    number: int, *, size: int, abnormal: int
) -> tuple[list[NewReading], list[NewSample]]:
    """Return half registers and half samples of one moment, the first few abnormal."""
    at = START + timedelta(minutes=number + 1)
    readings = [
        NewReading(i, f"S{i + 1}", "total", at, Decimal(1000) + Decimal(number) / 100)
        for i in range(size // 2)
    ]
    samples = [
        NewSample(
            i,
            f"S{i + 1}",
            Quantity.VOLTAGE if (i + 1) % 2 else Quantity.PRESSURE,
            at,
            Decimal(100 if i < abnormal else 220),
        )
        for i in range(size // 2)
    ]
    return readings, samples


async def encode(
    database: Database, readings: list[NewReading], samples: list[NewSample]
) -> dict[str, bytes]:
    """Return the same rows as the bytes of COPY, made by PostgreSQL itself from stored ones."""
    encoded = {}
    async with database.engine.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        at = readings[0].taken_at
        for table in TABLES:
            query = (
                f"COPY (SELECT {COLUMNS[table]} FROM {SCHEMA}.{table}"  # noqa: S608 (ours)
                f" WHERE taken_at = '{at.isoformat()}' AND meter_id <= {len(samples)}"
                " ORDER BY meter_id) TO STDOUT (FORMAT BINARY)"
            )
            async with raw.cursor() as cursor, cursor.copy(query) as copy:
                encoded[table] = b"".join([bytes(part) async for part in copy])
    return encoded


async def copy_bytes(database: Database, encoded: dict[str, bytes]) -> None:
    """Do the unavoidable part: the same rows, already in PostgreSQL's own form."""
    async with database.transaction() as session:
        raw = (await (await session.connection()).get_raw_connection()).driver_connection
        assert raw is not None
        for table in TABLES:
            query = f"COPY limit_of_copy.{table} ({COLUMNS[table]}) FROM STDIN (FORMAT BINARY)"
            async with raw.cursor() as cursor, cursor.copy(query) as copy:
                await copy.write(encoded[table])


async def measure(
    database: Database, *, gateway_id: int, size: int, rounds: int, first: int
) -> None:
    """Print the rows a second of both, for one size of batch."""
    ours, limit, again = [], [], []
    for number in range(first, first + rounds):
        readings, samples = make_batch(number, size=size, abnormal=size // 1000)
        for replay, times in ((False, ours), (True, again)):
            began = time.perf_counter()
            async with database.transaction() as session:
                receipt = await store_batch(
                    session,
                    gateway_id=gateway_id,
                    readings=readings,
                    samples=samples,
                    now=START + timedelta(days=20),
                )
            times.append(time.perf_counter() - began)
            assert (receipt.duplicate if replay else receipt.accepted) == size, receipt
        encoded = await encode(database, readings, samples)
        began = time.perf_counter()
        await copy_bytes(database, encoded)
        limit.append(time.perf_counter() - began)
    ratios = [their / mine for mine, their in zip(ours[1:], limit[1:], strict=True)]
    print(
        f"{size:6d} a batch: {size / statistics.median(ours[1:]):9,.0f} rows/s,"
        f" limit {size / statistics.median(limit[1:]):9,.0f},"
        f" ratio {statistics.median(ratios):.2f} (best {max(ratios):.2f}, worst {min(ratios):.2f}),"
        f" sent again {size / statistics.median(again[1:]):9,.0f} rows/s"
    )


async def grow(database: Database, *, meters: int) -> None:
    """Store twelve months of hourly registers and samples; print the cost as the table grows."""
    gateway_id = await build(database, meters=meters, hours=1)
    began, stored, worst = time.perf_counter(), 0, Decimal(0)
    hours_at_once = max(1, 5000 // meters)
    for first in range(0, 365 * 24, hours_at_once):
        readings, samples = list[NewReading](), list[NewSample]()
        for hour in range(first, first + hours_at_once):
            at = START + timedelta(hours=hour + 1)
            for i in range(meters):
                readings.append(NewReading(i, f"S{i + 1}", "total", at, 1000 + Decimal(hour) / 100))
                quantity = Quantity.VOLTAGE if (i + 1) % 2 else Quantity.PRESSURE
                samples.append(NewSample(i, f"S{i + 1}", quantity, at, Decimal(220)))
        made = time.perf_counter()
        async with database.transaction() as session:
            receipt = await store_batch(
                session, gateway_id=gateway_id, readings=readings, samples=samples, now=at
            )
        worst = max(worst, Decimal(time.perf_counter() - made))
        assert receipt.accepted == len(readings) + len(samples), receipt
        stored += receipt.accepted
        if stored % 1_000_000 < receipt.accepted or stored == receipt.accepted:
            seconds, began = time.perf_counter() - began, time.perf_counter()
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(
                f"{stored:12,} rows, last million {seconds:5.1f} s, slowest batch "
                f"{worst * 1000:4.0f} ms, memory {memory} MB"
            )
            worst = Decimal(0)


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Database]:
    """Connect to a database for a while."""
    database = Database(url)
    yield database
    await database.close()


async def run_year(url: str) -> None:
    """Show that neither memory nor the cost of a row grows with the table."""
    async with connected(url) as database:
        await grow(database, meters=1000)


async def run(url: str, *, rounds: int, meters: int, hours: int) -> None:
    """Build the history and measure both sizes."""
    async with connected(url) as database:
        gateway_id = await build(database, meters=meters, hours=hours)
        print(f"{meters} meters, {2 * meters * hours:,} rows of history")
        for size, factor, first in ((10_000, 1, 0), (1_000, 3, 1000), (100, 10, 2000)):
            if size <= 2 * meters:
                await measure(
                    database, gateway_id=gateway_id, size=size, rounds=rounds * factor, first=first
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Rates of storing batches, against COPY.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--meters", type=int, default=5000)
    parser.add_argument("--hours", type=int, default=100)
    parser.add_argument("--year", action="store_true", help="a year of 1,000 meters, hourly")
    options = parser.parse_args()
    with fresh_database() as address:
        if options.year:
            asyncio.run(run_year(address))
        else:
            asyncio.run(
                run(address, rounds=options.rounds, meters=options.meters, hours=options.hours)
            )

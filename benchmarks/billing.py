"""
How fast a month is billed, against the machine's own limit in the same run.

Real readings, through the very jobs that production queues, in worker processes of their own:
electricity in three tiers and two components, by time of use for every other home, of agreements
that were billed the month before. Bills with their inputs, lines and ledger entries are written;
nobody is linked, so no messages are made. The limit is COPY of exactly the same rows, prepared
beforehand as bytes, into a clone of the same database: the same tables, keys, indexes and
triggers, by one connection, one transaction a chunk.

    python -m benchmarks.billing --agreements 10000 100000 --workers 1 2 --rounds 3

makes databases of its own on SHUIDIAN_TEST_DATABASE_URL, or on the embedded server.
"""

# ruff: noqa: S608 (all statements are constants of this file)

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession

from benchmarks.ingest import connected, fresh_database
from bot import billing_runs, works
from bot.clock import SystemClock
from bot.tasks import Tasks
from core.accounts.models import Service
from core.billing import bills, chunks, proposals, runs
from core.billing.audit_checks import list_violations
from core.billing.bill_rows import lines_of
from core.billing.tariff_store import load_tariffs
from core.db import Database
from core.monitoring.partitions import ensure_months
from core.periods import Period

NOW = datetime(2026, 11, 2, tzinfo=UTC)
SEPTEMBER = Period(date(2026, 9, 1), date(2026, 10, 1))
OCTOBER = Period(date(2026, 10, 1), date(2026, 11, 1))
SAMPLE = 200
AUDITED_MAX = 100_000  # a sound book of a million takes the auditor longer than its making
TICKS = os.sysconf("SC_CLK_TCK")

TARIFF = """
format = 1
code = "bench-{code}"
service = "electricity"
place = {{ en = "B", ru = "B", zh_CN = "B", zh_TW = "B" }}
[labels]
energy = {{ en = "E", ru = "E", zh_CN = "E", zh_TW = "E" }}
fund = {{ en = "F", ru = "F", zh_CN = "F", zh_TW = "F" }}
[[versions]]
valid_from = 2020-01-01
source = "made up"
mark = "checked"
currency = "CNY"
unit = "kWh"
quantity_digits = 2
window = "month"
rounding = {{ mode = "half_up", digits = 2 }}
[versions.tiers.energy]
per = "month"
limits = ["180", "350"]
[versions.components.energy]
tiers = "energy"
prices = {prices}
[versions.components.fund]
prices = ["0.0287"]
[[versions.examples]]
source = "computed"
starts = 2026-01-01
ends = 2026-02-01
use = {use}
total = "{total}"
"""
PRICES = (Decimal("0.5653"), Decimal("0.6153"), Decimal("0.8653"))
DAY, NIGHT = Decimal("0.03"), Decimal("-0.25")
TARIFFS = {
    "bench-flat.toml": TARIFF.format(
        code="flat",
        prices="[" + ", ".join(f'"{price}"' for price in PRICES) + "]",
        use='{ total = "400" }',
        total="261.10",
    ).encode(),
    "bench-tou.toml": TARIFF.format(
        code="tou",
        prices="["
        + ", ".join(f'{{ peak = "{p + DAY}", valley = "{p + NIGHT}" }}' for p in PRICES)
        + "]",
        use='{ peak = "240", valley = "160" }',
        total="228.30",
    ).encode(),
}
SETTING = """
INSERT INTO shuidian.operator (id, name, timezone, currency, locale, hotline)
    VALUES (1, 'O', 'Asia/Shanghai', 'CNY', 'en', '1');
INSERT INTO shuidian.areas (kind, name, path) VALUES ('district', 'D', '/1/');
INSERT INTO shuidian.premises (area_id, address)
    SELECT 1, 'Street ' || i FROM generate_series(1, CAST(:homes AS bigint)) i;
INSERT INTO shuidian.service_points (premise_id, service, area_id)
    SELECT i, 'electricity', 1 FROM generate_series(1, CAST(:homes AS bigint)) i;
INSERT INTO shuidian.accounts (number, premise_id, holder_name)
    SELECT 'A' || i, i, 'H' || i FROM generate_series(1, CAST(:homes AS bigint)) i;
INSERT INTO shuidian.agreements (account_id, service_point_id, tariff_code, starts_date)
    SELECT i, i, CASE i % 2 WHEN 0 THEN 'bench-flat' ELSE 'bench-tou' END, '2025-01-01'
    FROM generate_series(1, CAST(:homes AS bigint)) i;
INSERT INTO shuidian.meters (serial, service_point_id, digits, installed_at)
    SELECT 'S' || i, i, 6, '2020-01-01' FROM generate_series(1, CAST(:homes AS bigint)) i;
INSERT INTO shuidian.readings
    SELECT i, register, at, (1000 + m * (50 + (i * 7919 % 45000) / 100.0)) * share, 'gateway',
        'accepted', at
    FROM generate_series(1, CAST(:homes AS bigint)) i, generate_series(0, 2) m,
    LATERAL (SELECT timestamptz '2026-08-31 16:00+00' + m * interval '1 month') t (at),
    LATERAL (SELECT * FROM (VALUES (0, 'total', 1.0), (1, 'peak', 0.6), (1, 'valley', 0.4))
        r (odd, register, share) WHERE odd = i % 2) r
"""


CHUNKS = """
SELECT nr, run_id, first_id, last_id FROM shuidian.billing_chunks
    WHERE run_id = (SELECT max(run_id) FROM shuidian.billing_chunks) ORDER BY nr
"""
MADE = "shuidian.bills b WHERE run_id = %(run)s AND agreement_id BETWEEN %(first)s AND %(last)s"
POSTED = f"SELECT 'bill:' || number FROM {MADE}"
ROWS = {
    "bills": f"SELECT * FROM {MADE} ORDER BY id",
    "bill_lines": f"SELECT * FROM shuidian.bill_lines WHERE bill_id IN (SELECT id FROM {MADE})"
    " ORDER BY bill_id, position",
    "ledger_transactions": "SELECT * FROM shuidian.ledger_transactions"
    f" WHERE reference IN ({POSTED}) ORDER BY id",
    "ledger_entries": "SELECT * FROM shuidian.ledger_entries WHERE transaction_id IN (SELECT id"
    f" FROM shuidian.ledger_transactions WHERE reference IN ({POSTED})) ORDER BY id",
}
# What a home with one register pays, by another way than ours; prices are those of the file.
FLAT = """
SELECT sum(round(100 * (least(use, 180) * 0.5653 + least(greatest(use - 180, 0), 170) * 0.6153
        + greatest(use - 350, 0) * 0.8653 + use * 0.0287)))
    FROM (SELECT 50 + (i * 7919 % 45000) / 100.0 AS use
          FROM generate_series(2, CAST(:homes AS bigint), 2) i) uses
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What some work took: by the clock, of processors (clients and server), of memory."""

    seconds: Decimal
    cpu_seconds: Decimal
    memory_mb: int = 0


def plain(url: str) -> str:
    """Return the address as psycopg wants it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@contextlib.contextmanager
def cloned(url: str, name: str) -> Iterator[str]:
    """Yield the address of a copy of a database that nobody is connected to."""
    source = make_url(url)
    with psycopg.connect(
        plain(source.set(database="postgres").render_as_string(hide_password=False)),
        autocommit=True,
    ) as admin:
        copy = f"{source.database}_{name}"
        admin.execute(f"CREATE DATABASE {copy} TEMPLATE {source.database} STRATEGY FILE_COPY")
        try:
            yield source.set(database=copy).render_as_string(hide_password=False)
        finally:
            admin.execute(f"DROP DATABASE {copy} WITH (FORCE)")


async def build(url: str, *, homes: int) -> None:
    """Make homes with meters, readings of three month ends, and the bills of the first month."""
    async with connected(url) as database:
        async with database.transaction() as session:
            await ensure_months(session, [datetime(2026, m, 1, tzinfo=UTC) for m in (8, 9, 10, 11)])
            for statement in SETTING.split(";"):
                await session.execute(text(statement), {"homes": homes})
            await load_tariffs(session, contents=TARIFFS)
        await vacuum(database)
    async with workers(url, count=2):
        await bill(url, SEPTEMBER)
    async with connected(url) as database:
        async with database.transaction() as session:  # the clones know the run that comes
            await runs.start_run(session, service=Service.ELECTRICITY, period=OCTOBER, now=NOW)
        await vacuum(database)


async def vacuum(database: Database) -> None:
    """Leave the tables as they are after a quiet night."""
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM ANALYZE"))
        await connection.execute(text("CHECKPOINT"))


@contextlib.asynccontextmanager
async def workers(url: str, *, count: int) -> AsyncIterator[list[subprocess.Popen[bytes]]]:
    """Run worker processes, as `shuidian serve` has them, and wait until they are ready."""
    command = [sys.executable, "-m", "benchmarks.billing", "--work", url]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: ASYNC220, S603 (ours, at once)
        for _ in range(count)
    ]
    try:
        for worker in running:
            assert worker.stdout is not None
            await asyncio.to_thread(worker.stdout.readline)
        yield running
    finally:
        for worker in running:
            worker.terminate()
            worker.wait()


async def work(url: str) -> None:
    """Do queued jobs until stopped."""
    database = Database(url)
    tasks = Tasks(database, SystemClock(), works=works.WORKS)
    doing = asyncio.create_task(tasks.run())
    await asyncio.sleep(2)
    print("ready", flush=True)
    await doing


async def bill(url: str, period: Period) -> int:
    """Start a run and wait until it is finished; return its id."""
    async with connected(url) as database:
        async with database.transaction() as session:
            run_id = await billing_runs.start(
                session, service=Service.ELECTRICITY, period=period, now=NOW
            )
        while True:
            async with database.transaction() as session:
                if not await chunks.list_waiting(session, run_id=run_id):
                    return run_id
            await asyncio.sleep(0.05)


def spent(processes: list[int]) -> Decimal:
    """Return the processor time that living processes have used. Units: seconds."""
    ticks = 0
    for process in processes:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return Decimal(ticks) / TICKS


def backends(admin: psycopg.Connection, database: str) -> list[int]:
    """Return the server's processes for a database; they live as long as their connections."""
    found = admin.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", [database])
    return [pid for (pid,) in found]


async def measure_ours(url: str, *, count: int) -> Cost:
    """Bill October with worker processes that wait for work, and check what they did."""
    admin_url = make_url(url).set(database="postgres")
    async with workers(url, count=count) as running:
        with psycopg.connect(
            plain(admin_url.render_as_string(hide_password=False)), autocommit=True
        ) as admin:
            pids = [worker.pid for worker in running]
            name = make_url(url).database
            assert name is not None
            before, served = spent(pids), backends(admin, name)
            began = time.perf_counter()
            run_id = await bill(url, OCTOBER)
            seconds = Decimal(time.perf_counter() - began)
            cpu = spent(pids) - before + spent(list({*served, *backends(admin, name)}))
        memory = max(high_water(pid) for pid in pids)
    await require_right(url, run_id=run_id)
    return Cost(seconds=seconds, cpu_seconds=cpu, memory_mb=memory)


def high_water(process: int) -> int:
    """Return the most memory that a process has had. Units: MB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


async def require_right(url: str, *, run_id: int) -> None:
    """Fail unless every agreement has one right bill, and the books say the same."""
    async with connected(url) as database, database.transaction() as session:
        homes = await session.scalar(text("SELECT count(*) FROM shuidian.agreements"))
        view = await proposals.get_run(session, run_id=run_id)
        assert view.progress.issued == view.progress.planned == homes, view.progress
        assert view.run.finished_at is not None
        sums = await session.execute(
            text(
                "SELECT (SELECT sum(total_minor) FROM shuidian.bills WHERE run_id = :run),"
                " (SELECT sum(amount_minor) FROM shuidian.ledger_entries),"
                " (SELECT sum(amount_minor) FROM shuidian.ledger_entries"
                "   WHERE account = 'receivable') - (SELECT sum(total_minor)"
                "   FROM shuidian.bills WHERE run_id <> :run),"
                " (SELECT count(DISTINCT number) - 2 * :homes FROM shuidian.bills),"
                " (SELECT latest - 1000 - 2 * :homes FROM shuidian.series)"
            ),
            {"run": run_id, "homes": homes},
        )
        billed, zero, owed, double, gaps = sums.one()
        assert billed == owed == view.progress.total_minor
        flat = await session.scalar(
            text(
                "SELECT sum(total_minor) FROM shuidian.bills"
                " WHERE run_id = :run AND agreement_id % 2 = 0"
            ),
            {"run": run_id},
        )
        assert flat == await session.scalar(text(FLAT), {"homes": homes})
        assert (zero, double, gaps) == (0, 0, 0)
        numbers = await session.scalars(
            text(
                "SELECT number FROM shuidian.bills WHERE run_id = :run"
                " AND agreement_id % greatest(1, :homes / :sample) = 0"
            ),
            {"run": run_id, "homes": homes, "sample": SAMPLE},
        )
        for number in numbers.all():
            await require_same(session, number)
        if homes <= AUDITED_MAX:
            assert await list_violations(session) == []


async def require_same(session: AsyncSession, number: str) -> None:
    """Fail unless a bill that is computed again from its inputs has the stored lines."""
    computed = await bills.recompute(session, number=number)
    stored = await session.execute(
        text(
            "SELECT l.*, total_minor FROM shuidian.bill_lines l"
            " JOIN shuidian.bills b ON b.id = bill_id WHERE number = :number ORDER BY position"
        ),
        {"number": number},
    )
    again = [{**line, "total_minor": computed.total_minor} for line in lines_of(computed)]
    rows = [{key: row[key] for key in again[0]} for row in stored.mappings()]
    assert rows == again, number


def export(url: str, folder: Path) -> None:
    """Write what the run of October made as the bytes of COPY, chunk by chunk."""
    with psycopg.connect(plain(url)) as connection:
        planned = connection.execute(CHUNKS).fetchall()
        for nr, run_id, first, last in planned:
            named = {"run": run_id, "first": first, "last": last}
            for table, rows in ROWS.items():
                query = f"COPY ({rows}) TO STDOUT (FORMAT BINARY)"
                with (
                    (folder / f"{nr:06}.{table}").open("wb") as file,
                    connection.cursor() as cursor,
                ):
                    written = psycopg.ClientCursor(connection).mogrify(query, named)
                    with cursor.copy(written) as copy:
                        for part in copy:
                            file.write(part)


def measure_limit(url: str, folder: Path) -> Cost:
    """Do the unavoidable part: the same rows, already in PostgreSQL's own form."""
    chunks_of_rows = sorted({file.stem for file in folder.iterdir()})
    with psycopg.connect(plain(url)) as connection:
        process = connection.info.backend_pid
        before, began = spent([process, os.getpid()]), time.perf_counter()
        for chunk in chunks_of_rows:
            with connection.transaction():
                for table in ROWS:
                    query = f"COPY shuidian.{table} FROM STDIN (FORMAT BINARY)"
                    with connection.cursor() as cursor, cursor.copy(query) as copy:
                        copy.write((folder / f"{chunk}.{table}").read_bytes())
        seconds = Decimal(time.perf_counter() - began)
        return Cost(seconds=seconds, cpu_seconds=spent([process, os.getpid()]) - before)


def measure(*, homes: int, counts: list[int], rounds: int) -> None:
    """Measure one size: rounds of the limit and of each number of workers, each on its own copy."""
    ours: dict[int, list[Cost]] = {count: [] for count in counts}
    limits = []
    with fresh_database() as url, tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        asyncio.run(build(url, homes=homes))
        for number in range(rounds):
            for count in counts[number % 2 :] + counts[: number % 2]:
                with cloned(url, f"w{count}") as copy:
                    ours[count].append(asyncio.run(measure_ours(copy, count=count)))
                    if not any(folder.iterdir()):
                        export(copy, folder)
            with cloned(url, "limit") as copy:
                limits.append(measure_limit(copy, folder))
    for count, costs in ours.items():
        print_line(homes, count, costs, limits)


def print_line(homes: int, count: int, ours: list[Cost], limits: list[Cost]) -> None:
    """Print medians of the rounds and how they relate."""
    ratios = [mine.seconds / their.seconds for mine, their in zip(ours, limits, strict=True)]
    cpus = [mine.cpu_seconds / their.cpu_seconds for mine, their in zip(ours, limits, strict=True)]
    seconds = statistics.median(each.seconds for each in ours)
    limit = statistics.median(each.seconds for each in limits)
    print(
        f"{homes:9,} agreements, {count} worker(s): {seconds:7.2f} s,"
        f" {homes / seconds:7,.0f} bills/s, limit {limit:7.2f} s,"
        f" ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f});"
        f" processor time {statistics.median(each.cpu_seconds for each in ours):.2f} s,"
        f" ratio {statistics.median(cpus):.2f};"
        f" memory of a worker {max(each.memory_mb for each in ours)} MB",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A month's bills, against COPY.")
    parser.add_argument("--agreements", type=int, nargs="+", default=[10_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        asyncio.run(work(options.work))
    else:
        print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        for homes in options.agreements:
            measure(homes=homes, counts=options.workers, rounds=options.rounds)

"""Chunks: what is approved is issued once, whoever works, however often one is killed."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from core.accounts.models import Service
from core.billing import chunks, corrections, proposals, runs
from core.billing.audit_checks import list_violations
from core.billing.runs import RunAlreadyApproved, RunNotApproved
from core.db import Database
from core.monitoring.partitions import ensure_months
from tests.billing.books import NOW, SEPTEMBER, ask, load_shipped
from tests.world import World

HOMES = 600
STREET = """
INSERT INTO shuidian.premises (area_id, address)
    SELECT (SELECT min(id) FROM shuidian.areas), 'Long Street ' || i
    FROM generate_series(1, :homes) i;
INSERT INTO shuidian.accounts (number, premise_id, holder_name)
    SELECT 'L' || id, id, 'H' FROM shuidian.premises WHERE address LIKE 'Long Street %';
INSERT INTO shuidian.service_points (premise_id, service, area_id)
    SELECT id, 'electricity', area_id FROM shuidian.premises WHERE address LIKE 'Long Street %';
INSERT INTO shuidian.agreements (account_id, service_point_id, tariff_code, starts_date)
    SELECT a.id, p.id, 'anhui-electricity', '2025-01-01' FROM shuidian.accounts a
    JOIN shuidian.service_points p USING (premise_id) WHERE a.number LIKE 'L%';
INSERT INTO shuidian.meters (serial, service_point_id, digits, installed_at)
    SELECT 'L' || p.id, p.id, 6, '2020-01-01' FROM shuidian.service_points p
    JOIN shuidian.premises h ON h.id = p.premise_id WHERE h.address LIKE 'Long Street %';
INSERT INTO shuidian.readings (meter_id, register, taken_at, value, source, status, received_at)
    SELECT m.id, 'total', at, 1000 + m.id + n * (10 + m.id % 400), 'gateway', 'accepted', at
    FROM shuidian.meters m, generate_series(0, 1) n,
    LATERAL (SELECT timestamptz '2026-08-31 16:00+00' + n * interval '30 days') t (at)
    WHERE m.serial LIKE 'L%'
"""
WORKER = """
import asyncio, sys
from datetime import datetime
from core.billing import chunks
from core.db import Database

async def work(url, run_id, now):
    database = Database(url)
    while True:
        async with database.transaction() as session:
            waiting = await chunks.list_waiting(session, run_id=run_id)
        if not waiting:
            break
        for nr in waiting:
            async with database.transaction() as session:
                await chunks.issue_chunk(session, run_id=run_id, nr=nr, now=now)
    await database.close()

asyncio.run(work(sys.argv[1], int(sys.argv[2]), datetime.fromisoformat(sys.argv[3])))
"""


@pytest.fixture
async def run_id(database: Database, world: World, monkeypatch: pytest.MonkeyPatch) -> int:
    """A run over a long street, not approved yet, in many small chunks."""
    assert world
    monkeypatch.setattr(chunks, "CHUNK", 20)
    await load_shipped(database)
    async with database.transaction() as session:
        await ensure_months(session, [datetime(2026, month, 30, tzinfo=UTC) for month in (8, 9)])
        for statement in STREET.split(";"):
            await session.execute(text(statement), {"homes": HOMES})
        return await runs.start_run(session, service=Service.ELECTRICITY, period=SEPTEMBER, now=NOW)


async def approve(database: Database, run_id: int, actor_id: int | None = None) -> list[int]:
    async with database.transaction() as session:
        await runs.approve_run(session, run_id=run_id, actor_id=actor_id, now=NOW)
        return await chunks.plan_chunks(session, run_id=run_id, now=NOW)


async def issue(database: Database, run_id: int, nr: int) -> int | None:
    async with database.transaction() as session:
        done = await chunks.issue_chunk(session, run_id=run_id, nr=nr, now=NOW)
    return None if done is None else done.issued


async def require_all_billed_once(database: Database, run_id: int) -> None:
    numbers = await ask(
        database, "SELECT number, agreement_id FROM shuidian.bills WHERE state = 'issued'"
    )
    assert sorted(int(number[1:]) for number, _ in numbers) == list(range(1001, 1001 + HOMES))
    assert len({agreement for _, agreement in numbers}) == HOMES
    async with database.transaction() as session:
        assert await list_violations(session) == []
        view = await proposals.get_run(session, run_id=run_id)
    assert view.run.finished_at is not None
    assert (view.progress.issued, view.progress.skipped) == (HOMES, 2)
    assert view.progress.done == view.progress.planned == HOMES + 2


class TestPlanChunks:
    async def test_refuses_what_nobody_approved(self, database: Database, run_id: int) -> None:
        with pytest.raises(RunNotApproved):
            async with database.transaction() as session:
                await chunks.plan_chunks(session, run_id=run_id, now=NOW)

        assert await ask(database, "SELECT count(*) FROM shuidian.billing_chunks") == [(0,)]

    async def test_gives_back_the_same_chunks_until_they_are_done(
        self, database: Database, run_id: int, world: World
    ) -> None:
        planned = await approve(database, run_id, world.manager)
        await issue(database, run_id, planned[0])

        async with database.transaction() as session:
            again = await chunks.plan_chunks(session, run_id=run_id, now=NOW)

        assert again == planned[1:]
        with pytest.raises(RunAlreadyApproved):
            await approve(database, run_id)

    async def test_counts_everybody_once_when_a_run_is_run_again(
        self, database: Database, run_id: int, world: World
    ) -> None:
        planned = await approve(database, run_id, world.manager)
        for nr in planned:
            await issue(database, run_id, nr)
        async with database.transaction() as session:
            await proposals.report_reach(session, now=NOW + timedelta(days=2))
            before = await proposals.get_run(session, run_id=run_id)
            await corrections.void_bill(
                session, number="E1001", reason="wrong", actor_id=world.manager, now=NOW
            )
        later = NOW + timedelta(days=3)

        async with database.transaction() as session:
            (again,) = await chunks.plan_chunks(session, run_id=run_id, now=later)
        async with database.transaction() as session:
            running = await proposals.get_run(session, run_id=run_id)
        assert running.run.reach == before.run.reach == {"nobody": HOMES}
        assert (running.progress.done, running.progress.planned) == (HOMES - 1, HOMES + 2)
        async with database.transaction() as session:
            await chunks.issue_chunk(session, run_id=run_id, nr=again, now=later)
            assert (await proposals.get_run(session, run_id=run_id)).progress == before.progress

        async with database.transaction() as session:
            await proposals.report_reach(session, now=later + timedelta(days=2))
            told = await session.scalars(
                text("SELECT dedupe_key FROM shuidian.deliveries WHERE kind = 'run.reached'")
            )
            assert len({*told}) == 2


class TestIssueChunk:
    async def test_is_done_once_by_two_workers(self, database: Database, run_id: int) -> None:
        planned = await approve(database, run_id)

        both = await asyncio.gather(*(issue(database, run_id, planned[0]) for _ in range(2)))

        assert sorted(both, key=str) == [18, None]  # the first two homes were not read

    async def test_goes_on_after_workers_were_killed_and_bills_nobody_twice(
        self, database: Database, run_id: int
    ) -> None:
        await approve(database, run_id)
        killed = 0
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            workers = [start_worker(database.url, run_id) for _ in range(2)]
            before = await count_bills(database)
            while killed < 3 and await count_bills(database) == before:
                await asyncio.sleep(0.01)
                assert time.monotonic() < deadline
            if killed == 3:
                assert [worker.wait(60) for worker in workers] == [0, 0]
                break
            for worker in workers:
                os.kill(worker.pid, signal.SIGKILL)
                worker.wait()
            killed += 1

        await require_all_billed_once(database, run_id)


def start_worker(url: str, run_id: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 (our own words)
        [sys.executable, "-c", WORKER, url, str(run_id), NOW.isoformat()]
    )


async def count_bills(database: Database) -> object:
    return (await ask(database, "SELECT count(*) FROM shuidian.bills"))[0][0]

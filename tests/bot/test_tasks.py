"""Background work: queued with its cause, done again after a failure, found again after a kill."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from bot.app import keep_running
from bot.clock import SystemClock
from bot.tasks import Tasks, Work
from core import audit
from core.audit import AuditEntry
from core.db import Database
from tests.bot.test_inbox import lose_connections

PROJECT = Path(__file__).parents[2]
# A worker in a process of its own, whose work never ends.
VICTIM = """
import asyncio, sys
from bot.clock import SystemClock
from bot.tasks import Tasks
from core.db import Database

async def note(session, *, now, what):
    print("begun", flush=True)
    await asyncio.sleep(600)

async def main():
    await Tasks(Database(sys.argv[1]), SystemClock(), works={"note": note}).run()

asyncio.run(main())
"""


async def note(session: AsyncSession, *, now: datetime, what: str) -> None:
    audit.record(session, at=now, actor_id=None, action=what, subject="task")


class Unlucky:
    """Work that fails a few times, after it has done something."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    async def __call__(self, session: AsyncSession, *, now: datetime, what: str) -> None:
        await note(session, now=now, what=what)
        await session.flush()
        if self.failures:
            self.failures -= 1
            raise RuntimeError("not this time")


def tasks_for(database: Database, works: Mapping[str, Work], **more: Any) -> Tasks:
    return Tasks(database, SystemClock(), works=works, **more)


@contextlib.asynccontextmanager
async def working(tasks: Tasks) -> AsyncIterator[None]:
    worker = asyncio.create_task(keep_running(tasks.run))
    try:
        yield
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


async def done(database: Database, count: int, *, seconds: float = 30) -> list[str]:
    """Wait until this many things were done and nothing waits, and return them."""
    async with asyncio.timeout(seconds):
        while True:
            async with database.transaction() as session:
                found = list(await session.scalars(select(AuditEntry.action)))
                left = await session.scalar(text("SELECT count(*) FROM procrastinate_jobs"))
            if len(found) >= count and not left:
                return found
            await asyncio.sleep(0.05)


class TestDefer:
    async def test_queues_with_its_cause_or_not_at_all(self, database: Database) -> None:
        tasks = tasks_for(database, {"note": note})
        with contextlib.suppress(ZeroDivisionError):
            async with database.transaction() as session:
                await tasks.defer(session, "note", what="never")
                raise ZeroDivisionError
        async with database.transaction() as session:
            await tasks.defer(session, "note", what="done")
        async with working(tasks):
            assert await done(database, 1) == ["done"]

    async def test_starts_nothing_before_the_cause_is_committed(self, database: Database) -> None:
        tasks = tasks_for(database, {"note": note})
        async with working(tasks):
            async with database.transaction() as session:
                await tasks.defer(session, "note", what="done")
                await asyncio.sleep(1.5)
                seen = Database(database.url)
                async with seen.transaction() as other:
                    assert list(await other.scalars(select(AuditEntry.action))) == []
                await seen.close()
            assert await done(database, 1) == ["done"]

    async def test_adds_nothing_while_the_same_waits(self, database: Database) -> None:
        tasks = tasks_for(database, {"note": note})
        for what in ("first", "second"):
            async with database.transaction() as session:
                await tasks.defer(session, "note", once="note", what=what)
                audit.record(
                    session, at=SystemClock().now(), actor_id=None, action="cause", subject=what
                )
        async with working(tasks):
            assert sorted(await done(database, 3)) == ["cause", "cause", "first"]
            async with database.transaction() as session:
                await tasks.defer(session, "note", once="note", what="third")
            assert "third" in await done(database, 4)


class TestRun:
    async def test_does_failed_work_again_without_its_half_done_part(
        self, database: Database
    ) -> None:
        tasks = tasks_for(database, {"note": Unlucky(failures=2)})
        async with database.transaction() as session:
            await tasks.defer(session, "note", what="at last")
        async with working(tasks):
            assert await done(database, 1) == ["at last"]

    async def test_goes_on_after_the_database_was_lost(self, database: Database) -> None:
        tasks, other = tasks_for(database, {"note": note}), Database(database.url)
        async with working(tasks):
            for number in range(3):
                async with other.transaction() as session:
                    await tasks.defer(session, "note", what=f"{number}")
                assert len(await done(other, number + 1)) == number + 1
                await lose_connections(other)
        await other.close()

    async def test_stops_at_once_and_keeps_what_waits(self, database: Database) -> None:
        tasks = tasks_for(database, {"note": note})
        async with asyncio.timeout(5), working(tasks):
            await asyncio.sleep(0.5)
        async with database.transaction() as session:
            await tasks.defer(session, "note", what="waits")
        async with working(tasks_for(database, {"note": note})):
            assert await done(database, 1) == ["waits"]

    @pytest.mark.timeout(180)
    async def test_finds_what_a_killed_worker_left(self, database: Database) -> None:
        tasks = tasks_for(database, {"note": note}, stalled_seconds=2)
        async with database.transaction() as session:
            await tasks.defer(session, "note", what="done by another")
        victim = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", VICTIM, database.url),
            stdout=asyncio.subprocess.PIPE,
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
        )
        assert victim.stdout is not None
        assert await victim.stdout.readline() == b"begun\n"
        victim.send_signal(signal.SIGKILL)
        await victim.wait()

        async with working(tasks):
            assert await done(database, 1, seconds=60) == ["done by another"]


@pytest.mark.timeout(180)
async def test_works_on_after_the_server_was_started_again(tmp_path: Path) -> None:
    from bot.migrate import upgrade  # noqa: PLC0415 (only here)
    from bot.postgres import embedded  # noqa: PLC0415 (the same)

    with embedded(tmp_path / "state", fsync=False) as server:
        await asyncio.to_thread(upgrade, server.url)
        database = Database(server.url)
        tasks = tasks_for(database, {"note": note})
        async with working(tasks):
            for number in range(2):
                async with database.transaction() as session:
                    await tasks.defer(session, "note", what=f"{number}")
                assert len(await done(database, number + 1, seconds=60)) == number + 1
                if number == 0:
                    await asyncio.to_thread(crash, tmp_path)
        await database.close()


def crash(state: Path) -> None:
    """Kill every backend of the server as a crash does: the postmaster starts it all anew."""
    pid = int(next(state.rglob("postmaster.pid")).read_text().splitlines()[0])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for child in children:
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        if b"idle" in command:
            os.kill(int(child), signal.SIGKILL)
            return
    raise AssertionError(json.dumps(children))

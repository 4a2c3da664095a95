"""Timed jobs: once a local day among replicas, missed days in order, failed days again."""

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.clock import ScaledClock, SystemClock
from bot.timetable import CATCH_UP, PAUSE, Job, JobRun, Timetable
from bot.works import JOBS
from core import audit
from core.accounts.models import Operator
from core.audit import AuditEntry
from core.db import Database
from core.errors import DomainError

ZONES = ["Europe/Helsinki", "America/St_Johns", "Asia/Shanghai", "Australia/Lord_Howe"]


class Standing(ScaledClock):
    """A clock that shows what it is told."""

    def __init__(self, at: datetime) -> None:
        super().__init__(set_at=SystemClock().now(), shown_at=at, rate=0)


async def set_zone(database: Database, name: str) -> None:
    async with database.transaction() as session:
        await session.execute(update(Operator).values(timezone=name))


async def ran(database: Database) -> list[datetime]:
    """List the moments for which the job ran, in the order in which it did."""
    async with database.transaction() as session:
        return list(await session.scalars(select(AuditEntry.at).order_by(AuditEntry.id)))


class Work:
    """Writes down the moment it stands for, and fails on some days."""

    def __init__(self, *, bad: set[date] | None = None) -> None:
        self.bad = bad or set()
        self.running = 0

    async def __call__(self, session: AsyncSession, *, now: datetime) -> None:
        assert not self.running, "two at once"
        self.running += 1
        audit.record(session, at=now, actor_id=None, action="ran", subject="job")
        await session.flush()
        await asyncio.sleep(0.01)
        self.running -= 1
        if now.date() in self.bad:
            raise RuntimeError("a bad day")


def timetable(database: Database, clock: Any, work: Work, *, at: time | None) -> Timetable:
    return Timetable(database, clock, jobs={"daily": Job(name="daily", run=work, at=at)})


class TestDaily:
    @pytest.mark.usefixtures("world")
    @pytest.mark.parametrize("zone", ZONES)
    @pytest.mark.parametrize("start", [date(2026, 3, 6), date(2026, 3, 26), date(2026, 10, 22)])
    @pytest.mark.parametrize("at", [time(0, 0), time(2, 30), time(3, 30)])
    async def test_runs_once_a_local_day_over_changes_of_clocks(
        self, database: Database, zone: str, start: date, at: time
    ) -> None:
        await set_zone(database, zone)
        local = ZoneInfo(zone)
        clock = Standing(datetime.combine(start, time(0, 0), tzinfo=local).astimezone(UTC))
        table = timetable(database, clock, Work(), at=at)
        for _ in range(5 * 24):
            clock.shown_at += timedelta(hours=1)
            await table.ring()

        days = [moment.astimezone(local).date() for moment in await ran(database)]
        first = start if at > time(0, 0) else days[0]
        assert days == [first + timedelta(days=n) for n in range(len(days))]
        assert len(days) >= 5

    @pytest.mark.usefixtures("world")
    async def test_runs_once_among_replicas(self, database: Database) -> None:
        clock, work = Standing(datetime(2026, 11, 2, 12, tzinfo=UTC)), Work()
        tables = [timetable(database, clock, work, at=time(3, 0)) for _ in range(4)]
        await asyncio.gather(*(table.ring() for table in tables for _ in range(3)))
        # One of them looked before the others had finished, and comes after them.
        (job,) = tables[0]._jobs.values()
        due_at = datetime(2026, 11, 1, 19, tzinfo=UTC)
        await tables[0]._run_day(job, date(2026, 11, 2), due_at=due_at, now=clock.now())

        assert await ran(database) == [due_at]

    @pytest.mark.usefixtures("world")
    async def test_catches_up_with_missed_days_in_order(self, database: Database) -> None:
        clock = Standing(datetime(2026, 11, 2, 12, tzinfo=UTC))
        table = timetable(database, clock, Work(), at=time(3, 0))
        await table.ring()
        clock.shown_at += timedelta(days=6)
        await table.ring()
        await table.ring()

        days = [moment.date() for moment in await ran(database)]
        assert days == [date(2026, 11, 1) + timedelta(days=n) for n in range(7)]

    @pytest.mark.usefixtures("world")
    async def test_tells_how_things_stand_once_after_missed_days(self, database: Database) -> None:
        clock, work = Standing(datetime(2026, 11, 2, 12, tzinfo=UTC)), Work()
        job = Job(name="daily", run=work, at=time(3, 0), tells_how_things_stand=True)
        table = Timetable(database, clock, jobs={"daily": job})
        await table.ring()
        clock.shown_at += timedelta(days=6)
        work.bad = {date(2026, 11, 8)}
        await table.ring()
        clock.shown_at += timedelta(days=1)
        await table.ring()
        await table.ring()

        assert [moment.day for moment in await ran(database)] == [1, 8]
        async with database.transaction() as session:
            runs = await session.execute(
                select(JobRun.day, JobRun.finished_at.is_not(None)).order_by(JobRun.day)
            )
        assert [(day.day, is_run) for day, is_run in runs] == [
            *[(2, True)],
            *[(day, False) for day in range(3, 8)],
            *[(8, True), (9, True)],
        ]

    @pytest.mark.usefixtures("world")
    async def test_begins_with_today_and_looks_back_so_far_and_no_further(
        self, database: Database
    ) -> None:
        clock = Standing(datetime(2026, 1, 1, 12, tzinfo=UTC))
        table = timetable(database, clock, Work(), at=time(3, 0))
        await table.ring()
        clock.shown_at += CATCH_UP + timedelta(days=30)
        await table.ring()

        assert len(await ran(database)) == 2

    @pytest.mark.usefixtures("world")
    async def test_runs_a_failed_day_again_without_its_half_done_part(
        self, database: Database
    ) -> None:
        clock = Standing(datetime(2026, 11, 2, 12, tzinfo=UTC))
        work = Work(bad={date(2026, 11, 2)})
        table = timetable(database, clock, work, at=time(12, 0))
        await table.ring()
        assert await ran(database) == []
        clock.shown_at += PAUSE - timedelta(seconds=1)
        async with database.transaction() as session:
            assert "a bad day" in str(await session.scalar(select(JobRun.error)))

        work.bad.clear()
        await table.ring()
        assert await ran(database) == []  # not so soon after it failed
        clock.shown_at += timedelta(seconds=1)
        await table.ring()
        await table.ring()

        assert len(await ran(database)) == 1
        async with database.transaction() as session:
            assert await session.scalar(select(JobRun.error)) is None

    @pytest.mark.usefixtures("world")
    async def test_runs_a_day_again_that_was_cut_short(self, database: Database) -> None:
        clock, work = Standing(datetime(2026, 11, 2, 12, tzinfo=UTC)), Work()
        cut = asyncio.create_task(timetable(database, clock, work, at=time(3, 0)).ring())
        while not work.running:
            await asyncio.sleep(0.001)
        cut.cancel()
        await asyncio.gather(cut, return_exceptions=True)
        assert await ran(database) == []
        work.running = 0

        await timetable(database, clock, work, at=time(3, 0)).ring()

        assert len(await ran(database)) == 1


class TestSweep:
    async def test_never_runs_twice_at_once(self, database: Database) -> None:
        clock, work = SystemClock(), Work()
        tables = [timetable(database, clock, work, at=None) for _ in range(4)]
        await asyncio.gather(*(table.ring() for table in tables for _ in range(5)))

        assert 1 <= len(await ran(database)) <= 20

    @pytest.mark.usefixtures("world")
    async def test_that_fails_leaves_the_others_alone(self, database: Database) -> None:
        clock, good = Standing(datetime(2026, 11, 2, 12, tzinfo=UTC)), Work()
        jobs = {
            "bad": Job(name="bad", run=Work(bad={date(2026, 11, 2)})),
            "good": Job(name="good", run=good),
        }
        await Timetable(database, clock, jobs=jobs).ring()

        assert len(await ran(database)) == 1


class TestJobs:
    @pytest.mark.usefixtures("world")
    @pytest.mark.parametrize("name", sorted(JOBS))
    async def test_can_be_run_by_hand_twice(self, database: Database, name: str) -> None:
        for _ in range(2):
            async with database.transaction() as session:
                try:
                    await JOBS[name].run(session, now=datetime(2026, 11, 2, 12, tzinfo=UTC))
                except DomainError as refusal:
                    raise AssertionError(f"{name} refuses: {refusal}") from refusal

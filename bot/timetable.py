"""Timed jobs: a bell that rings often, and rows that say what is due and what was done."""

import asyncio
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from bot.clock import Clock
from bot.tasks import Work
from core.accounts import service as accounts
from core.db import Base, Database

log = structlog.get_logger()

CATCH_UP = timedelta(days=45)
PAUSE = timedelta(minutes=10)
STOP_SECONDS = 10


class JobRun(Base):
    """One run of a daily job for one local day; the key is what keeps it from running twice."""

    __tablename__ = "job_runs"

    job: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    error: Mapped[str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """
    Work with a time: daily at a local time, or (`at` empty) a sweep at every ring.

    `run` gets a session and, as `now`, the moment it stands for; it may run any number of times.
    One that tells people how things stand does so once after a pause: of the days missed only the
    latest is run, the others are noted as never finished.
    """

    name: str
    run: Work
    at: time | None = None
    tells_how_things_stand: bool = False


class Timetable:
    """Asks at each ring which jobs are due; any number of replicas may ring."""

    def __init__(
        self, database: Database, clock: Clock, *, jobs: Mapping[str, Job], seconds: int = 5
    ) -> None:
        self._database = database
        self._clock = clock
        self._jobs = jobs
        self._scheduler = AsyncIOScheduler(timezone="UTC")
        self._scheduler.add_job(
            self._bell, "interval", seconds=seconds, max_instances=1, coalesce=True
        )
        self._ringing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to ring."""
        self._scheduler.start()

    async def stop(self) -> None:
        """Ring no more; what has begun is finished, unless it takes too long."""
        self._scheduler.shutdown(wait=False)
        if self._ringing is not None:
            await asyncio.wait([self._ringing], timeout=STOP_SECONDS)
            self._ringing.cancel()
            await asyncio.gather(self._ringing, return_exceptions=True)

    async def _bell(self) -> None:
        # A task of our own: the scheduler would cut its jobs short when it stops.
        if self._ringing is None or self._ringing.done():
            self._ringing = asyncio.create_task(self.ring())

    async def ring(self) -> None:
        """Run what is due now."""
        now = self._clock.now()
        for job in self._jobs.values():
            try:
                if job.at is None:
                    await self._sweep(job, now)
                else:
                    await self._run_due_days(job, now)
            except Exception:
                log.exception("job.failed", job=job.name)

    async def _sweep(self, job: Job, now: datetime) -> None:
        async with self._database.transaction() as session:
            if await _is_alone(session, job):
                await job.run(session, now=now)

    async def _run_due_days(self, job: Job, now: datetime) -> None:
        """Run the recent days that did not run, or failed, in order; after a failure, pause."""
        assert job.at is not None  # noqa: S101 (the caller looked)
        async with self._database.transaction() as session:
            zone = ZoneInfo((await accounts.get_operator(session)).timezone)
            runs = await session.execute(
                select(JobRun.day, JobRun.error, JobRun.finished_at).where(
                    JobRun.job == job.name, JobRun.day > now.date() - CATCH_UP
                )
            )
            done: dict[date, bool] = {}
            for day, error, finished_at in runs:
                done[day] = error is None
                if error is not None and finished_at is not None and finished_at > now - PAUSE:
                    return  # what failed just now would fail again, and days go in order
        today = now.astimezone(zone).date()
        first = min(done, default=today)
        days = [first + timedelta(days=offset) for offset in range((today - first).days + 1)]
        due = {day: datetime.combine(day, job.at, tzinfo=zone) for day in days}
        due = {day: due_at for day, due_at in due.items() if due_at <= now}
        if job.tells_how_things_stand:
            *missed, latest = due or [today]
            await self._skip(job, [day for day in missed if day not in done], now=now)
            due = {day: due_at for day, due_at in due.items() if day == latest}
        for day, due_at in due.items():
            if not done.get(day, False):
                await self._run_day(job, day, due_at=due_at, now=now)

    async def _skip(self, job: Job, days: Sequence[date], *, now: datetime) -> None:
        if days:
            async with self._database.transaction() as session:
                await session.execute(
                    insert(JobRun).on_conflict_do_nothing(),
                    [{"job": job.name, "day": day, "started_at": now} for day in days],
                )

    async def _run_day(self, job: Job, day: date, *, due_at: datetime, now: datetime) -> None:
        """Run a day and note it in the same transaction, so that a day cut short runs again."""
        try:
            async with self._database.transaction() as session:
                if not await _is_alone(session, job):
                    return
                run = await session.get(JobRun, (job.name, day))
                if run is None or run.error is not None:
                    await job.run(session, now=due_at)
                    await self._note(session, job, day, started_at=now, error=None)
        except Exception:
            log.exception("job.failed", job=job.name, day=str(day))
            error = traceback.format_exc(limit=5)
            async with self._database.transaction() as session:
                await self._note(session, job, day, started_at=now, error=error)

    async def _note(
        self, session: AsyncSession, job: Job, day: date, *, started_at: datetime, error: str | None
    ) -> None:
        values = {"started_at": started_at, "finished_at": self._clock.now(), "error": error}
        await session.execute(
            insert(JobRun)
            .values(job=job.name, day=day, **values)
            .on_conflict_do_update(
                index_elements=["job", "day"], set_=values, where=JobRun.error.is_not(None)
            )
        )


async def _is_alone(session: AsyncSession, job: Job) -> bool:
    """Tell whether no other replica runs this job, and keep it so until the transaction ends."""
    lock = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
    return bool(await session.scalar(lock, {"name": f"job:{job.name}"}))

"""Background work: queued in the transaction of its cause, done by any worker, safe to do twice."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import procrastinate
import structlog
from procrastinate import JobContext, RetryDecision
from procrastinate.exceptions import AlreadyEnqueued
from procrastinate.jobs import Job
from procrastinate.types import JSONValue
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession

from bot.clock import Clock
from core.db import Database

log = structlog.get_logger()

Work = Callable[..., Awaitable[object]]

RETRIES_MAX = 8
RETRY_SECONDS_MAX = 300
GRACE_SECONDS = 10
STALLED_SECONDS = 30
GARBAGE_OBJECTS = 100_000


class Retry(procrastinate.BaseRetryStrategy):
    """Try again after 2, 4, 8 ... seconds, also when a worker was stopped in the middle."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Return when to try again, or nothing when it was tried enough."""
        if isinstance(exception, asyncio.CancelledError):
            return RetryDecision(retry_in={"seconds": 0})
        if job.attempts >= RETRIES_MAX:
            return None
        return RetryDecision(retry_in={"seconds": min(RETRY_SECONDS_MAX, 2 ** (job.attempts + 1))})


# Only words the queue's statements; the connection is the caller's.
_QUEUE = procrastinate.App(connector=procrastinate.PsycopgConnector())


async def defer(
    session: AsyncSession, name: str, *, once: str | None = None, **params: object
) -> None:
    """
    Queue work in the caller's transaction; it starts when that commits, never before.

    With `once`, nothing is added while a job of that name still waits.
    """
    try:
        async with session.begin_nested():
            # The savepoint is made when the session is first asked for its connection.
            raw = await (await session.connection()).get_raw_connection()
            deferrer = _QUEUE.configure_task(
                name, allow_unknown=True, connection=raw.driver_connection, queueing_lock=once
            )
            await deferrer.defer_async(**params)  # type: ignore[arg-type]  # JSON values
    except AlreadyEnqueued:
        log.debug("task.already_waiting", name=name)


async def defer_all(
    session: AsyncSession, name: str, params: Sequence[Mapping[str, JSONValue]]
) -> None:
    """Queue one job for each of the params in the caller's transaction, all at once."""
    if not params:
        return
    raw = await (await session.connection()).get_raw_connection()
    deferrer = _QUEUE.configure_task(name, allow_unknown=True, connection=raw.driver_connection)
    await deferrer.batch_defer_async(*(dict(each) for each in params))


class Tasks:
    """The queue: which work there is, how it is queued, and the worker that does it."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        works: Mapping[str, Work],
        stalled_seconds: float = STALLED_SECONDS,
    ) -> None:
        self._database = database
        self._stalled = stalled_seconds
        self._clock = clock
        url = make_url(database.url).set(drivername="postgresql")
        self.app = procrastinate.App(
            connector=procrastinate.PsycopgConnector(
                conninfo=url.render_as_string(hide_password=False), min_size=1, max_size=4
            )
        )
        for name, work in works.items():
            self._register(name, work)

    def _register(self, name: str, work: Work) -> None:
        async def run(_context: JobContext, /, **params: Any) -> None:  # noqa: ANN401 (the job's own)
            async with self._database.transaction() as session:
                await work(session, now=self._clock.now(), **params)

        self.app.task(name=name, retry=Retry(), pass_context=True)(run)

    async def run(self) -> None:
        """Do queued work until cancelled, or until the worker is lost (then it is started anew)."""
        # A chunk is a hundred thousand objects and no cycle; looking for some took a fifth of it.
        gc.set_threshold(GARBAGE_OBJECTS, 20, 20)
        async with self.app.open_async(), asyncio.TaskGroup() as group:
            group.create_task(self._work())
            group.create_task(self._sweep())

    async def _work(self) -> None:
        await self.app.run_worker_async(
            concurrency=4,
            fetch_job_polling_interval=1,
            shutdown_graceful_timeout=GRACE_SECONDS,
            install_signal_handlers=False,
            delete_jobs="successful",
        )
        raise OSError("the worker has ended")

    async def _sweep(self) -> None:
        """Queue again what a killed worker left behind."""
        manager = self.app.job_manager
        while True:
            for job in await manager.get_stalled_jobs(seconds_since_heartbeat=self._stalled):
                log.warning("task.stalled", task=job.task_name)
                await manager.retry_job(job)
            await asyncio.sleep(self._stalled)

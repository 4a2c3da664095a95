"""The whole service on real sockets: playground, bot, worker and web, on one test's database."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn

from bot import logs
from bot.app import Service, WebServer, bind
from bot.clock import ScaledClock, SystemClock
from bot.delivery import Limits
from bot.playground.options import BotProfile, Options
from bot.playground.server import create_app
from bot.settings import Settings
from bot.timetable import JobRun
from bot.works import JOBS
from core.db import Database
from tests.chat import Phone
from tests.world import NOON, World

TOKEN = "700001:playground-tests"  # noqa: S105 (the playground's own form)
PEOPLE = {
    1001: ("Li Hua", "zh-hans"),
    1002: ("Anna", "ru"),
    2001: ("Wang Qiang", "zh-hans"),
    3001: ("Maya", "en"),
    3002: ("Chen Yu", "zh-hant"),
    4001: ("Stranger", "en"),
}
# Nobody at the playground minds a fast bot; what the limits do has tests of its own.
FAST = Limits(overall_seconds=0.001, bulk_seconds=0.001, broadcast_seconds=0.001, burst=1000)
QUICK = Options(conflict_seconds=0.2, retry_seconds=0.1, set_webhook_seconds=0)

logs.configure(as_json=False)


@dataclass
class Stage:
    """A playground with the phones of the people in `world`, and a service that answers them."""

    settings: Settings
    http: aiohttp.ClientSession
    base: str
    world: World
    clock: ScaledClock = field(
        default_factory=lambda: ScaledClock(set_at=SystemClock().now(), shown_at=NOON)
    )
    limits: Limits = FAST
    service: Service = field(init=False)

    def phone(self, person: int) -> Phone:
        return Phone(self.http, self.base, person)

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.service.port}"

    @contextlib.asynccontextmanager
    async def serving(self, **changes: Any) -> AsyncIterator[Service]:
        """Run a service; a second one beside the first is a second replica."""
        settings = self.settings.model_copy(update=changes)
        self.service = Service(settings, self.clock, limits=self.limits, ring_seconds=2)
        async with self.service.running():
            yield self.service

    @contextlib.asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """Open the stage's database beside any service."""
        database = Database(self.settings.database_url, pool_size=2)
        try:
            yield database
        finally:
            await database.close()

    async def fault(self, kind: str, **fields: Any) -> None:
        """Let the playground's next calls go wrong."""
        body = {"kind": kind, **fields}
        async with self.http.post(f"{self.base}/play/api/faults", json=body) as answer:
            assert answer.status == 200, await answer.text()

    async def calls(self, method: str) -> list[dict[str, Any]]:
        """List what the bot asked the playground to do, of one method."""
        async with self.http.get(f"{self.base}/play/api/journal") as answer:
            return [call for call in await answer.json() if call["method"] == method]


@contextlib.asynccontextmanager
async def playground(state_path: Path | None) -> AsyncIterator[str]:
    """Run a playground and give its address."""
    app = create_app(
        state_path=state_path,
        bots={TOKEN: BotProfile(id=700001, first_name="Water & Power", username="linden_bot")},
        options=QUICK,
    )
    listener = bind("127.0.0.1", 0)
    server = WebServer(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 (uvicorn has no event)
        await asyncio.sleep(0.005)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    app.state.hang_up()
    server.should_exit = True
    await task
    listener.close()


@contextlib.asynccontextmanager
async def opened(database_url: str, world: World, **more: Any) -> AsyncIterator[Stage]:
    """Give a stage on which nothing serves yet."""
    async with playground(None) as base, aiohttp.ClientSession() as http:
        for person, (name, language) in PEOPLE.items():
            body = {"id": person, "first_name": name, "language_code": language}
            async with http.post(f"{base}/play/api/people", json=body) as answer:
                assert answer.status == 200, await answer.text()
        settings = Settings(
            _env_file=None,
            database_url=database_url,
            telegram_token=TOKEN,
            telegram_base_url=f"{base}/bot",
            telegram_base_file_url=f"{base}/file/bot",
            telegram_provider_token="1:TEST:playground",  # noqa: S106 (the playground's own form)
            port=0,
        )
        yield Stage(settings, http, base, world, **more)


@pytest.fixture
async def empty_stage(database_url: str, world: World) -> AsyncIterator[Stage]:
    """A stage whose test starts and stops the services itself."""
    async with opened(database_url, world) as made:
        yield made


async def leave_daily_jobs_behind(stage: Stage) -> None:
    """Have the daily jobs of the first day done, so that they say nothing in between."""
    async with stage.database() as database, database.transaction() as session:
        session.add_all(
            JobRun(job=job.name, day=NOON.date(), started_at=NOON, finished_at=NOON)
            for job in JOBS.values()
            if job.at is not None
        )


@pytest.fixture
async def stage(empty_stage: Stage) -> AsyncIterator[Stage]:
    """A stage with a running service, whose daily jobs of the first day are behind it."""
    await leave_daily_jobs_behind(empty_stage)
    async with empty_stage.serving():
        yield empty_stage

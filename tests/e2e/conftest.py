"""The whole service on real sockets: playground, bot, worker and web, on one test's database."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import uvicorn

from bot import logs
from bot.app import Service, WebServer, bind
from bot.clock import ScaledClock, SystemClock
from bot.playground.options import BotProfile
from bot.playground.server import create_app
from bot.settings import Settings
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


@dataclass
class Stage:
    """A running service, its playground, and the phones of the people in `world`."""

    service: Service
    settings: Settings
    clock: ScaledClock
    http: aiohttp.ClientSession
    base: str
    world: World

    def phone(self, person: int) -> Phone:
        return Phone(self.http, self.base, person)

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.service.port}"


@contextlib.asynccontextmanager
async def playground(state_path: Path | None) -> AsyncIterator[str]:
    app = create_app(
        state_path=state_path,
        bots={TOKEN: BotProfile(id=700001, first_name="Water & Power", username="linden_bot")},
    )
    listener = bind("127.0.0.1", 0)
    server = WebServer(uvicorn.Config(app, log_level="warning"))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 (uvicorn has no event)
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    app.state.hang_up()
    server.should_exit = True
    await task
    listener.close()


logs.configure(as_json=False)


@pytest.fixture
async def stage(database_url: str, world: World) -> AsyncIterator[Stage]:
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
        clock = ScaledClock(set_at=SystemClock().now(), shown_at=NOON)
        service = Service(settings, clock)
        async with service.running():
            yield Stage(service, settings, clock, http, base, world)

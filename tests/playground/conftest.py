"""A playground on a real socket, the real telegram.Bot, and a hand on the page's side."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import uvicorn
from aiohttp import web
from telegram import Bot
from telegram.request import HTTPXRequest

from bot.playground.options import BotProfile, Options
from bot.playground.server import create_app

TOKEN = "4242:playground"  # noqa: S105 - opens nothing but the playground
PROFILE = BotProfile(4242, "Water", "water_bot", "What I do", "Short")
QUICK = Options(
    checkout_seconds=1.0,
    conflict_seconds=0.2,
    retry_seconds=0.1,
    set_webhook_seconds=0.0,
)


@contextlib.asynccontextmanager
async def serving(app) -> AsyncIterator[str]:
    """Serve an application on a free port of this machine; yield its address."""
    config = uvicorn.Config(
        app, port=0, log_level="critical", lifespan="on", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    server.config.load()
    task = asyncio.get_running_loop().create_task(server._serve())
    while not server.started:
        assert not task.done(), task.exception()
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        app.state.hang_up()
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def listening(receive) -> AsyncIterator[str]:
    """Listen as a bot's webhook; yield the address."""
    app = web.Application()
    app.router.add_post("/hook", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/hook"
    await runner.cleanup()


@dataclass
class Desk:
    """Both ends of one playground: the page's calls and the bot's."""

    url: str
    http: aiohttp.ClientSession

    async def page(self, verb: str, path: str, *, status: int = 200, **fields):
        kind = {"params": fields} if verb == "GET" else {"json": fields}
        async with self.http.request(verb, f"{self.url}/play/api/{path}", **kind) as answer:
            body = await answer.json()
            assert answer.status == status, body
            return body

    async def act(self, person: int, act: str, *, status: int = 200, **fields):
        return await self.page("POST", f"people/{person}/{act}", status=status, **fields)

    async def call(self, method: str, *, status: int = 200, token: str = TOKEN, **params):
        url = f"{self.url}/bot{token}/{method}"
        async with self.http.post(url, json=params) as answer:
            body = await answer.json()
            assert answer.status == status, body
            assert body["ok"] is (status == 200)
            return body["result"] if status == 200 else body["description"]

    async def person(self, name: str = "Li", *, started: bool = True, **fields) -> int:
        person = await self.page("POST", "people", first_name=name, **fields)
        if started:
            await self.act(person["id"], "start")
        return person["id"]

    async def updates(self, **params):
        """Take all waiting updates and confirm them."""
        found = await self.call("getUpdates", **params)
        if found:
            offset = found[-1]["update_id"] + 1
            await self.call("getUpdates", offset=offset, timeout=0)
        return found

    async def chat(self, person: int):
        return (await self.page("GET", "state"))["chats"][str(person)]

    @contextlib.asynccontextmanager
    async def events(self):
        """Follow the page's stream; yield a function that waits for the next event of a kind."""
        after = (await self.page("GET", "state"))["last_event"]
        url = f"{self.url}/play/api/events?after={after}"
        async with self.http.get(url) as stream:

            async def wait_for(kind: str, **fields):
                async for line in stream.content:
                    if line.startswith(b"data: "):
                        event = json.loads(line[6:])
                        if event["type"] == kind and fields.items() <= event.items():
                            return event
                raise AssertionError("the stream ended")

            yield lambda kind, **f: asyncio.wait_for(wait_for(kind, **f), timeout=5)


@contextlib.asynccontextmanager
async def open_desk(state_path: Path | None = None, options: Options = QUICK, **more):
    app = create_app(state_path=state_path, bots={TOKEN: PROFILE}, options=options, **more)
    async with serving(app) as url, aiohttp.ClientSession() as http:
        yield Desk(url, http)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with open_desk() as opened:
        yield opened


@pytest.fixture
async def bot(desk: Desk) -> AsyncIterator[Bot]:
    requests = [HTTPXRequest(httpx_kwargs={"verify": False}) for _ in range(2)]
    real = Bot(
        TOKEN,
        base_url=f"{desk.url}/bot",
        base_file_url=f"{desk.url}/file/bot",
        request=requests[0],
        get_updates_request=requests[1],
    )
    async with real:
        yield real

"""The demo as a whole: the page with the phones first, then everything behind it."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import aiohttp
import uvicorn
from pydantic import SecretStr

from bot.demo import bank
from bot.demo.bank import DemoBank
from bot.demo.calls import call
from bot.demo.cast import CAST
from bot.demo.child import Child
from bot.demo.panel import Backstage, Panel
from bot.demo.place import HOST, Place
from bot.playground.options import BotProfile
from bot.playground.server import create_app, refuse_real_token
from bot.settings import Settings
from bot.web import WebServer

if TYPE_CHECKING:
    from bot.demo.clock import WoundClock
    from core.db import Database

# Imports of the slow parts stand inside the functions that run once the page is served.
# ruff: noqa: PLC0415

T = TypeVar("T")
TOKEN = "700001:playground-demo"  # noqa: S105 (opens nothing but the playground)
PROVIDER_TOKEN = "1:TEST:playground"  # noqa: S105 (the same)
PROFILE = BotProfile(id=700001, first_name="Shuidian", username="shuidian_bot")
SEED = 2026
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Say = Callable[[str], None]
Upgrade = Callable[[str], None]


async def run(*, state: Path, port: int, say: Say, upgrade: Upgrade) -> None:
    """
    Run the demo until Ctrl-C, a request to end, or the terminal's end.

    Raises:
        AlreadyRunning: another demo uses this directory.
        RealToken: a token is set that may open a real bot.
    """
    given = Settings()
    if token := given.telegram_token.get_secret_value():
        refuse_real_token(token)
    stopped = asyncio.Event()
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    place = Place(state)
    panel = Panel()
    with place.held():
        async with _phones(place, panel, port=port) as page:
            say(f"The phones:       {page}")
            behind = _backstage(place, panel, page=page, given=given, say=say, upgrade=upgrade)
            working = asyncio.create_task(behind)
            stopping = asyncio.create_task(stopped.wait())
            await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in (working, stopping):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working


@contextlib.asynccontextmanager
async def _phones(place: Place, panel: Panel, *, port: int) -> AsyncIterator[str]:
    """Serve the playground and its page; yield the address."""
    app = create_app(
        state_path=place.chats,
        bots={TOKEN: PROFILE},
        panel=panel,
        routes=DemoBank(panel.now).routes(),
    )
    listener = place.listen("page", wanted=port)
    server = WebServer(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://{HOST}:{listener.getsockname()[1]}"
    finally:
        app.state.hang_up()
        server.should_exit = True
        await serving
        listener.close()


async def _backstage(
    place: Place, panel: Panel, *, page: str, given: Settings, say: Say, upgrade: Upgrade
) -> None:
    """Run everything behind the page until cancelled; leave it in order."""
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(f"{page}/play/api/"))
        await _meet(http)
        database, clock = await _open_database(stack, place, upgrade)
        tokens = await _settle(database, given, now=clock.now())
        place.show_access(tokens)
        with place.listen("service", wanted=int(page.rpartition(":")[2]) + 1) as listener:
            port = listener.getsockname()[1]
        child = Child(_settings_for(place, given, page=page, port=port), log=place.log)
        await stack.enter_async_context(child.running())
        stack.push_async_callback(clock.turn, database, rate=0)
        from bot.demo.simulator import Simulator
        from bot.demo.troubles import load_targets

        simulator = Simulator(
            database,
            clock,
            seed=SEED,
            address=f"http://{HOST}:{port}",
            token=tokens["gateway"],
        )
        async with database.transaction() as session:
            targets = await load_targets(session)
        panel.backstage = Backstage(
            clock=clock,
            database=database,
            child=child,
            simulator=simulator,
            targets=targets,
            office=f"http://{HOST}:{port}/office",
        )
        await _press_start(http)
        await _announce(http, place, port=port, say=say)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(clock.wind(database))
            tasks.create_task(simulator.run())


async def _open_database(
    stack: contextlib.AsyncExitStack, place: Place, upgrade: Upgrade
) -> "tuple[Database, WoundClock]":
    def start() -> str:
        from bot.postgres import embedded

        url = stack.enter_context(embedded(place.path)).url
        upgrade(url)
        return url

    url = await _in_thread(start)
    from bot.demo.clock import WoundClock
    from core.db import Database

    database = Database(url, pool_size=8)
    stack.push_async_callback(database.close)
    clock = WoundClock.at_start()
    await clock.resume(database)
    return database, clock


async def _in_thread(work: Callable[[], T]) -> T:
    """Do slow work in a thread; who is cancelled meanwhile waits until it is done."""
    task = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _settings_for(place: Place, given: Settings, *, page: str, port: int) -> Settings:
    return given.model_copy(
        update={
            "state_dir": place.path,
            "database_url": "",
            "telegram_token": SecretStr(TOKEN),
            "telegram_base_url": f"{page}/bot",
            "telegram_base_file_url": f"{page}/file/bot",
            "telegram_provider_token": SecretStr(PROVIDER_TOKEN),
            "payment_link_secret": SecretStr(bank.SECRET),
            "payment_provider_url": f"{page}{bank.PATH}",
            "payment_provider_secret": SecretStr(bank.SECRET),
            "public_url": "",
            "host": HOST,
            "port": port,
            "roles": frozenset({"web", "chat", "worker"}),
            "demo_clock": True,
        }
    )


async def _settle(database: "Database", given: Settings, *, now: datetime) -> dict[str, str]:
    """
    Build the district in one transaction, unless it is there: it is whole or missing.

    Returns the tokens of its programs, by their scope.
    """
    from sqlalchemy import select

    from bot.demo import district, history
    from bot.demo.models import DemoAccess
    from core.accounts.models import Operator

    async with database.transaction() as session:
        if await session.get(Operator, 1) is None:
            supplied = await district.build_district(session, seed=SEED, now=now)
            await history.build_history(session, supplied, seed=SEED, now=now)
            await district.open_phones(session, supplied)
        await district.choose_approval(session, given)
        rows = await session.scalars(select(DemoAccess))
        return {row.name: row.token for row in rows}


async def _meet(http: aiohttp.ClientSession) -> None:
    """Give everybody of the cast a phone, unless they have one."""
    known = {person["id"] for person in (await call(http, "GET", "state"))["people"]}
    for player in CAST:
        if player.chat not in known:
            person = {
                "id": player.chat,
                "first_name": player.first_name,
                "last_name": player.last_name,
                "language_code": player.language,
                "note": player.note,
            }
            await call(http, "POST", "people", body=person)


async def _press_start(http: aiohttp.ClientSession) -> None:
    """Have everybody of the cast open the chat, unless they did."""
    chats = (await call(http, "GET", "state"))["chats"]
    for player in CAST:
        chat = chats.get(str(player.chat))
        if chat is not None and not chat["started"]:
            await call(http, "POST", f"people/{player.chat}/start", body={})


async def _announce(http: aiohttp.ClientSession, place: Place, *, port: int, say: Say) -> None:
    await call(http, "POST", "panel", body={"action": "look"})  # pages that are open get the keys
    web = f"http://{HOST}:{port}"
    say(f"The back office:  {web}/office")
    say(f"The API document: {web}/api/openapi.json")
    say(f"Credentials:      {place.access_file}")
    say(f"The service logs: {place.log}")
    say("Ctrl-C ends the demo; the next start goes on from there.")

"""The composition root: builds what a process needs for its roles, runs it, stops it in order."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg
import structlog
import uvicorn
from fastapi import FastAPI
from sqlalchemy.engine import make_url
from telegram import Bot

from bot import photos, routes, works
from bot.api import server
from bot.backoffice import pages
from bot.backoffice.sessions import link_renderer
from bot.checkout import Checkout
from bot.clock import Clock
from bot.delivery import LIMITS, Limits, Sender
from bot.gateway.mqtt import Listener
from bot.gateway.profile import load_profiles
from bot.gateway.wire.bridges import read_bridges
from bot.gateway.wire.polling import Poller
from bot.inbox import Inbox
from bot.intake import ALLOWED_UPDATES, WEBHOOK_PATH, Intake, secret_for
from bot.paying.provider import Links
from bot.profile import introduce, render_commands
from bot.settings import Settings
from bot.tasks import Tasks, defer
from bot.telegram import Transport
from bot.timetable import Timetable
from bot.web import WebServer, bind
from core.db import Database
from core.notices import service as notices

log = structlog.get_logger()


def build_bot(settings: Settings, *, transport: Transport, polling: Transport) -> Bot:
    """Return the client of the chat; it asks Telegram nothing yet."""
    return Bot(
        settings.telegram_token.get_secret_value(),
        base_url=settings.telegram_base_url,
        base_file_url=settings.telegram_base_file_url,
        request=transport,
        get_updates_request=polling,
    )


class Service:
    """Everything one process runs, by its roles."""

    def __init__(
        self, settings: Settings, clock: Clock, *, limits: Limits = LIMITS, ring_seconds: int = 5
    ) -> None:
        self.settings = settings
        self.limits = limits
        self.clock = clock
        self.database = Database(settings.database_url)
        self.tasks = Tasks(self.database, clock, works=works.WORKS)
        self.timetable = Timetable(self.database, clock, jobs=works.JOBS, seconds=ring_seconds)
        secret = settings.payment_link_secret.get_secret_value()
        self.links = Links(lambda: self.base_url, secret)
        self.bot: Bot | None = None
        self.port = settings.port

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run until the block ends; what takes work in stops first, what sends it out last."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.database.close)
            roles = self.settings.roles
            intake = None
            if self.settings.telegram_token.get_secret_value() and "chat" in roles:
                intake = await self._open_chat(stack)
            if "worker" in roles:
                self._start(stack, self.tasks.run)
                if self.settings.bridges_file:
                    self._start(stack, self._open_bridges().run)
                self.timetable.start()
                stack.push_async_callback(self.timetable.stop)
                if self.settings.mqtt_url.get_secret_value():
                    self._start(stack, self._listener().run)
            if "web" in roles:
                await self._open_web(stack, intake)
            if intake is not None:
                self._start(stack, partial(self._take_updates, intake))
            yield

    def _start(self, stack: AsyncExitStack, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(keep_running(work))

        async def stop() -> None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        stack.push_async_callback(stop)

    def _open_bridges(self) -> Poller:
        return Poller(
            self.database,
            self.clock,
            bridges=read_bridges(Path(self.settings.bridges_file)),
            zone=ZoneInfo(self.settings.timezone),
            after_alarms=partial(defer, name=works.TAKE_UP_ALARMS, once=works.TAKE_UP_ALARMS),
        )

    def _listener(self) -> Listener:
        settings = self.settings
        return Listener(
            self.database,
            self.clock,
            url=settings.mqtt_url.get_secret_value(),
            client_id=settings.mqtt_client_id,
            profiles=load_profiles(settings.profiles_dir, timezone=settings.timezone),
            after_alarms=server.take_up_alarms,
        )

    async def _open_chat(self, stack: AsyncExitStack) -> Intake:
        settings = self.settings
        transport, polling = Transport(), Transport(connections=1)
        stack.push_async_callback(transport.shutdown)
        stack.push_async_callback(polling.shutdown)
        self.bot = build_bot(settings, transport=transport, polling=polling)
        provider_token = settings.telegram_provider_token.get_secret_value()
        sender = Sender(
            self.database,
            self.clock,
            self.bot,
            renderers={
                **routes.RENDERERS,
                "menu.commands": render_commands,
                "office.link": link_renderer(lambda: self.base_url),
            },
            provider_token=provider_token,
            pay_link=self.links.for_bill,
            limits=self.limits,
        )
        conversation = routes.Conversation(self.bot, default_locale=settings.locale)
        updates = Inbox(
            self.database, self.clock, handle=conversation.handle, refuse=conversation.refuse
        )
        self._start(stack, partial(self._listen, sender.wake))
        self._start(stack, sender.run)
        self._start(stack, updates.run)
        self._start(stack, photos.Keeper(self.database, self.bot).run)
        return Intake(
            self.database,
            self.clock,
            self.bot,
            checkout=Checkout(self.database, self.clock, default_locale=settings.locale).answer,
            wake=updates.wake,
        )

    async def _take_updates(self, intake: Intake) -> None:
        """Present the bot and let updates come; a Telegram out of reach keeps nothing else up."""
        assert self.bot is not None  # noqa: S101 (an intake has a bot)
        if self.settings.public_url:
            await self.bot.set_webhook(
                self.settings.public_url.rstrip("/") + WEBHOOK_PATH,
                secret_token=self._webhook_secret(),
                allowed_updates=ALLOWED_UPDATES,
            )
            await introduce(self.bot)
            await asyncio.Event().wait()
        await asyncio.gather(introduce(self.bot), intake.poll())

    def _webhook_secret(self) -> str:
        given = self.settings.telegram_webhook_secret.get_secret_value()
        return given or secret_for(self.settings.telegram_token.get_secret_value())

    async def _open_web(self, stack: AsyncExitStack, intake: Intake | None) -> None:
        app = self.web_app()
        if intake is not None:
            app.include_router(intake.router(self._webhook_secret()))
        listener = bind(self.settings.host, self.settings.port)
        stack.callback(listener.close)
        config = uvicorn.Config(app, log_level="warning", server_header=False)
        web = WebServer(config)
        serving = asyncio.create_task(web.serve(sockets=[listener]))

        async def stop() -> None:
            app.state.is_stopping = True  # so that no gateway waits any longer
            web.should_exit = True
            await serving

        stack.push_async_callback(stop)
        while not web.started and not serving.done():  # noqa: ASYNC110 (uvicorn has no event)
            await asyncio.sleep(0.01)
        self.port = listener.getsockname()[1]
        log.info("web.listening", host=self.settings.host, port=self.port)

    def web_app(self) -> FastAPI:
        """Return the HTTP side: the admin API, the gateways' API and the back office."""
        app = server.build(self.database, self.clock, settings=self.settings, links=self.links)
        app.include_router(pages.router)
        return app

    @property
    def base_url(self) -> str:
        """Where people reach the web pages of this service."""
        return self.settings.public_url or f"http://{self.settings.host}:{self.port}"

    async def _listen(self, wake: Callable[[], None]) -> None:
        """Wake the sender when any process has committed something to be sent."""
        url = make_url(self.settings.database_url).set(drivername="postgresql")
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    url.render_as_string(hide_password=False), autocommit=True
                ) as connection:
                    await connection.execute(f"LISTEN {notices.WAKE}")
                    async for _ in connection.notifies():
                        wake()
            except psycopg.OperationalError:
                log.warning("listen.lost")
                await asyncio.sleep(1)


async def keep_running(work: Callable[[], Awaitable[None]]) -> None:
    """Run work that never ends, again after a second when it failed (a lost database)."""
    while True:
        try:
            await work()
        except Exception:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                return  # a cancelled database call can end as a lost connection
            log.exception("work.restarting", work=getattr(work, "__qualname__", "?"))
        await asyncio.sleep(1)


async def until_stopped() -> None:
    """Wait for Ctrl-C, a request to end, or the terminal's end."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()

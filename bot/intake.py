"""Where updates come from: polling, or a webhook; both store first and acknowledge after."""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header, HTTPException, Request
from telegram import Bot, PreCheckoutQuery, Update
from telegram.error import Conflict, RetryAfter, TelegramError

from bot import inbox
from bot.clock import Clock
from core.db import Database

log = structlog.get_logger()

ALLOWED_UPDATES = [
    "message",
    "edited_message",
    "callback_query",
    "pre_checkout_query",
    "my_chat_member",
]
POLL_SECONDS = 25
WEBHOOK_PATH = "/telegram/webhook"

Checkout = Callable[[PreCheckoutQuery], Coroutine[None, None, None]]


def secret_for(token: str) -> str:
    """Return the webhook's secret when none is set: made from the token, so restarts agree."""
    return hashlib.sha256(f"webhook:{token}".encode()).hexdigest()


class Intake:
    """Stores updates in the inbox; a question before a payment is answered at once instead."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        bot: Bot,
        *,
        checkout: Checkout,
        wake: Callable[[int], None],
    ) -> None:
        self._wake = wake
        self._database = database
        self._clock = clock
        self._bot = bot
        self._checkout = checkout
        self._asked: set[asyncio.Task[None]] = set()

    async def take(self, payloads: list[dict[str, Any]]) -> None:
        """Store updates; when this returns they are safe."""
        kept = []
        for payload in payloads:
            if "pre_checkout_query" in payload:
                self._answer_checkout(payload)
            else:
                kept.append(payload)
        async with self._database.transaction() as session:
            fresh = await inbox.store(session, payloads=kept, received_at=self._clock.now())
        self._wake(fresh)

    def _answer_checkout(self, payload: dict[str, Any]) -> None:
        query = Update.de_json(payload, self._bot).pre_checkout_query
        assert query is not None  # noqa: S101 (the caller looked)
        task = asyncio.create_task(self._checkout(query))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

    async def poll(self) -> None:
        """
        Ask Telegram for updates until cancelled; what is stored is confirmed by the next ask.

        Telegram lets only one ask at a time, so of all replicas one does.
        """
        async with self._database.sole("shuidian.poller"):
            await self._poll()

    async def _poll(self) -> None:
        offset: int | None = None
        wait = 1.0
        while True:
            try:
                if offset is None:
                    await self._bot.delete_webhook()
                updates = await self._bot.get_updates(
                    offset=offset,
                    timeout=POLL_SECONDS,
                    read_timeout=POLL_SECONDS + 10,
                    allowed_updates=ALLOWED_UPDATES,
                )
                await self.take([update.to_dict() for update in updates])
                if updates:
                    offset = max(update.update_id for update in updates) + 1
                wait = 1.0
            except Conflict:
                log.warning("polling.another_poller")
                await asyncio.sleep(wait)
            except RetryAfter as error:
                await asyncio.sleep(error._retry_after.total_seconds())  # noqa: SLF001 (see outcomes)
            except (TelegramError, OSError) as error:
                log.warning("polling.failed", reason=str(error))
                await asyncio.sleep(wait)
                wait = min(30.0, wait * 2)

    def router(self, secret: str) -> APIRouter:
        """Return the webhook's route; only Telegram knows the secret."""
        router = APIRouter(include_in_schema=False)

        @router.post(WEBHOOK_PATH)
        async def receive(
            request: Request,
            x_telegram_bot_api_secret_token: Annotated[str, Header()] = "",
        ) -> dict[str, bool]:
            given = x_telegram_bot_api_secret_token.encode()
            if not hmac.compare_digest(given, secret.encode()):
                raise HTTPException(403)
            try:
                payload = await request.json()
                payload["update_id"] = int(payload["update_id"])
            except (KeyError, RecursionError, TypeError, ValueError):
                raise HTTPException(400) from None  # nothing that Telegram sends
            await self.take([payload])
            return {"ok": True}

        return router

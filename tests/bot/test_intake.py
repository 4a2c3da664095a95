"""Updates come by polling or by a webhook; Telegram out of reach keeps nothing else down."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from bot.intake import WEBHOOK_PATH, secret_for
from core.db import Database
from core.notices.models import Delivery
from tests.bot.test_dialogues import all_handled, count
from tests.chat import text_of
from tests.stage import TOKEN, Stage, leave_daily_jobs_behind

HEADER = "X-Telegram-Bot-Api-Secret-Token"


@contextlib.asynccontextmanager
async def hooked(stage: Stage, port: int) -> AsyncIterator[str]:
    """Serve with a webhook; give its address once Telegram has it."""
    address = f"http://127.0.0.1:{port}"
    await leave_daily_jobs_behind(stage)
    async with stage.serving(port=port, public_url=address):
        while not await stage.calls("setWebhook"):
            await asyncio.sleep(0.02)
        yield address + WEBHOOK_PATH


class TestWebhook:
    async def test_takes_updates_and_answers(
        self, empty_stage: Stage, unused_tcp_port: int
    ) -> None:
        async with hooked(empty_stage, unused_tcp_port):
            phone = empty_stage.phone(3001)
            offer = await phone.say("/language")
            await phone.press(offer, "Русский")
            await phone.changed(offer, "русск")

        assert await empty_stage.calls("getUpdates") == []

    async def test_does_a_redelivered_update_once(
        self, empty_stage: Stage, database: Database, unused_tcp_port: int
    ) -> None:
        async with hooked(empty_stage, unused_tcp_port):
            await empty_stage.phone(3001).say("/help")
            for _ in range(3):
                await empty_stage.fault("redeliver")
            await empty_stage.phone(3001).say("/help")
            await all_handled(empty_stage, database)

        assert len(await empty_stage.phone(3001).messages()) == 2

    async def test_gets_later_what_came_while_it_was_down(
        self, empty_stage: Stage, unused_tcp_port: int
    ) -> None:
        async with hooked(empty_stage, unused_tcp_port):
            await empty_stage.fault("webhook_down", seconds=1)
            phone = empty_stage.phone(3001)
            for words in ("/help", "/language", "/cancel"):
                await phone.post("say", text=words)
            messages = await phone.until(lambda all_: len(all_) == 3)

        assert "nothing to stop" in text_of(messages[-1])

    @pytest.mark.parametrize("secret", ["", "wrong", secret_for(TOKEN)[:-1], "é"])
    async def test_refuses_whoever_does_not_know_the_secret(
        self, empty_stage: Stage, database: Database, unused_tcp_port: int, secret: str
    ) -> None:
        update = {"update_id": 1, "message": {"message_id": 1, "chat": {"id": 1}}}
        async with (
            hooked(empty_stage, unused_tcp_port) as address,
            empty_stage.http.post(address, json=update, headers={HEADER: secret}) as answer,
        ):
            assert answer.status == 403
            await all_handled(empty_stage, database)

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"", 400),
            (b"{", 400),
            (b"[]", 400),
            (b'"x"', 400),
            (b'{"update_id": "x"}', 400),
            (b'{"message": {}}', 400),
            (b"[" * 100_000, 400),
            (b"\xff\xfe", 400),
            (b'{"update_id": 1, "message": {"chat": {"id": 3001}}}', 200),
            (b'{"update_id": 1, "callback_query": {"data": "x", "from": {"id": 3001}}}', 200),
            (b'{"update_id": 1, "brand_new": {"text": "\\u0000\\ud800"}}', 200),
        ],
    )
    async def test_never_fails_at_what_comes(
        self,
        empty_stage: Stage,
        unused_tcp_port: int,
        body: bytes,
        status: int,
    ) -> None:
        headers = {HEADER: secret_for(TOKEN), "Content-Type": "application/json"}
        async with hooked(empty_stage, unused_tcp_port) as address:
            async with empty_stage.http.post(address, data=body, headers=headers) as answer:
                assert answer.status == status
            assert text_of(await empty_stage.phone(3001).say("/help"))


class TestPolling:
    async def test_by_two_replicas_is_done_by_one(
        self, empty_stage: Stage, database: Database
    ) -> None:
        await leave_daily_jobs_behind(empty_stage)
        async with empty_stage.serving(), empty_stage.serving():
            for _ in range(5):
                await empty_stage.phone(3001).say("/help")
                await empty_stage.phone(1001).say("/help")
            await all_handled(empty_stage, database)
            calls = await empty_stage.calls("getUpdates")

        assert {call["status"] for call in calls} == {200}
        assert await count(database, Delivery) == 10
        assert len(await empty_stage.phone(3001).messages()) == 5

    async def test_goes_on_when_telegram_was_unwell(self, stage: Stage) -> None:
        await stage.phone(3001).say("/help")
        await stage.fault("5xx", count=2, method="getUpdates")
        await stage.fault("lost", count=1, method="getUpdates")

        for _ in range(3):
            assert text_of(await stage.phone(3001).say("/help"))


class TestStart:
    async def test_needs_no_telegram(self, empty_stage: Stage, unused_tcp_port: int) -> None:
        nowhere = f"http://127.0.0.1:{unused_tcp_port}/bot"
        async with (
            empty_stage.serving(telegram_base_url=nowhere),
            empty_stage.http.get(f"{empty_stage.web}/health/ready") as answer,
        ):
            assert answer.status == 200

"""Updates on their way: polling, the webhook, and numbers that never come back."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web
from telegram import Bot
from telegram.error import Conflict

from bot.playground import webhook
from bot.playground.options import Options
from tests.playground.conftest import TOKEN, Desk, listening, open_desk

OTHER = (
    "Conflict: terminated by other getUpdates request; "
    "make sure that only one bot instance is running"
)
ACTIVE = (
    "Conflict: can't use getUpdates method while webhook is active; "
    "use deleteWebhook to delete the webhook first"
)


def texts(updates: list[dict]) -> list[str]:
    return [update["message"]["text"] for update in updates]


@dataclass
class Hook:
    """A bot's webhook that notes what comes and answers as told."""

    got: list[dict] = field(default_factory=list)
    answers: list[web.Response] = field(default_factory=list)
    held: dict[str, asyncio.Event] = field(default_factory=dict)

    async def receive(self, request: web.Request) -> web.Response:
        update = await request.json()
        self.got.append(update)
        kind = next(name for name in update if name != "update_id")
        if kind in self.held:
            await self.held[kind].wait()
        return self.answers.pop(0) if self.answers else web.Response()

    async def wait_for(self, number: int) -> list[dict]:
        async with asyncio.timeout(5):
            while len(self.got) < number:  # noqa: ASYNC110 - the far side has no event to wait for
                await asyncio.sleep(0.01)
        return self.got


@contextlib.asynccontextmanager
async def hooked(desk: Desk, *answers: web.Response, **params) -> AsyncIterator[Hook]:
    hook = Hook(answers=list(answers))
    async with listening(hook.receive) as url:
        await desk.call("setWebhook", url=url, **params)
        yield hook
        await desk.call("deleteWebhook")


class TestGetUpdates:
    async def test_gives_updates_again_until_the_offset_confirms_them(self, desk: Desk) -> None:
        li = await desk.person()
        await desk.act(li, "say", text="one")
        await desk.act(li, "say", text="two")

        first = await desk.call("getUpdates")
        again = await desk.call("getUpdates", limit=1)
        rest = await desk.call("getUpdates", offset=first[1]["update_id"])
        newest = await desk.call("getUpdates", offset=-1)
        left = await desk.call("getUpdates")

        assert texts(first) == ["/start", "one", "two"]
        assert [u["update_id"] - first[0]["update_id"] for u in first] == [0, 1, 2]
        assert again == first[:1]
        assert texts(rest) == ["one", "two"]
        assert texts(newest) == texts(left) == ["two"]

    async def test_answers_a_held_poll_at_once_when_there_is_news(self, desk: Desk) -> None:
        li = await desk.person()
        await desk.updates()
        poll = asyncio.create_task(desk.call("getUpdates", timeout=10))
        await asyncio.sleep(0.05)

        begun = time.monotonic()
        await desk.act(li, "say", text="news")

        assert texts(await poll) == ["news"]
        assert time.monotonic() - begun < 0.5

    async def test_holds_a_poll_that_came_without_a_body(self, desk: Desk) -> None:
        begun = time.monotonic()
        async with desk.http.get(f"{desk.url}/bot{TOKEN}/getUpdates?timeout=1") as answer:
            assert (await answer.json())["result"] == []
        assert time.monotonic() - begun > 0.9

    async def test_lets_one_bot_poll(self, desk: Desk, bot: Bot) -> None:
        first = asyncio.create_task(bot.get_updates(timeout=10))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(desk.call("getUpdates", timeout=10))

        with pytest.raises(Conflict, match=r"terminated by other [gG]etUpdates"):
            await first
        third = asyncio.create_task(desk.call("getUpdates", timeout=0.2))
        with pytest.raises(AssertionError, match="terminated by other getUpdates request"):
            await second
        assert await third == []

    async def test_loses_nothing_to_a_client_that_left(self, desk: Desk) -> None:
        li = await desk.person()
        await desk.updates()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.2)) as leaver:
            with pytest.raises(TimeoutError):
                await leaver.post(f"{desk.url}/bot{TOKEN}/getUpdates", json={"timeout": 9})

        await desk.act(li, "say", text="still here")

        assert texts(await desk.call("getUpdates")) == ["still here"]

    async def test_remembers_the_kinds_that_are_wanted(self, desk: Desk) -> None:
        li = await desk.person()
        await desk.updates(allowed_updates=["my_chat_member"])
        await desk.act(li, "say", text="unseen")
        await desk.act(li, "block", blocked=True)
        seen = await desk.updates()
        await desk.call("getUpdates", allowed_updates=[])
        await desk.act(li, "start")

        change = seen[0]["my_chat_member"]
        states = [change[f"{age}_chat_member"]["status"] for age in ("old", "new")]
        assert (len(seen), states) == (1, ["member", "kicked"])
        kinds = [set(update) - {"update_id"} for update in await desk.updates()]
        assert kinds == [{"my_chat_member"}, {"message"}]

    async def test_forgets_presses_that_waited_too_long(self) -> None:
        async with open_desk(options=Options(press_seconds=0.1)) as desk:
            li = await desk.person()
            await desk.updates()
            pressed = await desk.act(li, "press_data", message_id=1, data="x")
            assert len(await desk.call("getUpdates")) == 1
            await asyncio.sleep(0.15)

            assert await desk.call("getUpdates") == []
            query = pressed["query_id"]
            refusal = await desk.call("answerCallbackQuery", callback_query_id=query, status=400)
            assert "query is too old" in refusal

    async def test_brings_the_last_update_once_more_on_demand(self, desk: Desk) -> None:
        await desk.person()
        [update] = await desk.updates()
        await desk.page("POST", "faults", kind="redeliver")
        assert await desk.call("getUpdates", offset=update["update_id"] + 1) == [update]


class TestWebhook:
    async def test_is_described_as_it_is_set_and_deleted(self, desk: Desk) -> None:
        await desk.person()
        url = f"{desk.url}/bot{TOKEN}"
        words = []
        for method in ("setWebhook", "setWebhook", "deleteWebhook", "deleteWebhook"):
            params = {"url": "http://127.0.0.1:9/", "drop_pending_updates": "true"}
            async with desk.http.get(f"{url}/{method}", params=params) as answer:
                words.append((await answer.json())["description"])
            if method == "setWebhook":
                assert await desk.call("getUpdates", status=409) == ACTIVE
                info = await desk.call("getWebhookInfo")
                assert (info["url"], info["pending_update_count"]) == ("http://127.0.0.1:9/", 0)

        assert words == [
            "Webhook was set",
            "Webhook is already set",
            "Webhook was deleted",
            "Webhook is already deleted",
        ]

    async def test_is_set_at_most_once_a_second(self) -> None:
        async with open_desk() as desk, open_desk(options=Options()) as slow:
            for one, status in ((desk, 200), (slow, 429)):
                await one.call("setWebhook", url="http://127.0.0.1:9/")
                await one.call("setWebhook", url="http://127.0.0.1:9/", status=status)
                await one.call("deleteWebhook")

    async def test_ends_a_held_poll(self, desk: Desk) -> None:
        poll = asyncio.create_task(desk.call("getUpdates", timeout=10, status=409))
        await asyncio.sleep(0.05)
        await desk.call("setWebhook", url="http://127.0.0.1:9/")
        assert await poll == "Conflict: terminated by setWebhook request"

    async def test_tries_again_and_keeps_the_order_of_a_lane(self, desk: Desk) -> None:
        li = await desk.person()
        async with hooked(desk, web.Response(status=500), web.Response(status=302)) as hook:
            await desk.act(li, "say", text="one")
            got = await hook.wait_for(4)
            info = await desk.call("getWebhookInfo")

        assert texts(got) == ["/start", "/start", "/start", "one"]
        wrong = "Wrong response from the webhook: 302 Found"
        assert info["last_error_message"] == wrong

    async def test_keeps_lanes_apart(self, desk: Desk) -> None:
        li, wang = await desk.person("Li"), await desk.person("Wang")
        await desk.updates()
        async with hooked(desk) as hook:
            hook.held["message"] = asyncio.Event()
            await desk.act(li, "say", text="slow")
            await hook.wait_for(1)
            await desk.act(li, "say", text="waits")
            await desk.act(li, "press_data", message_id=1, data="x")
            await desk.act(wang, "say", text="other chat")
            got = await hook.wait_for(3)
            assert [u["message"]["text"] for u in got if "message" in u] == ["slow", "other chat"]
            hook.held["message"].set()
            assert texts((await hook.wait_for(4))[3:]) == ["waits"]

    async def test_obeys_retry_after(self, desk: Desk) -> None:
        li = await desk.person()
        await desk.updates()
        busy = web.Response(status=503, headers={"Retry-After": "1"})
        async with hooked(desk, busy) as hook:
            begun = time.monotonic()
            await desk.act(li, "say", text="one")
            await hook.wait_for(2)
            assert time.monotonic() - begun > 0.9

    async def test_is_removed_when_it_stays_gone(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(webhook, "GONE_FOR", -1)
        await desk.person()
        async with hooked(desk, web.Response(status=410), web.Response(status=410)) as hook:
            await hook.wait_for(2)
            await asyncio.sleep(0.05)
            assert (await desk.call("getWebhookInfo"))["url"] == ""
        assert texts(await desk.call("getUpdates")) == ["/start"]

    async def test_hears_nothing_of_chats_that_were_reset(self, desk: Desk) -> None:
        li = await desk.person()
        async with hooked(desk, *[web.Response(status=500)] * 2) as hook:
            await hook.wait_for(2)
            await desk.page("POST", "reset")
            await desk.act(li, "say", text="new")
            assert texts(await hook.wait_for(3))[2:] == ["new"]

    async def test_is_down_on_demand(self, desk: Desk) -> None:
        li = await desk.person()
        await desk.updates()
        async with hooked(desk) as hook:
            await desk.page("POST", "faults", kind="webhook_down", seconds=30)
            await desk.act(li, "say", text="one")
            await asyncio.sleep(0.2)
            info = await desk.call("getWebhookInfo")
            assert (info["last_error_message"], hook.got) == ("Connection refused", [])
            await desk.page("DELETE", "faults")
            assert texts(await hook.wait_for(1)) == ["one"]

"""The page's side: people, events, faults, the panel, and who is kept out."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from telegram import Bot
from telegram.error import NetworkError, RetryAfter

from bot.playground import store
from bot.playground.server import RealToken, create_app, refuse_real_token
from tests.playground.conftest import PROFILE, TOKEN, Desk, open_desk, serving

PROGRAM = """
import sys, pathlib, uvicorn
from bot.playground.options import BotProfile
from bot.playground.server import create_app
app = create_app(
    state_path=pathlib.Path(sys.argv[1]), bots={"4242:playground": BotProfile(4242, "W", "w_bot")}
)
config = uvicorn.Config(app, port=0, log_level="critical")
class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)
Server(config).run()
"""


class TestPeople:
    async def test_start_speak_and_are_heard(self, desk: Desk, bot: Bot) -> None:
        li = await desk.person("Li", started=False, id=7, language_code="ru")
        await desk.act(li, "start", payload="meter-12")
        await desk.act(li, "say", text=" 👍 " + "水" * 4097)
        await desk.act(li, "send_location", latitude=31.2, longitude=121.5)
        start, long, rest, place = [u.message for u in await bot.get_updates()]
        assert (start.text, start.entities[0].type) == ("/start meter-12", "bot_command")
        assert (len(long.text), rest.text, place.location.latitude) == (4096, "水水水", 31.2)
        assert start.from_user.language_code == "ru"
        await desk.act(li, "start", payload="not allowed!", status=409)

    async def test_reply_to_a_message(self, desk: Desk, bot: Bot) -> None:
        li = await desk.person()
        await desk.updates()
        asked = await bot.send_message(li, "Reading?")
        await desk.act(li, "say", text="1234", reply_to=asked.message_id)
        [update] = await bot.get_updates()
        assert update.message.reply_to_message.text == "Reading?"

    async def test_share_their_own_number_or_another(self, desk: Desk, bot: Bot) -> None:
        li = await desk.person(phone="+861")
        await desk.updates()
        await desk.act(li, "send_contact")
        await desk.act(li, "send_contact", phone_number="+862")
        await desk.act(li, "send_contact", phone_number="+863", user_id=9)
        contacts = [u.message.contact for u in await bot.get_updates()]
        assert [c.user_id for c in contacts] == [li, None, 9]

    async def test_block_and_come_back(self, desk: Desk, bot: Bot) -> None:
        li = await desk.person()
        await desk.updates()
        await desk.act(li, "block", blocked=True)
        await desk.act(li, "say", text="unheard", status=409)
        await desk.act(li, "start")
        first, second, third = await bot.get_updates()
        assert first.my_chat_member.new_chat_member.status == "kicked"
        assert second.my_chat_member.new_chat_member.status == "member"
        assert third.message.text == "/start"

    async def test_are_changed_and_listed(self, desk: Desk) -> None:
        async with desk.events() as event:
            li = await desk.person("Li", note="customer", started=False)
            await event("person")
            await desk.page("PATCH", f"people/{li}", last_name="Na", note=None)
            changed = await event("person")
        [person] = (await desk.page("GET", "state"))["people"]
        assert changed["person"]["id"] == li
        assert person == {"id": li, "first_name": "Li", "last_name": "Na", "blocked": False}
        await desk.page("POST", "people", first_name=" ", status=409)
        await desk.act(99, "say", text="x", status=409)
        await desk.act(li, "fly", status=404)
        await desk.act(li, "say", status=400)

    async def test_take_a_transcript_with_them(self, desk: Desk) -> None:
        li = await desk.person("Li")
        row = [[{"text": "Yes", "callback_data": "y"}, {"text": "No", "callback_data": "n"}]]
        markup = {"inline_keyboard": row}
        await desk.call("sendMessage", chat_id=li, text="Paid?", reply_markup=markup)
        async with desk.http.get(f"{desk.url}/play/api/people/{li}/transcript") as answer:
            lines = (await answer.text()).splitlines()
        assert [line.partition("] ")[2] for line in lines[:2]] == ["Li: /start", "Water: Paid?"]
        assert lines[2].strip() == "[Yes] [No]"


class TestEvents:
    async def test_say_so_when_something_was_missed(self, desk: Desk) -> None:
        async with desk.http.get(f"{desk.url}/play/api/events?after=5") as stream:
            await stream.content.readline()
            assert b'"reset"' in await stream.content.readline()

    async def test_continue_where_the_page_left_off(self, desk: Desk) -> None:
        last = (await desk.page("GET", "state"))["last_event"]
        await desk.person("Li")
        await desk.person("Wang")
        headers = {"Last-Event-ID": str(last)}
        url = f"{desk.url}/play/api/events"
        async with desk.http.get(url, headers=headers) as stream:
            number = int((await stream.content.readline()).removeprefix(b"id: "))
            assert number == last + 1
            assert b'"Li"' in await stream.content.readline()


class TestAServer:
    async def test_stops_at_once_when_it_hangs_up_first(self) -> None:
        async with aiohttp.ClientSession() as http:
            async with serving(create_app(state_path=None, bots={TOKEN: PROFILE})) as url:
                poll = asyncio.create_task(Desk(url, http).call("getUpdates", timeout=30))
                stream = await http.get(f"{url}/play/api/events?after=0")
                await stream.content.readline()
                begun = time.monotonic()
            assert time.monotonic() - begun < 0.9
            assert await poll == []
            assert b"reset" in await stream.content.read()


class TestFaults:
    async def test_slow_down_and_fail_a_chosen_method(
        self, desk: Desk, bot: Bot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PTB_TIMEDELTA", "true")
        li = await desk.person()
        await desk.page("POST", "faults", kind="429", seconds=7, method="sendMessage")
        await desk.page("POST", "faults", kind="5xx")
        waiting = (await desk.page("GET", "state"))["faults"]
        assert [fault["kind"] for fault in waiting] == ["429", "5xx"]
        with pytest.raises(RetryAfter) as caught:
            await bot.send_message(li, "a")
        with pytest.raises(NetworkError, match="Bad Gateway"):
            await bot.get_chat(li)
        assert caught.value.retry_after == timedelta(seconds=7)
        assert (await bot.send_message(li, "a")).text == "a"
        assert (await desk.page("GET", "state"))["faults"] == []

    async def test_lose_the_answer_of_a_call_that_was_carried_out(
        self, desk: Desk, bot: Bot
    ) -> None:
        li = await desk.person()
        await desk.page("POST", "faults", kind="lost")
        with pytest.raises(NetworkError):
            await bot.send_message(li, "twice?")
        assert (await desk.chat(li))["messages"][-1]["text"] == "twice?"
        journal = await desk.page("GET", "journal")
        assert journal[-1]["status"] == 0
        assert await desk.page("GET", "journal", after=journal[-1]["n"]) == []

    async def test_are_named(self, desk: Desk) -> None:
        await desk.page("POST", "faults", kind="earthquake", status=400)
        await desk.page("POST", "faults", kind="429", seconds="long", status=400)


class TestAPanel:
    async def test_is_the_hosts(self, desk: Desk) -> None:
        class Clock:
            async def describe(self) -> dict:
                return {"clock": {"rate": 1}, "actions": []}

            async def act(self, action: str, fields: dict) -> dict:
                return {"message": f"{action} {fields}"}

        await desk.page("GET", "panel", status=404)
        async with open_desk(panel=Clock()) as other, other.events() as event:
            assert (await other.page("GET", "state"))["has_panel"] is True
            assert await other.page("GET", "panel") == {"clock": {"rate": 1}, "actions": []}
            answer = await other.page("POST", "panel", action="leak", meter="7")
            assert answer["message"] == "leak {'meter': '7'}"
            await event("panel", panel=answer["panel"])


class TestTheDoor:
    @pytest.mark.parametrize(
        ("path", "headers", "status"),
        [
            ("/play/api/state", {"Host": "evil.example"}, 403),
            (f"/bot{TOKEN}/getMe", {"Host": "evil.example:80"}, 403),
            ("/play/api/state", {"Origin": "https://evil.example"}, 403),
            ("/play/api/state", {"Origin": "null"}, 403),
            ("/play/api/state", {"Host": "[::1"}, 403),
            (f"/bot{TOKEN}/getMe", {"Origin": "https://evil.example"}, 403),
            (f"/bot{TOKEN}/getMe", {"Sec-Fetch-Site": "cross-site"}, 403),
            ("/play/api/state", {"Sec-Fetch-Site": "same-site"}, 403),
            ("/play/api/state", {"Sec-Fetch-Site": "same-origin"}, 200),
            ("/play/api/state", {"Host": "localhost:1"}, 200),
            ("/play/api/state", {"Host": "[::1]:1"}, 200),
        ],
    )
    async def test_opens_to_this_machine_only(
        self, desk: Desk, path: str, headers: dict[str, str], status: int
    ) -> None:
        async with desk.http.get(desk.url + path, headers=headers) as answer:
            assert answer.status == status

    async def test_opens_to_its_own_page(self, desk: Desk) -> None:
        headers = {"Origin": desk.url}
        async with desk.http.get(f"{desk.url}/play/api/state", headers=headers) as answer:
            assert answer.status == 200

    async def test_opens_to_a_host_that_is_named(self) -> None:
        async with open_desk(allowed_hosts={"play.example"}) as desk:
            for host, status in {"play.example:80": 200, "evil.example": 403}.items():
                url = f"{desk.url}/play/api/state"
                async with desk.http.get(url, headers={"Host": host}) as answer:
                    assert answer.status == status

    async def test_stays_shut_beside_a_real_token(self) -> None:
        real = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
        with pytest.raises(RealToken):
            create_app(state_path=None, bots={real: PROFILE})
        with pytest.raises(RealToken):
            refuse_real_token(TOKEN, real)
        refuse_real_token(TOKEN)


class TestAReset:
    async def test_forgets_chats_and_keeps_the_numbers_growing(self, desk: Desk) -> None:
        li = await desk.person()
        [update] = await desk.updates()
        async with desk.events() as event:
            await desk.page("POST", "reset")
            await event("reset")
        assert await desk.chat(li) == {
            "messages": [], "started": False, "typing": False, "reply_keyboard": None,
        }  # fmt: skip
        refusal = await desk.call("sendMessage", chat_id=li, text="a", status=400)
        assert refusal == "Bad Request: chat not found"
        await desk.act(li, "start")
        [later] = await desk.updates()
        assert later["update_id"] == update["update_id"] + 1
        assert later["message"]["message_id"] > update["message"]["message_id"]


class TestKeptFiles:
    def test_push_the_oldest_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(store, "KEPT_BYTES", 25)
        kept = store.Store(store.connect(None), bot_id=1)
        for name in "abc":
            kept.keep_content(name, name.encode() * 10)
        assert [kept.content(name) for name in "abc"] == [None, b"b" * 10, b"c" * 10]


class TestAKilledPlayground:
    async def test_comes_back_with_everything(self, tmp_path: Path) -> None:
        state = tmp_path / "state" / "play.sqlite3"
        async with running(state) as (process, desk):
            li = await desk.person("Li")
            form = aiohttp.FormData({"chat_id": str(li)})
            form.add_field("document", b"%PDF", filename="a.pdf")
            async with desk.http.post(f"{desk.url}/bot{TOKEN}/sendDocument", data=form) as answer:
                sent = (await answer.json())["result"]
            [first] = await desk.call("getUpdates")
            chat = await desk.chat(li)
            process.kill()
            await process.wait()

        async with running(state) as (_, desk):
            await desk.act(li, "say", text="back")
            again, second = await desk.call("getUpdates")
            assert (await desk.chat(li))["messages"][:2] == chat["messages"]
            assert again == first
            assert second["update_id"] == first["update_id"] + 1
            assert second["message"]["message_id"] > sent["message_id"]
            file = await desk.call("getFile", file_id=sent["document"]["file_id"])
            path = f"{desk.url}/file/bot4242%3Aplayground/{file['file_path']}"
            async with desk.http.get(path) as answer:
                assert await answer.read() == b"%PDF"


@contextlib.asynccontextmanager
async def running(state: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, Desk]]:
    """Run a playground in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, str(state)),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )
    try:
        port = int(await process.stdout.readline())
        async with aiohttp.ClientSession() as http:
            yield process, Desk(f"http://127.0.0.1:{port}", http)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()

"""Messages leave in order, within limits and once; what became of each is known."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from telegram import Bot

from bot.app import build_bot
from bot.context import Reader
from bot.delivery import LIMITS, Limits, Sender
from bot.outcomes import UNKNOWN_RETRIES
from bot.outgoing import Button, Outgoing
from bot.telegram import Transport
from core.accounts.models import Contact, Person
from core.db import Database
from core.notices import service as notices
from core.notices.models import Card, Delivery, Lane, Outcome
from tests.bot.test_inbox import lose_connections
from tests.chat import Phone, buttons_of, text_of
from tests.stage import FAST, Stage, leave_daily_jobs_behind
from tests.world import World

DONE = {
    Outcome.SENT,
    Outcome.BLOCKED,
    Outcome.FAILED,
    Outcome.UNKNOWN,
    Outcome.SUPERSEDED,
}


async def note(_session: Any, _reader: Reader, params: dict[str, Any]) -> Outgoing:
    keys = [[Button(params["button"], "key")]] if "button" in params else ()
    return Outgoing(text=params["text"], keyboard=keys)


async def broken(_session: Any, _reader: Reader, _params: dict[str, Any]) -> Outgoing:
    raise RuntimeError("a renderer's bug")


async def gone(_session: Any, _reader: Reader, _params: dict[str, Any]) -> None:
    return None


@dataclass
class Office:
    """Queues messages, runs senders, and looks at both ends of them."""

    stage: Stage
    database: Database
    bot: Bot

    @contextlib.asynccontextmanager
    async def sending(self, limits: Limits = FAST) -> AsyncIterator[Sender]:
        renderers = {"note": note, "broken": broken, "gone": gone}
        sender = Sender(
            self.database, self.stage.clock, self.bot, renderers=renderers, limits=limits
        )
        task = asyncio.create_task(sender.run())
        try:
            yield sender
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def queue(
        self,
        *people: int,
        text: str,
        lane: Lane = Lane.NOTICE,
        kind: str = "note",
        card: str | None = None,
        key: str = "",
        **params: Any,
    ) -> int:
        async with self.database.transaction() as session:
            return await notices.enqueue(
                session,
                person_ids=people,
                kind=kind,
                params={"text": text, **params},
                dedupe_key=key or text,
                now=self.stage.clock.now(),
                lane=lane,
                card=card,
            )

    async def rows(self) -> list[Delivery]:
        async with self.database.transaction() as session:
            return list(await session.scalars(select(Delivery).order_by(Delivery.id)))

    async def outcomes(self, *, seconds: float = 30) -> list[Outcome]:
        """Wait until everything has come to an end, and return how."""
        async with asyncio.timeout(seconds):
            while True:
                found = [row.outcome for row in await self.rows()]
                if set(found) <= DONE:
                    return found
                await asyncio.sleep(0.02)

    async def texts(self, phone: Phone) -> list[str]:
        return [text_of(message) for message in await phone.messages()]

    async def crowd(self, count: int) -> list[int]:
        """Let people in who have all started the chat; return their ids with us."""
        async with self.database.transaction() as session:
            people = [
                Person(name=f"P{i}", locale="en", created_at=self.stage.clock.now())
                for i in range(count)
            ]
            session.add_all(people)
            await session.flush()
            session.add_all(
                Contact(person_id=person.id, channel="telegram", address=str(50_000 + i))
                for i, person in enumerate(people)
            )
            ids = [person.id for person in people]
        for i in range(count):
            body = {"id": 50_000 + i, "first_name": f"P{i}"}
            async with self.stage.http.post(
                f"{self.stage.base}/play/api/people", json=body
            ) as answer:
                assert answer.status == 200
            await self.stage.phone(50_000 + i).post("start")
        return ids


@pytest.fixture
async def office(empty_stage: Stage, database: Database) -> AsyncIterator[Office]:
    transports = Transport(), Transport()
    bot = build_bot(empty_stage.settings, transport=transports[0], polling=transports[1])
    for person in (1001, 1002, 3001):
        await empty_stage.phone(person).post("start")
    yield Office(empty_stage, database, bot)
    for transport in transports:
        await transport.shutdown()


@pytest.fixture
def people(world: World) -> tuple[int, int, int]:
    return world.home.holder, world.neighbour.holder, world.manager


People = tuple[int, int, int]


class TestOrder:
    async def test_is_kept_in_a_chat(self, office: Office, people: People) -> None:
        for number in range(15):
            await office.queue(*people, text=f"{number:02}")
        async with office.sending():
            assert set(await office.outcomes()) == {Outcome.SENT}

        for chat in (1001, 1002, 3001):
            texts = await office.texts(office.stage.phone(chat))
            assert texts == [f"{number:02}" for number in range(15)]

    async def test_is_kept_when_the_first_must_be_sent_again(
        self, office: Office, people: People
    ) -> None:
        office.stage.clock.rate = 10
        await office.stage.fault("5xx", count=1, method="sendMessage")
        for number in range(4):
            await office.queue(people[0], text=f"{number}", lane=Lane.URGENT)
        async with office.sending():
            assert set(await office.outcomes()) == {Outcome.SENT}

        assert await office.texts(office.stage.phone(1001)) == ["0", "1", "2", "3"]

    async def test_lets_nobody_wait_for_what_is_due_tomorrow(
        self, office: Office, people: People
    ) -> None:
        await office.queue(people[0], text="tomorrow")
        async with office.database.transaction() as session:
            await session.execute(update(Delivery).values(due_at=Delivery.due_at + timedelta(1)))
        await office.queue(people[0], text="today")
        async with office.sending():
            await office.stage.phone(1001).expect("today")

        assert [row.outcome for row in await office.rows()] == [Outcome.DUE, Outcome.SENT]

    async def test_puts_replies_first(self, office: Office) -> None:
        crowd = await office.crowd(60)
        await office.queue(*crowd[1:], text="to all", lane=Lane.BROADCAST)
        async with office.sending(LIMITS):
            for number in range(5):
                await office.queue(crowd[0], text=f"reply {number}", lane=Lane.REPLY)
                await office.stage.phone(50_000).expect(f"reply {number}")
            waiting = [row for row in await office.rows() if row.outcome == Outcome.DUE]
            assert len(waiting) > 10
            assert all(row.lane == Lane.BROADCAST for row in waiting)
            assert set(await office.outcomes()) == {Outcome.SENT}


class TestTooManyRequests:
    async def test_holds_only_its_lane_and_loses_nothing(
        self, office: Office, people: People
    ) -> None:
        crowd = await office.crowd(5)
        await office.stage.fault("429", seconds=3, count=1, method="sendMessage")
        await office.queue(*crowd, text="to all", lane=Lane.BROADCAST)
        # So far apart that a busy machine hears of the refusal before the second one leaves.
        async with office.sending(replace(LIMITS, broadcast_seconds=0.5)):
            while not await office.stage.calls("sendMessage"):
                await asyncio.sleep(0.01)
            for lane in (Lane.REPLY, Lane.URGENT, Lane.NOTICE):
                await office.queue(people[0], text=lane.name, lane=lane)
            assert set(await office.outcomes()) == {Outcome.SENT}

        refused, *later = await office.stage.calls("sendMessage")
        assert refused["status"] == 429
        told = [call["params"]["text"] for call in later]
        assert told == ["REPLY", "URGENT", "NOTICE", *["to all"] * len(crowd)]
        assert later[3]["at"] - refused["at"] >= 2.9
        for number in range(5):
            assert await office.texts(office.stage.phone(50_000 + number)) == ["to all"]

    async def test_holds_only_the_chat_of_a_reply(self, office: Office, people: People) -> None:
        await office.stage.fault("429", seconds=3, count=1, method="sendMessage")
        await office.queue(people[0], text="held", lane=Lane.REPLY)
        async with office.sending():
            while not await office.stage.calls("sendMessage"):
                await asyncio.sleep(0.01)
            await office.queue(people[1], text="free", lane=Lane.REPLY)
            assert set(await office.outcomes()) == {Outcome.SENT}

        calls = await office.stage.calls("sendMessage")
        assert [call["params"]["text"] for call in calls] == ["held", "free", "held"]
        assert calls[2]["at"] - calls[0]["at"] >= 2.9
        assert [row.attempts for row in await office.rows()] == [1, 1]


class TestLostAnswer:
    @pytest.mark.parametrize("lane", list(Lane))
    async def test_is_met_by_the_lanes_policy(
        self, office: Office, people: People, lane: Lane
    ) -> None:
        office.stage.clock.rate = 300
        retries, _ = UNKNOWN_RETRIES[lane]
        await office.stage.fault("lost", count=10, method="sendMessage")
        await office.queue(people[0], text="perhaps", lane=lane)
        async with office.sending():
            assert await office.outcomes() == [Outcome.UNKNOWN]

        assert await office.texts(office.stage.phone(1001)) == ["perhaps"] * (retries + 1)

    async def test_counts_as_sent_once_an_answer_comes(
        self, office: Office, people: People
    ) -> None:
        office.stage.clock.rate = 300
        await office.stage.fault("lost", count=1, method="sendMessage")
        await office.queue(people[0], text="twice at most", lane=Lane.REPLY)
        async with office.sending():
            assert await office.outcomes() == [Outcome.SENT]

        assert len(await office.texts(office.stage.phone(1001))) == 2

    async def test_is_no_matter_when_nobody_listened(
        self, office: Office, people: People, unused_tcp_port: int
    ) -> None:
        office.stage.clock.rate = 100
        here = office.stage.settings.telegram_base_url
        nowhere = office.stage.settings.model_copy(
            update={"telegram_base_url": f"http://127.0.0.1:{unused_tcp_port}/bot"}
        )
        transports = Transport(), Transport()
        office.bot = build_bot(nowhere, transport=transports[0], polling=transports[1])
        await office.queue(*people, text="once", lane=Lane.BROADCAST)
        async with office.sending():
            while not any(row.attempts for row in await office.rows()):
                await asyncio.sleep(0.02)
            office.bot._base_url = (
                f"{here}{office.stage.settings.telegram_token.get_secret_value()}"
            )
            assert set(await office.outcomes()) == {Outcome.SENT}
        for transport in transports:
            await transport.shutdown()

        assert await office.texts(office.stage.phone(1001)) == ["once"]


class TestRefusal:
    async def test_of_a_blocked_bot_ends_all_sending_to_the_chat(
        self, office: Office, people: People
    ) -> None:
        await office.stage.phone(1001).post("block", blocked=True)
        await office.queue(people[0], text="first")
        async with office.sending():
            assert await office.outcomes() == [Outcome.BLOCKED]
            await office.queue(people[0], text="second")
            await office.queue(people[1], text="to another")
            assert await office.outcomes() == [Outcome.BLOCKED, Outcome.BLOCKED, Outcome.SENT]

        tried = [call["params"]["text"] for call in await office.stage.calls("sendMessage")]
        assert tried == ["first", "to another"]

    async def test_of_an_unknown_chat_is_the_same(self, office: Office, people: People) -> None:
        async with office.database.transaction() as session:
            await session.execute(
                update(Contact).where(Contact.person_id == people[0]).values(address="987654")
            )
        await office.queue(people[0], text="to nobody")
        async with office.sending():
            assert await office.outcomes() == [Outcome.BLOCKED]

        async with office.database.transaction() as session:
            since = select(Contact.unreachable_since).where(Contact.person_id == people[0])
            assert await session.scalar(since) is not None

    async def test_to_change_nothing_counts_as_sent(self, office: Office, people: People) -> None:
        async with office.sending():
            for key in ("1", "2", "3"):
                await office.queue(people[0], text="same", card="card", key=key)
                assert set(await office.outcomes()) == {Outcome.SENT}

        assert await office.texts(office.stage.phone(1001)) == ["same"]
        assert len(await office.stage.calls("editMessageText")) == 2

    async def test_to_edit_what_was_deleted_makes_a_new_message(
        self, office: Office, people: People
    ) -> None:
        phone = office.stage.phone(1001)
        async with office.sending():
            await office.queue(people[0], text="old", card="card")
            message = await phone.expect("old")
            await office.outcomes()
            await office.bot.delete_message(1001, message["message_id"])
            await office.queue(people[0], text="new", card="card")
            shown = await phone.expect("new")
            await office.outcomes()
            await office.queue(people[0], text="newer", card="card")
            await phone.changed(shown, "newer")

        async with office.database.transaction() as session:
            kept = await session.scalar(select(Card.message_ref))
        assert kept == str(shown["message_id"])
        assert await office.texts(phone) == ["newer"]

    async def test_of_bad_markup_fails_alone(self, office: Office, people: People) -> None:
        await office.queue(people[0], text="<b>broken")
        await office.queue(people[0], text="good")
        async with office.sending():
            assert await office.outcomes() == [Outcome.FAILED, Outcome.SENT]


class TestCard:
    async def test_is_drawn_once_however_often_it_is_due(
        self, office: Office, people: People
    ) -> None:
        for number in range(4):
            await office.queue(*people[:2], text=f"card {number}", card="card")
            await office.queue(people[0], text=f"other {number}", card=f"card {number}")
        await office.queue(people[0], text="no card")
        async with office.sending():
            await office.outcomes()

        shown = [f"other {number}" for number in range(3)]
        texts = await office.texts(office.stage.phone(1001))
        assert texts == [*shown, "card 3", "other 3", "no card"]
        assert await office.texts(office.stage.phone(1002)) == ["card 3"]
        ends = {row.params["text"]: row.outcome for row in await office.rows()}
        assert {text for text, end in ends.items() if end == Outcome.SUPERSEDED} == {
            "card 0",
            "card 1",
            "card 2",
        }
        assert await office.stage.calls("editMessageText") == []


class TestMaking:
    async def test_that_fails_fails_alone(self, office: Office, people: People) -> None:
        await office.queue(people[0], text="1", kind="broken")
        await office.queue(people[0], text="2", kind="no such kind")
        await office.queue(people[0], text="3", kind="gone")
        await office.queue(people[0], text="4")
        async with office.sending():
            assert await office.outcomes() == [
                Outcome.FAILED,
                Outcome.FAILED,
                Outcome.SUPERSEDED,
                Outcome.SENT,
            ]

        assert "a renderer's bug" in ((await office.rows())[0].error or "")

    async def test_parts_a_long_text_and_keeps_the_key_last(
        self, office: Office, people: People
    ) -> None:
        text = "\n".join(f"{number:04} " + "\U0001f4a7" * 40 for number in range(150))
        await office.queue(people[0], text=text, key="long", button="Key")
        async with office.sending():
            assert await office.outcomes() == [Outcome.SENT]

        messages = await office.stage.phone(1001).messages()
        assert "\n".join(text_of(message) for message in messages) == text
        assert [buttons_of(message) for message in messages] == [[], [], [], ["Key"]]


class TestSender:
    async def test_settles_what_a_killed_one_left_behind(
        self, office: Office, people: People
    ) -> None:
        for lane in Lane:
            await office.queue(people[0], text=lane.name, lane=lane)
        async with office.database.transaction() as session:
            await session.execute(update(Delivery).values(outcome=Outcome.SENDING, attempts=1))
        async with office.sending():
            outcomes = await office.outcomes()

        assert outcomes == [Outcome.SENT, Outcome.SENT, Outcome.SENT, Outcome.UNKNOWN]
        assert await office.texts(office.stage.phone(1001)) == ["REPLY", "URGENT", "NOTICE"]

    async def test_sends_alone_among_replicas_and_is_followed_by_the_next(
        self, office: Office
    ) -> None:
        crowd = await office.crowd(10)
        first = contextlib.AsyncExitStack()
        async with office.sending():
            async with first:
                await first.enter_async_context(office.sending())
                for number in range(3):
                    await office.queue(*crowd, text=f"{number}")
                assert set(await office.outcomes()) == {Outcome.SENT}
            await office.queue(*crowd, text="after")
            assert set(await office.outcomes()) == {Outcome.SENT}

        for number in range(10):
            texts = await office.texts(office.stage.phone(50_000 + number))
            assert texts == ["0", "1", "2", "after"]

    async def test_ends_without_leaving_anything_half_done(self, office: Office) -> None:
        crowd = await office.crowd(40)
        await office.queue(*crowd, text="to all", lane=Lane.BROADCAST)
        # A stop can come at any moment of a round, also between taking a message and its start.
        for seconds in (0.5, *(moment / 250 for moment in range(16))):
            async with office.sending(LIMITS):
                await asyncio.sleep(seconds)
            assert {row.outcome for row in await office.rows()} <= {
                Outcome.DUE,
                Outcome.POSTPONED,
                Outcome.SENT,
            }
        async with office.sending():
            assert set(await office.outcomes()) == {Outcome.SENT}

        for number in range(40):
            assert await office.texts(office.stage.phone(50_000 + number)) == ["to all"]

    async def test_goes_on_after_the_database_was_lost(
        self, office: Office, people: People, database_url: str
    ) -> None:
        other = Database(database_url)
        await leave_daily_jobs_behind(office.stage)
        async with office.stage.serving():
            for number in range(3):
                await office.queue(*people, text=f"{number}", kind="reply", lane=Lane.REPLY)
                await lose_connections(other)
            assert set(await office.outcomes()) == {Outcome.SENT}
        await other.close()

        for chat in (1001, 1002, 3001):
            texts = await office.texts(office.stage.phone(chat))
            assert [text for text in texts if text in "012"][-1] == "2"
            assert {"0", "1", "2"} <= set(texts)


class TestEnqueue:
    async def test_adds_a_message_once_however_many_ask_at_once(
        self, office: Office, people: People
    ) -> None:
        added = await asyncio.gather(*(office.queue(*people, text="once") for _ in range(12)))

        assert sum(added) == 3
        async with office.sending():
            assert await office.outcomes() == [Outcome.SENT] * 3


class TestUnblocking:
    @pytest.mark.parametrize("way", ["start", "unblock"])
    async def test_brings_a_person_back(self, stage: Stage, database: Database, way: str) -> None:
        phone = stage.phone(1001)
        await phone.say("/start")
        await phone.post("block", blocked=True)
        office = Office(stage, database, stage.service.bot)  # type: ignore[arg-type]
        await until(database, Contact.unreachable_since.is_not(None), count=1)
        await office.queue(stage.world.home.holder, text="lost", kind="reply")
        await outcome_of(database, "lost", Outcome.BLOCKED)

        if way == "start":
            await phone.post("start")
        else:
            await phone.post("block", blocked=False)
        await until(database, Contact.unreachable_since.is_not(None), count=0)
        await office.queue(stage.world.home.holder, text="welcome", kind="reply")
        await phone.expect("welcome")
        assert all("lost" not in text_of(message) for message in await phone.messages())


async def until(database: Database, condition: Any, *, count: int) -> None:
    async with asyncio.timeout(20):
        while True:
            async with database.transaction() as session:
                query = select(func.count()).select_from(Contact).where(condition)
                if await session.scalar(query) == count:
                    return
            await asyncio.sleep(0.05)


async def outcome_of(database: Database, key: str, wanted: Outcome) -> None:
    async with asyncio.timeout(20):
        while True:
            async with database.transaction() as session:
                query = select(Delivery.outcome).where(Delivery.dedupe_key == key)
                if await session.scalar(query) == wanted:
                    return
            await asyncio.sleep(0.05)

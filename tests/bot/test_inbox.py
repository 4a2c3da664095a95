"""Updates are stored before anything else, handled once and in order, or parked."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from bot import inbox
from bot.clock import SystemClock
from bot.inbox import TRIES_MAX, Handled, Inbox, StoredUpdate, chat_of, store
from core import audit
from core.audit import AuditEntry
from core.db import Database
from core.errors import DomainError
from tests.world import NOON


class Refused(DomainError):
    code = "test.refused"


def saying(update_id: int, text: str, *, chat: int = 1) -> dict[str, Any]:
    message = {"message_id": update_id, "chat": {"id": chat, "type": "private"}, "text": text}
    return {"update_id": update_id, "message": message}


async def keep(database: Database, *payloads: dict[str, Any]) -> int:
    async with database.transaction() as session:
        return await store(session, payloads=payloads, received_at=NOON)


async def rows(database: Database) -> dict[int, StoredUpdate]:
    async with database.transaction() as session:
        found = await session.scalars(select(StoredUpdate).order_by(StoredUpdate.update_id))
        return {row.update_id: row for row in found}


async def effects(database: Database) -> list[tuple[str, str]]:
    """List what handlers did, by chat and text, in the order in which it was done."""
    async with database.transaction() as session:
        found = await session.execute(
            select(AuditEntry.subject, AuditEntry.action).order_by(AuditEntry.id)
        )
        return [(subject, action) for subject, action in found]


class Bench:
    """A handler that writes down what it is given, fails on demand, and watches for overlaps."""

    def __init__(self) -> None:
        self.at_work: set[str] = set()
        self.most_at_once = 0
        self.hold: dict[int, asyncio.Event] = {}
        self.apologies: list[int] = []

    async def handle(self, session: Any, payload: dict[str, Any], now: datetime) -> Handled:
        chat, text = chat_of(payload), payload["message"]["text"]
        assert chat not in self.at_work, "two updates of one chat at once"
        self.at_work.add(chat)
        self.most_at_once = max(self.most_at_once, len(self.at_work))
        try:
            if payload["update_id"] in self.hold:
                await self.hold[payload["update_id"]].wait()
            await asyncio.sleep(0.002)
            audit.record(session, at=now, actor_id=None, action=text, subject=chat)
            await session.flush()
            if text == "boom":
                raise RuntimeError("a handler's bug")
            if text == "refused":
                raise Refused
        finally:
            self.at_work.discard(chat)
        return Handled()

    async def refuse(
        self, session: Any, payload: dict[str, Any], now: datetime, error: Exception
    ) -> Handled:
        self.apologies.append(payload["update_id"])
        if payload["message"]["text"] == "boom" and payload["message"].get("speechless"):
            raise RuntimeError("this cannot even be refused")
        audit.record(session, at=now, actor_id=None, action=type(error).__name__, subject="answer")
        return Handled()


@contextlib.asynccontextmanager
async def running(database: Database, bench: Bench, *, workers: int = 4) -> AsyncIterator[Inbox]:
    box = Inbox(database, SystemClock(), handle=bench.handle, refuse=bench.refuse, workers=workers)
    task = asyncio.create_task(box.run())
    try:
        yield box
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def lose_connections(database: Database) -> None:
    """Have the server end every other connection, as its restart does."""
    async with database.transaction() as session:
        await session.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


async def until_quiet(database: Database, *, seconds: float = 30) -> dict[int, StoredUpdate]:
    async with asyncio.timeout(seconds):
        while True:
            found = await rows(database)
            if all(row.handled_at or row.parked_at for row in found.values()):
                return found
            await asyncio.sleep(0.05)


class TestStore:
    async def test_ignores_an_update_that_was_seen(self, database: Database) -> None:
        assert await keep(database, saying(7, "a"), saying(8, "b")) == 2
        assert await keep(database, saying(8, "b"), saying(9, "c")) == 1

    async def test_takes_a_smaller_number_than_the_last(self, database: Database) -> None:
        await keep(database, saying(900, "before a quiet week"))

        assert await keep(database, saying(3, "after it")) == 1

    async def test_remembers_handled_updates_also_when_their_words_are_forgotten(
        self, database: Database
    ) -> None:
        bench = Bench()
        await keep(database, saying(7, "once"))
        async with running(database, bench):
            await until_quiet(database)
            async with database.transaction() as session:
                later = SystemClock().now() + inbox.KEPT + timedelta(days=1)
                await inbox.forget_old(session, now=later)
            assert (await rows(database))[7].payload == {}
            assert await keep(database, saying(7, "once")) == 0
            await until_quiet(database)

        assert await effects(database) == [("1", "once")]

    @pytest.mark.parametrize("text", ["a\0b", "\ud800", "x\udc00y", "\U0001f600", "\\u0000", ""])
    async def test_keeps_words_that_no_column_takes(self, database: Database, text: str) -> None:
        assert await keep(database, saying(7, text)) == 1

        kept = (await rows(database))[7].payload["message"]["text"]
        assert len(kept) == len(text)
        assert "\0" not in kept
        kept.encode()

    @pytest.mark.parametrize(
        "body",
        [
            {"message": None},
            {"message": {"chat": None}},
            {"message": {"chat": {"id": None}, "from": 5}},
            {"callback_query": {"data": "x", "message": "gone", "from": {}}},
            {"new_kind": [1, 2]},
            {},
        ],
    )
    async def test_keeps_updates_of_unknown_forms(
        self, database: Database, body: dict[str, Any]
    ) -> None:
        assert await keep(database, {"update_id": 7, **body}) == 1

    @pytest.mark.parametrize(
        ("payload", "chat"),
        [
            (saying(1, "x", chat=55), "55"),
            (
                {
                    "update_id": 1,
                    "callback_query": {
                        "id": "1",
                        "data": "x",
                        "from": {"id": 8},
                        "message": {"chat": {"id": 55}},
                    },
                },
                "55",
            ),
            ({"update_id": 1, "callback_query": {"data": "x", "from": {"id": 8}}}, "8"),
            ({"update_id": 1, "my_chat_member": {"chat": {"id": 55}, "from": {"id": 8}}}, "55"),
        ],
    )
    def test_orders_messages_and_presses_of_a_chat_together(
        self, payload: dict[str, Any], chat: str
    ) -> None:
        assert chat_of(payload) == chat


class TestInbox:
    async def test_keeps_the_order_of_each_chat_in_two_replicas(
        self, database: Database, database_url: str
    ) -> None:
        bench, other = Bench(), Database(database_url)
        both = contextlib.AsyncExitStack()
        backlog = [saying(number, f"{number:03}", chat=number % 6) for number in range(1, 46)]
        await keep(database, *backlog)
        async with both, running(database, bench) as one, running(other, bench) as two:
            both.push_async_callback(other.close)
            for number in range(46, 91):
                await keep(database, saying(number, f"{number:03}", chat=number % 6))
                one.wake(1)
                two.wake(1)
            await until_quiet(database)

        done = await effects(database)
        assert len(done) == len(set(done)) == 90
        for chat in range(6):
            told = [text for subject, text in done if subject == str(chat)]
            assert told == sorted(told)
        assert bench.most_at_once > 1

    async def test_finishes_one_update_before_another_of_the_chat_with_a_smaller_number(
        self, database: Database
    ) -> None:
        bench = Bench()
        bench.hold[900] = asyncio.Event()
        async with running(database, bench) as box:
            await keep(database, saying(900, "first"))
            box.wake(1)
            while not bench.at_work:
                await asyncio.sleep(0.01)
            await keep(database, saying(5, "second"), saying(6, "other chat", chat=2))
            box.wake(2)
            while ("2", "other chat") not in await effects(database):
                await asyncio.sleep(0.01)
            bench.hold[900].set()
            await until_quiet(database)

        assert [text for chat, text in await effects(database) if chat == "1"] == [
            "first",
            "second",
        ]

    async def test_parks_a_failing_update_with_an_apology_and_goes_on(
        self, database: Database
    ) -> None:
        bench = Bench()
        await keep(database, saying(1, "boom"), saying(2, "later"))
        async with running(database, bench):
            found = await until_quiet(database)

        assert found[1].parked_at is not None
        assert found[1].tries == TRIES_MAX
        assert "a handler's bug" in (found[1].error or "")
        assert bench.apologies == [1]
        assert await effects(database) == [("answer", "RuntimeError"), ("1", "later")]

    async def test_parks_what_cannot_even_be_refused(self, database: Database) -> None:
        bench, poison = Bench(), saying(1, "boom")
        poison["message"]["speechless"] = True
        await keep(database, poison, saying(2, "later"))
        async with running(database, bench):
            found = await until_quiet(database)

        assert found[1].parked_at is not None
        assert await effects(database) == [("1", "later")]

    async def test_takes_a_refusals_effects_back_and_keeps_its_answer(
        self, database: Database
    ) -> None:
        bench = Bench()
        await keep(database, saying(1, "refused"))
        async with running(database, bench):
            found = await until_quiet(database)

        assert (found[1].parked_at, found[1].tries) == (None, 0)
        assert await effects(database) == [("answer", "Refused")]

    async def test_handles_once_what_a_lost_database_interrupted(
        self, database: Database, database_url: str
    ) -> None:
        bench = Bench()
        bench.hold[1] = asyncio.Event()
        other = Database(database_url)
        async with running(database, bench, workers=1) as box:
            await keep(other, saying(1, "kept"))
            box.wake(1)
            while not bench.at_work:
                await asyncio.sleep(0.01)
            await lose_connections(other)
            bench.hold[1].set()
            found = await until_quiet(other)
        assert found[1].handled_at is not None
        assert await effects(other) == [("1", "kept")]
        await other.close()

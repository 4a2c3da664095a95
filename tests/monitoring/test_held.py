"""Readings that wait: a person decides, vouches for it, and what follows is judged anew."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, update

from core.accounts.models import ApiKey, Service
from core.billing.redeciding import ReadingIsBilled, check_decision, decide_reading
from core.db import Database
from core.monitoring.held import (
    Decision,
    NotHeld,
    decide_held,
    get_held,
    list_decided,
    list_held,
    remind_of_held,
)
from core.monitoring.ingest import NewReading, store_batch
from core.monitoring.models import Meter, Reading, Source
from core.monitoring.rows import Key
from core.monitoring.service import ReadingGoesBackwards
from tests.billing.books import SEPTEMBER, ask, keep, load_shipped, read, run_bills
from tests.world import NOON, World

AT_TWO = NOON + timedelta(hours=2)
LATER = NOON + timedelta(hours=9)


@pytest.fixture
async def jumped(database: Database, world: World) -> int:
    """A meter whose register jumped at two and went on from there; return its id."""
    meter = world.home.meters[Service.WATER]
    async with database.transaction() as session:
        key = ApiKey(name="cellar", token_hash="x", scope="gateway", created_at=NOON)  # noqa: S106 (no secret)
        session.add(key)
        await session.flush()
        await session.execute(update(Meter).values(gateway_id=key.id))
        values = ["100", "101", "501", "502", "503"]
        readings = [
            NewReading(n, "W-10001", "total", NOON + timedelta(hours=n), Decimal(value))
            for n, value in enumerate(values)
        ]
        await store_batch(session, gateway_id=key.id, readings=readings, samples=[], now=LATER)
    return meter


async def decide(
    database: Database, meter: int, at: int, decision: Decision, **more: object
) -> None:
    async with database.transaction() as session:
        await decide_held(
            session,
            key=Key(meter, "total", NOON + timedelta(hours=at)),
            decision=decision,
            value=more.get("value"),  # type: ignore[arg-type]  # a number, or nothing
            reason="looked at the dial",
            person_id=1,
            now=LATER,
        )


async def statuses(database: Database) -> list[str]:
    async with database.transaction() as session:
        found = await session.scalars(select(Reading.status).order_by(Reading.taken_at))
        return [status.value for status in found]


class TestDecideHeld:
    async def test_lets_a_jump_stand_and_all_that_follows_it(self, database, jumped):
        assert await statuses(database) == ["accepted"] * 2 + ["held"] * 3

        await decide(database, jumped, 2, Decision.ACCEPT)

        assert await statuses(database) == ["accepted"] * 5

    async def test_rejects_only_what_is_wrong(self, database, jumped):
        await decide(database, jumped, 2, Decision.REJECT)

        assert await statuses(database) == ["accepted"] * 2 + ["rejected"] + ["held"] * 2

    async def test_takes_another_number(self, database, jumped):
        await decide(database, jumped, 2, Decision.CORRECT, value=Decimal("101.5"))

        assert await statuses(database) == ["accepted"] * 3 + ["held"] * 2
        (reason,) = await ask(
            database, "SELECT details->>'was', details->>'reason' FROM shuidian.audit_entries"
        )
        assert reason == ("501", "looked at the dial")

    async def test_cannot_go_back_behind_what_was_accepted(self, database, jumped):
        with pytest.raises(ReadingGoesBackwards):
            await decide(database, jumped, 2, Decision.CORRECT, value=Decimal(99))

        assert await statuses(database) == ["accepted"] * 2 + ["held"] * 3

    async def test_decides_once(self, database, jumped):
        await decide(database, jumped, 2, Decision.REJECT)
        with pytest.raises(NotHeld):
            await decide(database, jumped, 2, Decision.ACCEPT)


class TestListHeld:
    async def test_counts_all_and_shows_the_accepted_one_before(self, database, jumped):
        async with database.transaction() as session:
            (first,), total = await list_held(session, limit=1)
            key = Key(jumped, "total", NOON + timedelta(hours=2))
            _, before = await get_held(session, key=key)

        assert (first.serial, first.value, total) == ("W-10001", 501, 3)
        assert before is not None
        assert before.value == 101


@pytest.mark.usefixtures("jumped")
class TestRemindOfHeld:
    async def test_tells_each_manager_once_and_again_after_a_week(self, database):
        for days in (0, 0, 1, 2, 7, 8):
            moment = LATER + timedelta(days=days)
            async with database.transaction() as session:
                await remind_of_held(session, now=moment)

        told = "SELECT count(*) FROM shuidian.deliveries WHERE kind = 'held.waiting'"
        managers = "SELECT count(*) FROM shuidian.staff WHERE role = 'manager'"
        (count,) = (await ask(database, told))[0]
        assert count == 2 * (await ask(database, managers))[0][0]


async def redecide(database: Database, key: Key, decision: Decision, value=None) -> None:
    async with database.transaction() as session:
        await decide_reading(
            session,
            key=key,
            decision=decision,
            value=value,
            reason="that was the neighbour's",
            person_id=1,
            now=LATER,
        )


class TestDecideReading:
    async def lately(self, database: Database) -> list[Decimal]:
        async with database.transaction() as session:
            return [each.value for each in await list_decided(session, now=LATER, limit=9)]

    async def test_takes_an_acceptance_back(self, database, jumped):
        assert await self.lately(database) == []
        await decide(database, jumped, 2, Decision.ACCEPT)
        assert await self.lately(database) == [501]

        await redecide(database, Key(jumped, "total", AT_TWO), Decision.REJECT)

        assert await statuses(database) == ["accepted"] * 2 + ["rejected"] + ["held"] * 2
        assert await self.lately(database) == []
        with pytest.raises(NotHeld):
            await redecide(database, Key(jumped, "total", AT_TWO), Decision.REJECT)

    async def test_corrects_what_was_accepted_too_high(self, database, jumped):
        await decide(database, jumped, 2, Decision.ACCEPT)
        async with database.transaction() as session:
            key = Key(jumped, "total", NOON + timedelta(hours=2))
            await check_decision(session, key=key, value=Decimal("101.5"))
        with pytest.raises(ReadingGoesBackwards):
            await redecide(database, Key(jumped, "total", AT_TWO), Decision.CORRECT, Decimal(99))

        await redecide(database, Key(jumped, "total", AT_TWO), Decision.CORRECT, Decimal("101.5"))

        assert await statuses(database) == ["accepted"] * 3 + ["held"] * 2
        assert await self.lately(database) == [Decimal("101.5")]

    async def test_leaves_what_a_bill_rests_on(self, database, world):
        meter = world.home.meters[Service.ELECTRICITY]
        await load_shipped(database)
        closing = read(meter, SEPTEMBER.ends, "80", source=Source.STAFF)
        key = Key(meter, "total", closing.taken_at)
        async with database.transaction() as session:
            await keep(session, [read(meter, SEPTEMBER.starts, "50"), closing])
        assert (await run_bills(database, Service.ELECTRICITY, SEPTEMBER)).issued

        for decision in (Decision.REJECT, Decision.CORRECT):
            with pytest.raises(ReadingIsBilled) as refusal:
                await redecide(database, key, decision, Decimal(70))
            assert refusal.value.params == {"number": "E1001"}
        assert await statuses(database) == ["accepted"] * 2

"""A month's bills as a manager's act: proposed by the timetable, approved, sent, accounted for."""

from datetime import date

import pytest

from bot.works import JOBS
from core.accounts.models import Operator, Service
from tests.billing.books import load_shipped, show
from tests.chat import buttons_of, text_of
from tests.e2e.conftest import Stage
from tests.e2e.test_bills import require_sound_books
from tests.world import NOON

READ = {date(2026, 9, 1): "100", date(2026, 10, 1): "110", date(2026, 11, 1): "124"}


@pytest.fixture
async def read(stage: Stage) -> Stage:
    """Li Hua's meters are read, his neighbour's use is absurd; everybody has said hello."""
    database = stage.service.database
    await set_approving(stage, wanted=True)
    await load_shipped(database)
    for service in Service:
        await show(database, stage.world.home.meters[service], READ)
    await show(
        database,
        stage.world.neighbour.meters[Service.ELECTRICITY],
        {date(2026, 10, 1): "0", date(2026, 11, 1): "90000"},
    )
    for person in (1001, 1002, 3001, 3002):
        await stage.phone(person).say("/start")
    return stage


async def ring(stage: Stage, job: str = "billing") -> None:
    async with stage.service.database.transaction() as session:
        await JOBS[job].run(session, now=NOON)


async def set_approving(stage: Stage, *, wanted: bool) -> None:
    async with stage.service.database.transaction() as session:
        (await session.get_one(Operator, 1)).approves_bills = wanted


class TestBillingRun:
    async def test_waits_for_a_manager_and_is_sent_by_the_button(self, read: Stage) -> None:
        manager, other = read.phone(3001), read.phone(3002)
        await ring(read)
        proposed = await manager.expect("Electricity, ")
        if "waits for approval" not in text_of(proposed):
            proposed = await manager.changed(proposed, "waits for approval")
        words = text_of(proposed)

        assert "Bills: 2" in words and "Held back for a look: 1" in words
        assert words.index("more than a home can use") > words.index("Look at these first")
        assert "E1001" not in str(await read.phone(1001).messages())

        await manager.press(proposed, "Approve and send")
        assert "14 千瓦时" in text_of(await read.phone(1001).expect("E1001"))
        done = await manager.expect("Households that got the message: 1 of 1")
        assert "Maya" in text_of(done) and "Bills issued: 1" in text_of(done)
        assert "E1002" not in str(await read.phone(1002).messages())
        await other.expect("Maya")
        await require_sound_books(read)

    async def test_is_approved_once_and_by_managers_only(self, read: Stage) -> None:
        manager, customer = read.phone(3001), read.phone(1001)
        await ring(read)
        for service in ("Water, ", "Electricity, "):
            await manager.expect(service)
        listed = await manager.say("/runs")
        assert sum("waits for approval" in label for label in buttons_of(listed)) == 2

        await customer.say("/approverun 1")
        assert "E1001" not in str(await customer.messages())
        for number in (1, 2):
            await manager.say(f"/approverun {number}")
        await manager.until(lambda all_: sum("going out" in text_of(each) for each in all_) >= 2)
        await manager.say("/approverun 1")
        await manager.expect("approved before")
        await customer.expect("E1001")

    async def test_needs_nobody_where_the_operator_says_so(self, read: Stage) -> None:
        await set_approving(read, wanted=False)
        await ring(read)

        await read.phone(1001).expect("E1001")
        await read.phone(3001).expect("Households that got the message: 1 of 1")

"""A customer is reminded to read, answers with one press, and a photo stays with the reading."""

from decimal import Decimal

import pytest
from sqlalchemy import select, update

from bot.app import build_bot
from bot.photos import Keeper
from bot.telegram import Transport
from core.accounts.models import Operator, Service
from core.billing.reading_window import remind_to_read
from core.db import Database
from core.monitoring.models import Reading, ReadingPhoto, ReadingStatus, Source
from tests.billing.books import load_shipped
from tests.chat import buttons_of, text_of
from tests.e2e.conftest import Stage
from tests.e2e.test_photos import picture
from tests.world import NOON


@pytest.fixture
async def days(stage: Stage, database: Database) -> None:
    """The second to the fifth of the month, and today is the second."""
    await load_shipped(database)
    async with database.transaction() as session:
        await session.execute(update(Operator).values(reading_first_day=2, reading_last_day=5))
        session.add(
            Reading(
                meter_id=stage.world.home.meters[Service.ELECTRICITY],
                register="total",
                taken_at=NOON.replace(day=1),
                value=Decimal(1000),
                source=Source.GATEWAY,
                status=ReadingStatus.ACCEPTED,
                received_at=NOON,
            )
        )


async def remind(database: Database) -> None:
    async with database.transaction() as session:
        await remind_to_read(session, now=NOON)


async def photos(database: Database) -> list[tuple[Decimal, bytes | None]]:
    """Return the values of readings, each with the photo beside it."""
    async with database.transaction() as session:
        rows = await session.execute(
            select(Reading.value, ReadingPhoto.content)
            .join(
                ReadingPhoto,
                (ReadingPhoto.meter_id == Reading.meter_id)
                & (ReadingPhoto.taken_at == Reading.taken_at)
                & (ReadingPhoto.register == Reading.register),
            )
            .order_by(ReadingPhoto.id)
        )
        return [(value, content) for value, content in rows]


@pytest.mark.usefixtures("days")
class TestReminder:
    async def test_leads_to_a_reading_with_one_press(
        self, stage: Stage, database: Database
    ) -> None:
        customer, neighbour = stage.phone(1001), stage.phone(1002)
        for phone in (customer, neighbour):
            await phone.say("/home")
        await remind(database)
        asked = await customer.expect("该抄表了")
        assert "11月5日" in text_of(asked)
        assert buttons_of(asked) == ["⚡ 电 · Linden Street 1-101"]
        assert "Пора снять" in text_of(await neighbour.expect("Пора"))

        await customer.press(asked, "⚡")
        await customer.changed(asked, "请输入表号")
        assert "已记录" in text_of(await customer.say("1004"))

    async def test_is_not_sent_after_a_reading(self, stage: Stage, database: Database) -> None:
        customer, neighbour = stage.phone(1001), stage.phone(1002)
        for phone in (customer, neighbour):
            await phone.say("/home")
        await customer.say("/reading E-10001 1004")
        await remind(database)
        await neighbour.expect("Пора")
        assert not any("该抄表了" in text_of(each) for each in await customer.messages())


@pytest.mark.usefixtures("days")
class TestPhotoOfADial:
    async def test_stays_with_the_reading_that_it_came_with(
        self, stage: Stage, database: Database
    ) -> None:
        phone = stage.phone(1001)
        await phone.say("/reading E-10001")
        assert "已记录" in text_of(await phone.show(picture(), caption="1004"))
        assert "一起保存" in text_of(await phone.show(picture()))

        assert [value for value, _ in await photos(database)] == [1004, 1004]
        # Another word, and a photo is about something new.
        await phone.say("/home")
        assert "一起保存" not in text_of(await phone.show(picture()))
        assert len(await photos(database)) == 2

    async def test_may_come_before_the_number(self, stage: Stage, database: Database) -> None:
        phone = stage.phone(1001)
        await phone.say("/reading E-10001")
        assert "请再输入表上的数字" in text_of(await phone.show(picture()))
        assert "已记录" in text_of(await phone.say("1005"))
        assert [value for value, _ in await photos(database)] == [1005]

    async def test_is_shown_to_the_manager_who_decides(
        self, stage: Stage, database: Database
    ) -> None:
        customer, manager = stage.phone(1001), stage.phone(3001)
        await customer.say("/reading E-10001")
        asked = await customer.show(picture(), caption="9000")
        assert "倍" in text_of(asked)
        assert "先核实" in text_of(await customer.say("是"))
        waiting = await manager.say("/held")
        await manager.mark()
        await manager.press(waiting, "E-10001")
        shown = await manager.next()
        assert shown["photo"] or shown.get("document")
        assert "Meter E-10001" in text_of(shown)
        assert [value for value, _ in await photos(database)] == [9000]

    async def test_is_kept_to_the_last_byte(self, stage: Stage, database: Database) -> None:
        phone = stage.phone(1001)
        await phone.say("/reading E-10001")
        await phone.show(picture(), caption="1004")
        transports = Transport(), Transport()
        try:
            bot = build_bot(stage.settings, transport=transports[0], polling=transports[1])
            while await Keeper(database, bot).keep_one():
                pass
        finally:
            for transport in transports:
                await transport.shutdown()
        ((_, content),) = await photos(database)
        assert content
        assert content.startswith((b"\x89PNG", b"\xff\xd8\xff"))

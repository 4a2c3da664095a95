"""Photos in the chat: each finds its repair, begins one or asks; and they are kept."""

import asyncio
import struct
import zlib
from datetime import timedelta

import pytest
from sqlalchemy import select

from core.accounts.models import Service
from core.repairs.models import Attachment, Repair, RepairEvent
from tests.chat import text_of
from tests.e2e.conftest import Stage
from tests.e2e.test_repairs import CUSTOMER, MANAGER, TECHNICIAN, raise_alarm, start


def picture() -> bytes:
    """Return a small grey PNG."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checked = kind + body
        return struct.pack(">I", len(body)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", 64, 48, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * 64) * 48)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


async def photos(stage: Stage) -> list[tuple[str, str]]:
    """List the repair of every photo, with the words beside it, in the order they came."""
    async with stage.service.database.transaction() as session:
        rows = await session.execute(
            select(Repair.number, RepairEvent.details)
            .join(Attachment, Attachment.repair_id == Repair.id)
            .join(RepairEvent, RepairEvent.id == Attachment.event_id)
            .order_by(Attachment.id)
        )
        return [(number, details.get("text", "")) for number, details in rows]


async def until_kept(stage: Stage, *contents: bytes) -> None:
    """Wait until the bytes of every photo are kept."""
    async with asyncio.timeout(15):
        while True:
            async with stage.service.database.transaction() as session:
                kept = list(await session.scalars(select(Attachment.content)))
            if kept == list(contents):
                return
            await asyncio.sleep(0.1)


async def test_photos_find_their_repair_and_everybody_on_it(stage: Stage) -> None:
    customer, technician, manager = await start(stage, CUSTOMER, TECHNICIAN, MANAGER)
    await customer.say("/report")
    await customer.say("1")
    await customer.show(picture(), "水表在漏水")
    assert "水表在漏水" in text_of(await technician.expect("R1001"))

    await technician.say("/take R1001")
    await technician.show(picture(), "换好的阀门")
    await technician.expect("已补充到 R1001")
    await raise_alarm(stage, Service.ELECTRICITY)
    await technician.expect("R1002")
    await technician.say("/take R1002")
    asked = await technician.show(picture())
    await technician.press(asked, "R1002")
    await technician.changed(asked, "已补充到 R1002")

    history = await manager.say("/history R1001")
    assert "换好的阀门" in text_of(history)
    await manager.mark()
    await manager.press(history, "Photos")
    sent = await manager.until(lambda found: len(found) == manager.seen + 2)
    assert all("photo" in message for message in sent[-2:])
    assert "Wang Qiang" in text_of(sent[-2])


async def test_next_photos_of_a_report_follow_it_and_are_kept(stage: Stage) -> None:
    (customer,) = await start(stage, CUSTOMER)
    await raise_alarm(stage, Service.ELECTRICITY)
    await customer.expect("R1001")
    await customer.say("/report")
    await customer.say("1")
    await customer.show(picture(), "水表在漏水")
    await asyncio.gather(customer.show(picture()), customer.show(picture()))

    await until_kept(stage, picture(), picture(), picture())
    assert await photos(stage) == [("R1002", "水表在漏水"), ("R1002", ""), ("R1002", "")]

    stage.clock.shown_at += timedelta(minutes=11)
    await customer.show(picture())
    await customer.expect("哪张维修单")


async def test_photo_by_itself_goes_to_the_one_open_repair(stage: Stage) -> None:
    (customer,) = await start(stage, CUSTOMER)
    await raise_alarm(stage, Service.ELECTRICITY)
    await customer.expect("R1001")

    assert "R1001" in text_of(await customer.show(picture(), "电表箱"))
    await customer.show(picture())

    assert await photos(stage) == [("R1001", "电表箱"), ("R1001", "")]


@pytest.mark.parametrize("way", ["press", "type"])
async def test_photos_that_could_belong_to_two_repairs_wait_for_the_answer(
    stage: Stage, way: str
) -> None:
    (customer,) = await start(stage, CUSTOMER)
    for service in Service:
        await raise_alarm(stage, service)
    await customer.expect("R1002")

    asked = await customer.show(picture(), "电表箱")
    asked_again = await customer.show(picture())
    for message in (asked, asked_again):
        assert "哪张维修单" in text_of(message)
    assert await photos(stage) == []
    if way == "press":
        await customer.press(asked_again, "R1001")
    else:
        for nonsense in ("<b>&", "R9999"):
            assert "⚠" in text_of(await customer.say(nonsense))
        await customer.say("R1001")
    await customer.expect("已补充到 R1001")

    assert await photos(stage) == [("R1001", "电表箱"), ("R1001", "")]


async def test_photos_begin_a_report_where_nothing_is_open(stage: Stage) -> None:
    customer, technician = await start(stage, CUSTOMER, TECHNICIAN)

    assert "1." in str(await customer.show(picture(), "水表在漏水"))
    await customer.show(picture())
    await customer.say("1")

    assert "水表在漏水" in text_of(await technician.expect("R1001"))
    assert await photos(stage) == [("R1001", "水表在漏水"), ("R1001", "")]

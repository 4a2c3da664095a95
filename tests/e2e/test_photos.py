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


PHOTOS = (
    select(Repair.number, RepairEvent.details["text"].as_string(), Attachment.content)
    .join(Attachment, Attachment.repair_id == Repair.id)
    .join(RepairEvent, RepairEvent.id == Attachment.event_id)
    .order_by(Attachment.id)
)


async def expect_photos(
    stage: Stage, *wanted: tuple[str, str], content: bytes | None = None
) -> None:
    """Wait until these are all photos: on which repair, with which words, kept if need be."""
    found = None
    for _ in range(150):
        async with stage.service.database.transaction() as session:
            found = [
                (number, text or "", kept) for number, text, kept in await session.execute(PHOTOS)
            ]
        is_kept = content is None or {kept for _, _, kept in found} == {content}
        if is_kept and [(number, text) for number, text, _ in found] == list(wanted):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(found)


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

    wanted = ("R1002", "水表在漏水"), ("R1002", ""), ("R1002", "")
    await expect_photos(stage, *wanted, content=picture())

    stage.clock.shown_at += timedelta(minutes=11)
    await customer.show(picture())
    await customer.expect("哪张维修单")


async def test_photo_by_itself_goes_to_the_one_open_repair(stage: Stage) -> None:
    (customer,) = await start(stage, CUSTOMER)
    await raise_alarm(stage, Service.ELECTRICITY)
    await customer.expect("R1001")

    await customer.show(picture(), "电表箱")
    await customer.expect("已补充到 R1001")
    await customer.show(picture())

    await expect_photos(stage, ("R1001", "电表箱"), ("R1001", ""))


@pytest.mark.parametrize("way", ["press", "type"])
async def test_photos_that_could_belong_to_two_repairs_wait_for_the_answer(
    stage: Stage, way: str
) -> None:
    (customer,) = await start(stage, CUSTOMER)
    for service in Service:
        await raise_alarm(stage, service)
    await customer.expect("R1002")

    await customer.show(picture(), "电表箱")
    await customer.show(picture())
    await customer.until(lambda all_: sum("哪张维修单" in text_of(each) for each in all_) == 2)
    await expect_photos(stage)
    if way == "press":
        await customer.press(await customer.expect("哪张维修单"), "R1001")
    else:
        for nonsense in ("<b>&", "R9999"):
            assert "⚠" in text_of(await customer.say(nonsense))
        await customer.say("R1001")

    await expect_photos(stage, ("R1001", "电表箱"), ("R1001", ""))


async def test_photos_begin_a_report_where_nothing_is_open(stage: Stage) -> None:
    customer, technician = await start(stage, CUSTOMER, TECHNICIAN)

    assert "1." in str(await customer.show(picture(), "水表在漏水"))
    await customer.show(picture())
    await customer.say("1")

    assert "水表在漏水" in text_of(await technician.expect("R1001"))
    await expect_photos(stage, ("R1001", "水表在漏水"), ("R1001", ""))

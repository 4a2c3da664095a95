"""The real rtl_433, given frames as bits instead of a radio: what it prints is read and stored."""

import asyncio
import json
import shutil
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, update

from bot.gateway.decode import decode
from bot.gateway.intake import Batch, Message, store_messages
from bot.gateway.units import What
from core.accounts.models import Service
from core.monitoring.models import Meter, Reading
from core.monitoring.registers import advance
from tests.gateway.shelves import PROFILES, RECEIVED_AT
from tests.world import NOON

pytestmark = pytest.mark.skipif(
    shutil.which("rtl_433") is None, reason="rtl_433 is not installed: NO radio frame is tested"
)
SCM, WIRELESS_MBUS = 149, 104
WATER_TYPE = 13
TOPIC = "rtl_433/cellar/events"


def crc16(data: bytes, polynomial: int) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ (polynomial if crc & 0x8000 else 0)) & 0xFFFF
    return crc


def scm(number: int, count: int) -> bytes:
    """Return the frame of an ERT meter (SCM): 26 bits of a number, 24 of a counter."""
    sync_and_number = 0x1F2A60 | (number >> 24 & 3) << 1
    head = sync_and_number.to_bytes(3, "big") + bytes((WATER_TYPE << 2,))
    head += count.to_bytes(3, "big") + (number & 0xFFFFFF).to_bytes(3, "big")
    return head + crc16(head[2:], 0x6F63).to_bytes(2, "big")


def wireless_mbus(number: str, litres: int) -> bytes:
    """Return the frame of a water meter (EN 13757-4, mode C, format A)."""
    body = bytes.fromhex("44ae4c") + bytes.fromhex(number)[::-1]
    body += bytes.fromhex("68077a000000002f2f0413") + litres.to_bytes(4, "little")
    frame = bytes((len(body),)) + body
    blocks = [frame[:10], *(frame[at : at + 16] for at in range(10, len(frame), 16))]
    checked = (each + (crc16(each, 0x3D65) ^ 0xFFFF).to_bytes(2, "big") for each in blocks)
    return bytes.fromhex("5555543d54cd") + b"".join(checked)


async def hear(protocol: int, frame: bytes) -> bytes:
    """Return the line that the program prints for a frame."""
    program = await asyncio.create_subprocess_exec(
        *("rtl_433", "-c", "0", "-R", str(protocol), "-F", "json", "-M", "time:iso:tz"),
        *("-y", f"{{{8 * len(frame)}}}{frame.hex()}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    said, _ = await program.communicate()
    return said.strip()


class TestAFrame:
    @pytest.mark.parametrize("count", [0, 349_523, 2**24 - 1])
    async def test_of_an_ert_meter_is_its_counter(self, count):
        found = decode(
            PROFILES["rtl_433"], TOPIC, await hear(SCM, scm(41234567, count)), received_at=NOON
        )
        assert [(each.device, each.what, each.value) for each in found] == [
            ("41234567", What.VOLUME, count)
        ]

    async def test_of_a_wireless_water_meter_is_its_volume(self):
        said = await hear(WIRELESS_MBUS, wireless_mbus("71402001", 146_758))
        found = decode(PROFILES["rtl_433"], TOPIC, said, received_at=RECEIVED_AT)
        assert [(each.device, each.what, each.value) for each in found] == [
            ("71402001", What.VOLUME, Decimal("146.758"))
        ]
        assert abs(found[0].taken_at.year - RECEIVED_AT.year) <= 5  # by the clock of the machine

    async def test_after_the_counter_ran_over_goes_on(self, database, gateway, world):
        async with database.transaction() as session:
            await session.execute(
                update(Meter)
                .where(Meter.id == world.home.meters[Service.WATER])
                .values(device="17000321", digits=-24, ceiling=1000)
            )
        for minutes, count in ((0, 2**24 - 20), (60, 2**24), (120, 30)):
            said = json.loads(await hear(SCM, scm(17000321, count % 2**24)))
            said["time"] = (NOON - timedelta(hours=3) + timedelta(minutes=minutes)).isoformat()
            message = Message(TOPIC, json.dumps(said).encode(), NOON)
            await store_messages(
                database,
                [Batch(gateway.key, PROFILES["rtl_433"], [message])],
                now=NOON,
                after_alarms=None,
            )
        async with database.transaction() as session:
            found = list(await session.scalars(select(Reading).order_by(Reading.taken_at)))
        assert [(int(each.value), str(each.status)) for each in found] == [
            (2**24 - 20, "accepted"),
            (0, "accepted"),
            (30, "accepted"),
        ]
        assert advance(found[0].value, found[2].value, digits=-24) == 50

    async def test_with_a_wrong_bit_is_nothing(self):
        frame = bytearray(scm(41234567, 349_523))
        frame[5] ^= 1
        assert await hear(SCM, bytes(frame)) == b""

"""Messages of a gateway on their way into the tables."""

import asyncio
from collections import Counter
from decimal import Decimal

import pytest
from sqlalchemy import select, text, update

from bot.gateway.intake import Batch, Message, store_messages
from core.accounts.models import Service, ServicePoint, Supply
from core.monitoring.feeds import hold_meter
from core.monitoring.gateway_models import Quarantined
from core.monitoring.models import Meter, Reading, Sample, Watch
from core.monitoring.ranges import find_meters
from tests.gateway.shelves import PROFILES, as_bytes
from tests.world import NOON

# A database that refuses a value for a reason nobody has thought of.
REFUSING = """
CREATE FUNCTION refuse_number() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF NEW.value = 666 THEN RAISE 'no'; END IF; RETURN NEW; END $$;
CREATE TRIGGER refuse_number BEFORE INSERT ON shuidian.readings
    FOR EACH ROW EXECUTE FUNCTION refuse_number()
"""
AGAIN = "2026-11-02T03:10:00Z"
LATER = "2026-11-02T03:00:00Z"


@pytest.fixture
def told():
    return []


@pytest.fixture
def send(database, gateway, told):
    async def after_alarms(_session, alarm_ids):
        told.extend(alarm_ids)

    async def send(profile, *messages, key=gateway.key):
        batch = [Message(topic, as_bytes(payload), NOON) for topic, payload in messages]
        receipts = await store_messages(
            database,
            [Batch(key, PROFILES[profile], batch)],
            now=NOON,
            after_alarms=after_alarms,
        )
        total = Counter()
        for receipt in receipts:
            total.update(
                accepted=receipt.accepted,
                duplicate=receipt.duplicate,
                held=receipt.held,
                rejected=len(receipt.rejected),
            )
        return +total

    return send


async def all_of(database, what):
    async with database.transaction() as session:
        return list(await session.scalars(select(what)))


def water(device="W-10001", value="12.345", at=LATER, **more):
    payload = {"media": "water", "total_m3": Decimal(value), "timestamp": at}
    return f"wmbusmeters/{device}", payload | more


class TestAMessage:
    async def test_is_stored_exactly_and_only_once(self, send, database, world):
        assert await send("wmbusmeters", water()) == {"accepted": 1}
        assert await send("wmbusmeters", water()) == {"duplicate": 1}
        (reading,) = await all_of(database, Reading)
        assert (reading.meter_id, reading.register, reading.value) == (
            world.home.meters[Service.WATER],
            "total",
            Decimal("12.345"),
        )

    async def test_finds_the_meter_by_what_the_gateway_calls_it(self, send, database, world):
        plug = ("zigbee2mqtt/plug", {"energy": 5, "voltage": 229, "state": "ON"})
        assert await send("zigbee2mqtt", plug) == {"accepted": 2}
        (sample,) = await all_of(database, Sample)
        assert sample.meter_id == world.home.meters[Service.ELECTRICITY]

    async def test_of_an_unknown_or_foreign_meter_is_kept_with_the_reason(self, send, database):
        assert await send("wmbusmeters", water("W-10002"), water("nobody")) == {"rejected": 2}
        reasons = [kept.reason for kept in await all_of(database, Quarantined)]
        assert sorted(reasons) == ["not_your_meter", "unknown_meter"]

    async def test_of_the_other_service_is_refused(self, send, database):
        energy = ("zigbee2mqtt/W-10001", {"energy": 5})
        assert await send("zigbee2mqtt", energy) == {"rejected": 1}
        assert [kept.reason for kept in await all_of(database, Quarantined)] == ["wrong_service"]

    async def test_that_is_bad_stops_none_of_the_others(self, send, database):
        sent = await send(
            "wmbusmeters",
            water(),
            ("wmbusmeters/x", "{"),
            water(value="-1"),
            ("wmbusmeters/x", "\0"),
            water("\u202e"),
            water(at="1111-11-11T11:11:11Z"),
            water(at="2026-11-02T03:10:00Z", value="12.5"),
        )
        assert sent == {"accepted": 2, "rejected": 5}
        reasons = Counter(kept.reason for kept in await all_of(database, Quarantined))
        assert reasons == {"not_json": 2, "impossible": 1, "no_meter": 1, "too_old": 1}

    async def test_that_the_database_refuses_is_kept_alone(self, send, database):
        async with database.transaction() as session:
            for statement in REFUSING.split(";\nCREATE"):
                created = statement if "CREATE FUNC" in statement else f"CREATE{statement}"
                await session.execute(text(created))
        try:
            sent = await send(
                "wmbusmeters", water(value="13"), water(value="666", at=AGAIN), water("nobody")
            )
        finally:
            async with database.transaction() as session:
                await session.execute(text("DROP FUNCTION refuse_number CASCADE"))
        assert sent == {"accepted": 1, "rejected": 2}
        reasons = Counter(kept.reason for kept in await all_of(database, Quarantined))
        assert reasons == {"not_storable": 1, "unknown_meter": 1}

    async def test_with_three_phases_has_the_voltage_of_the_worst(self, send, database):
        phases = {f"voltage_at_phase_{n}_v": v for n, v in ((1, 231), (2, 190), (3, 236))}
        payload = {"media": "electricity", "timestamp": LATER} | phases
        assert await send("wmbusmeters", ("wmbusmeters/plug", payload)) == {"accepted": 1}
        assert [sample.value for sample in await all_of(database, Sample)] == [190]

    async def test_raises_the_alarm(self, send, told):
        await send(
            "wmbusmeters",
            *(
                (
                    "wmbusmeters/plug",
                    {
                        "media": "electricity",
                        "voltage_at_phase_1_v": 180,
                        "timestamp": f"2026-11-02T03:{minute}:00Z",
                    },
                )
                for minute in (10, 20, 30, 40)
            ),
        )
        assert len(told) == 1

    async def test_tells_what_a_switch_is_by_its_polarity(self, send, database, world):
        await send(
            "zigbee2mqtt",
            ("zigbee2mqtt/plug", {"state": "OFF"}),
            ("zigbee2mqtt/W-10001", {"state": "ON", "current_device_status": "normal_state"}),
        )
        async with database.transaction() as session:
            points = world.home.points
            electricity = await session.get(ServicePoint, points[Service.ELECTRICITY])
            water = await session.get(ServicePoint, points[Service.WATER])
            assert (electricity.supply, water.supply) == (Supply.CUT, Supply.CONNECTED)

    @pytest.mark.parametrize(("state", "watched"), [("OFF", 0), ("ON", 1)])
    async def test_of_a_voltage_of_nothing_accuses_the_supply_only_behind_a_closed_relay(
        self, send, database, state, watched
    ):
        await send("zigbee2mqtt", ("zigbee2mqtt/plug", {"state": state, "voltage": 0}))
        assert len(await all_of(database, Sample)) == 1
        assert len(await all_of(database, Watch)) == watched

    async def test_of_a_relay_that_opens_forgets_what_came_before_its_word(self, send, database):
        await send("zigbee2mqtt", ("zigbee2mqtt/plug", {"voltage": 0}))
        assert len(await all_of(database, Watch)) == 1
        await send("zigbee2mqtt", ("zigbee2mqtt/plug", {"state": "OFF"}))
        assert await all_of(database, Watch) == []

    async def test_of_a_switch_and_a_person_at_the_meter_wait_for_each_other(
        self, send, database, world
    ):
        meter_id = world.home.meters[Service.ELECTRICITY]
        async with database.transaction() as session:
            (meter,) = await find_meters(session, Meter.id == meter_id)
            await hold_meter(session, meter)
            said = {"state": "OFF", "energy": 12}
            sending = asyncio.create_task(send("zigbee2mqtt", ("zigbee2mqtt/plug", said)))
            await asyncio.sleep(0.3)
            # What counts for all is renewed by this, which the switch's report does too.
            await session.execute(update(Meter).where(Meter.id == meter_id).values(ceiling=50))
        assert await sending == {"accepted": 1}

    async def test_of_a_relay_that_switches_nothing_of_ours_is_no_cut(self, send, database, world):
        async with database.transaction() as session:
            await session.execute(update(Meter).values(switchable=False))
        await send("zigbee2mqtt", ("zigbee2mqtt/plug", {"state": "OFF"}))
        async with database.transaction() as session:
            point = await session.get(ServicePoint, world.home.points[Service.ELECTRICITY])
            assert point.supply is Supply.CONNECTED

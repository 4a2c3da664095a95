"""Supply commands over MQTT, with a real mosquitto and a device at the other end of it."""

import asyncio
import contextlib
import json
from datetime import timedelta

import aiomqtt
import pytest
from aiomqtt import ProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from sqlalchemy import update

from benchmarks.mqtt import MOSQUITTO, PASSWORD
from bot.gateway import mqtt, switching
from bot.gateway.speakers import Speaker
from bot.gateway.switching import find_lasting, write_command
from core.accounts.models import ApiKey, Service, Supply
from core.monitoring.models import Meter
from core.supply.commands import Command
from tests.gateway.conftest import run_listener
from tests.gateway.shelves import PROFILES
from tests.supply.conftest import power  # noqa: F401 (a fixture)
from tests.world import NOON

needs_broker = pytest.mark.skipif(
    MOSQUITTO is None, reason="mosquitto is not installed: NO command over MQTT is tested"
)


def command(**told):
    usual = {
        "number": "S1001",
        "meter": "E-10001",
        "address": "plug",
        "service": Service.ELECTRICITY,
        "wanted": Supply.CUT,
        "nonce": "n",
        "valid_until": NOON + timedelta(hours=1),
    }
    return Command(**usual | told)


def written(profile, *, prefix="", **told):
    return write_command(Speaker(1, "cellar", PROFILES[profile], prefix), command(**told))


CONNECT = {"wanted": Supply.CONNECTED, "valid_until": None}


class TestWriteCommand:
    @pytest.mark.parametrize(
        ("profile", "address", "topic", "cut", "connect"),
        [
            ("tasmota", "plug", "cmnd/plug/POWER", "OFF", "ON"),
            ("tasmota", "plug/2", "cmnd/plug/POWER2", "OFF", "ON"),
            ("shelly_gen1", "s1", "shellies/s1/relay/0/command", "off", "on"),
            ("shelly_gen1", "s1/1", "shellies/s1/relay/1/command", "off", "on"),
            ("zigbee2mqtt", "plug", "zigbee2mqtt/plug/set", {"state": "OFF"}, {"state": "ON"}),
            ("esphome", "node", "node/switch/supply/command", "OFF", "ON"),
        ],
    )
    def test_says_what_the_maker_wants_to_hear(self, profile, address, topic, cut, connect):
        for said, told in ((cut, {}), (connect, CONNECT)):
            found = written(profile, address=address, **told)
            assert found == (topic, said if isinstance(said, str) else json.dumps(said))

    @pytest.mark.parametrize(("address", "channel"), [("shelly-1", 0), ("shelly-1/1", 1)])
    def test_switches_only_the_channel_of_the_meter(self, address, channel):
        topic, payload = written("shelly_gen2", address=address)
        assert topic == "shelly-1/rpc"
        said = json.loads(payload)
        assert (said["method"], said["params"]) == ("Switch.Set", {"id": channel, "on": False})

    def test_is_a_request_to_a_thingsboard_gateway_below_its_own_topics(self):
        topic, payload = written("thingsboard", prefix="gateways/cellar/", **CONNECT)
        assert topic == "gateways/cellar/v1/gateway/rpc"
        said = json.loads(payload)
        assert (said["device"], said["data"]["method"], said["data"]["params"]) == (
            "plug",
            "relay",
            True,
        )
        assert written("thingsboard", prefix="gateways/cellar/", **CONNECT)[1] == payload

    def test_opens_and_closes_the_valve_of_a_water_meter(self):
        assert written("esphome", service=Service.WATER) == ("plug/valve/supply/command", "CLOSE")

    @pytest.mark.parametrize(
        ("profile", "told"),
        [
            ("tasmota", {"service": Service.WATER}),
            ("wmbusmeters", {}),
            ("zigbee2mqtt", {"address": "plug/1"}),
            ("zigbee2mqtt", {"address": "+"}),
            ("zigbee2mqtt", {"address": "#"}),
            ("thingsboard", {"address": 'x", "data": "'}),
            ("tasmota", {"address": "plug/1/2"}),
            ("tasmota", {"address": "/1"}),
        ],
    )
    def test_writes_nothing_that_would_reach_another_device(self, profile, told):
        with pytest.raises(LookupError):
            written(profile, **told)


class TestFindLasting:
    def test_ends_when_the_command_is_sent_again(self):
        assert find_lasting(command(), now=NOON) == timedelta(minutes=1)
        assert find_lasting(command(service=Service.WATER), now=NOON) == timedelta(minutes=10)
        assert find_lasting(command(**CONNECT), now=NOON) == timedelta(minutes=1)

    def test_of_a_cut_never_goes_beyond_its_end(self):
        until = NOON + timedelta(seconds=20)
        assert find_lasting(command(valid_until=until), now=NOON) == timedelta(seconds=20)
        assert find_lasting(command(valid_until=NOON), now=NOON) <= timedelta(0)


@pytest.fixture
def own(monkeypatch):
    monkeypatch.setattr(mqtt, "LOOK_SECONDS", 0.1)


@pytest.fixture
async def sold(power):  # noqa: F811 (the fixture)
    """A home that does not pay, whose gateway is a Zigbee2MQTT with topics of its own."""
    await power.until_approved()
    power.wait(minutes=31)
    async with power.database.transaction() as session:
        await session.execute(
            update(ApiKey)
            .where(ApiKey.id == power.gateway)
            .values(profile="zigbee2mqtt", below="gateways/cellar")
        )
        await session.execute(
            update(Meter)
            .where(Meter.serial == power.serial)
            .values(device="plug", gateway_id=power.gateway)
        )
    return power


class Plug:
    """A relay behind the broker, which hears commands and says how it stands."""

    def __init__(self, client):
        self.client = client
        self.heard: list[aiomqtt.Message] = []

    async def hear(self):
        async with asyncio.timeout(20):
            self.heard.append(await anext(self.client.messages))
        return json.loads(self.heard[-1].payload)["state"]

    async def say(self, state, **options):
        await self.client.publish(
            "gateways/cellar/zigbee2mqtt/plug", json.dumps({"state": state}), qos=1, **options
        )


@contextlib.asynccontextmanager
async def plugged(broker, **options):
    async with aiomqtt.Client(
        "127.0.0.1",
        broker.port,
        username="shuidian",
        password=PASSWORD,
        protocol=ProtocolVersion.V5,
        **options,
    ) as client:
        await client.subscribe("gateways/cellar/zigbee2mqtt/plug/set", qos=1)
        yield Plug(client)


def lasting():
    """Return the options of a client for which the broker keeps what comes while it is away."""
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 600
    return {"identifier": "plug", "clean_start": False, "properties": properties}


def listening(debt, broker):
    return run_listener(debt.database, broker.url, now=debt.now)


async def reach(debt, *states):
    """Wait until the orders are in these states."""
    async with asyncio.timeout(20):
        while [state for *_, state in await debt.orders()] != list(states):  # noqa: ASYNC110 (another task)
            await asyncio.sleep(0.02)


@needs_broker
@pytest.mark.usefixtures("own")
class TestACommandOverMQTT:
    async def test_is_accepted_by_the_broker_and_confirmed_by_the_device_alone(self, sold, broker):
        async with plugged(broker) as plug, listening(sold, broker):
            assert await plug.hear() == "OFF"
            await reach(sold, "accepted")
            await plug.say("ON")
            await asyncio.sleep(0.3)
            assert (await sold.orders())[0][2] == "accepted"
            await plug.say("OFF")
            await reach(sold, "confirmed")
            assert await sold.supply() == "cut"
            assert plug.heard[0].retain is False

    async def test_to_restore_comes_after_the_payment(self, sold, broker):
        async with plugged(broker) as plug, listening(sold, broker):
            await plug.hear()
            await plug.say("OFF")
            await reach(sold, "confirmed")
            sold.wait(minutes=5)
            await sold.pay(56_53)
            assert await plug.hear() == "ON"
            await plug.say("ON")
            await reach(sold, "confirmed", "confirmed")
            assert await sold.supply() == "connected"

    async def test_that_was_published_by_one_who_died_is_the_same_one_again(
        self, sold, broker, monkeypatch
    ):
        async def die(*_args, **_options):
            raise ConnectionResetError

        async def until_the_listener_died():
            async with listening(sold, broker) as (_, task):
                assert await plug.hear() == "OFF"
                await asyncio.wait([task], timeout=20)

        async with plugged(broker) as plug:
            with monkeypatch.context() as patched:
                patched.setattr(switching, "accept_command", die)
                with pytest.raises(ExceptionGroup):
                    await until_the_listener_died()
            assert (await sold.orders())[0][2] == "sent"
            async with listening(sold, broker):
                await asyncio.sleep(0.5)  # too soon for another
            sold.wait(minutes=2)
            async with listening(sold, broker):
                assert await plug.hear() == "OFF"
                await plug.say("OFF")
                await reach(sold, "confirmed")

    async def test_to_cut_does_not_wait_in_the_broker_for_a_device_beyond_its_end(
        self, sold, broker, monkeypatch
    ):
        monkeypatch.setattr(switching, "find_lasting", lambda *_a, **_o: timedelta(seconds=1))
        options = lasting()
        async with plugged(broker, **options):
            pass
        async with listening(sold, broker):
            await reach(sold, "accepted")
        await asyncio.sleep(2.5)
        async with plugged(broker, **options) as plug:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await plug.hear()

    async def test_is_not_sent_once_it_is_over(self, sold, broker):
        sold.wait(hours=24)
        async with plugged(broker) as plug, listening(sold, broker):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await plug.hear()

    async def test_is_sent_only_when_all_is_known_that_was_said_before(self, sold, broker):
        absent = lasting() | {"identifier": "shuidian"}
        async with plugged(broker, **absent) as listener:
            await listener.client.subscribe("gateways/cellar/zigbee2mqtt/+", qos=1)
        async with plugged(broker) as plug:
            for _ in range(1200):
                await plug.say("OFF")
            await plug.say("ON")
            async with listening(sold, broker):
                # It was off by itself, so somebody has to look at the switch first.
                await reach(sold, "cancelled")
                assert len(plug.client.messages) == 0

"""ThingsBoard's gateway as our driver: its own topics, told apart by the broker."""

import asyncio
import json

import aiomqtt
import pytest
from sqlalchemy import select, update

from benchmarks.mqtt import MOSQUITTO, PASSWORD, SHIPPED, Broker
from core.accounts.models import ApiKey
from core.monitoring.gateway_models import Quarantined
from core.monitoring.models import Reading
from tests.gateway.test_switching import listening, own, reach, sold  # noqa: F401 (fixtures)
from tests.supply.conftest import power  # noqa: F401 (a fixture)

pytestmark = [
    pytest.mark.skipif(
        MOSQUITTO is None, reason="mosquitto is not installed: NO ThingsBoard gateway is tested"
    ),
    pytest.mark.usefixtures("own"),
]


@pytest.fixture
async def house(sold):  # noqa: F811 (the fixture)
    async with sold.database.transaction() as session:
        await session.execute(
            update(ApiKey).where(ApiKey.id == sold.gateway).values(profile="thingsboard")
        )
    return sold


@pytest.fixture
async def site(broker, tmp_path):
    """The broker beside the gateway, as shipped, but for where the other one is."""
    local = Broker(tmp_path)
    local.configure(
        SHIPPED.with_name("mosquitto-site.conf"),
        {
            "listener": f"{local.port} 127.0.0.1",
            "persistence_location": f"{tmp_path}/",
            "address": f"127.0.0.1:{broker.port}",
            "bridge_cafile": "",
            "remote_password": PASSWORD,
        },
    )
    await local.start()
    yield local
    await local.stop()


def driver(site):
    """Return a client as ThingsBoard's gateway is one: a token, and no idea of any prefix."""
    return aiomqtt.Client("127.0.0.1", site.port, username="A1_TOKEN")


async def hear(client):
    async with asyncio.timeout(20):
        message = await anext(client.messages)
    return message.topic.value, json.loads(message.payload)


async def ask_limits(client):
    """Ask what the real one asks before it sends anything."""
    await client.subscribe("v1/devices/me/rpc/response/+", qos=1)
    question = {"method": "getSessionLimits", "params": {"timeout": 5000}}
    async with asyncio.timeout(20):
        while True:
            await client.publish("v1/devices/me/rpc/request/1", json.dumps(question), qos=1)
            try:
                async with asyncio.timeout(0.5):
                    message = await anext(client.messages)
            except TimeoutError:
                continue  # nobody listened yet
            return message.topic.value, json.loads(message.payload)


def telemetry(at, **values):
    said = {"plug": [{"ts": int(at.timestamp() * 1000), "values": values}]}
    return "v1/gateway/telemetry", json.dumps(said)


class TestThingsBoardsGateway:
    async def test_is_told_its_limits_and_brings_readings(self, house, broker, site):
        async with driver(site) as client, listening(house, broker):
            topic, limits = await ask_limits(client)
            assert topic == "v1/devices/me/rpc/response/1"
            assert limits["rateLimits"] == {}
            await client.publish("v1/gateway/connect", '{"device": "plug"}', qos=1)
            await client.publish("v1/gateway/attributes", '{"plug": {"mark": "x"}}', qos=1)
            await client.publish(*telemetry(house.now, total_kwh=2500.5), qos=1)
            await client.publish("v1/gateway/disconnect", '{"device": "plug"}', qos=1)
            async with asyncio.timeout(20):
                while await self.newest(house.database) != "2500.5":  # noqa: ASYNC110 (another task)
                    await asyncio.sleep(0.05)
        async with house.database.transaction() as session:
            assert list(await session.scalars(select(Quarantined))) == []

    async def newest(self, database):
        async with database.transaction() as session:
            return str(
                await session.scalar(
                    select(Reading.value).order_by(Reading.received_at.desc()).limit(1)
                )
            )

    async def test_carries_a_cut_out_and_its_answer_confirms_nothing(self, house, broker, site):
        async with driver(site) as client:
            await client.subscribe("v1/gateway/rpc", qos=1)
            async with listening(house, broker):
                topic, said = await hear(client)
                assert (topic, said["device"]) == ("v1/gateway/rpc", "plug")
                assert (said["data"]["method"], said["data"]["params"]) == ("relay", False)
                answer = {"device": "plug", "id": said["data"]["id"], "data": '{"success": true}'}
                await client.unsubscribe("v1/gateway/rpc")
                await client.publish("v1/gateway/rpc", json.dumps(answer), qos=1)
                await reach(house, "accepted")
                await client.publish(*telemetry(house.now, relay=False), qos=1)
                await asyncio.sleep(0.5)
                assert (await house.orders())[0][2] == "accepted"  # that was before the command
                house.wait(minutes=1)
                await client.publish(*telemetry(house.now, relay=False), qos=1)
                await reach(house, "confirmed")
        async with house.database.transaction() as session:
            assert list(await session.scalars(select(Quarantined))) == []

    async def test_cannot_speak_for_another_one(self, house, broker, site):
        async with listening(house, broker):
            async with driver(site) as client:
                await ask_limits(client)
            topic, payload = telemetry(house.now, total_kwh=2600)
            async with aiomqtt.Client(
                "127.0.0.1",
                broker.port,
                username="annex",
                password=PASSWORD,
                protocol=aiomqtt.ProtocolVersion.V5,
            ) as client:
                await client.publish(f"gateways/cellar/{topic}", payload, qos=1)
            await asyncio.sleep(0.5)
        assert await self.newest(house.database) != "2600"

"""A real mosquitto with the shipped configuration: nothing is lost, whoever dies."""

import asyncio
import contextlib
import json

import aiomqtt
import pytest
from paho.mqtt.client import Client
from sqlalchemy import select, text, update

from benchmarks.mqtt import MOSQUITTO, PASSWORD, flood, running_broker
from bot.gateway import mqtt
from bot.gateway.mqtt import Listener
from core.accounts.models import ApiKey
from core.monitoring.gateway_models import Quarantined
from core.monitoring.models import Reading
from tests.gateway.conftest import run_listener
from tests.world import NOON

pytestmark = pytest.mark.skipif(
    MOSQUITTO is None, reason="mosquitto is not installed: NOTHING over MQTT is tested"
)
VALUES = "SELECT value FROM shuidian.readings ORDER BY taken_at, value"


@pytest.fixture
async def speak(broker):
    async with aiomqtt.Client(
        "127.0.0.1", broker.port, username="shuidian", password=PASSWORD
    ) as client:

        async def speak(topic, payload, **options):
            body = payload if isinstance(payload, bytes) else json.dumps(payload)
            await client.publish(topic, body, qos=1, **options)

        yield speak


@pytest.fixture
def listening(database, broker, gateway, monkeypatch):
    """Start listeners for a while; the meters are those of `gateway`."""
    assert gateway.token
    monkeypatch.setattr(mqtt, "LOOK_SECONDS", 0.1)

    def listening(url=broker.url):
        return run_listener(database, url, now=NOON)

    return listening


async def until(check):
    """Wait for what another task or process does."""
    async with asyncio.timeout(20):
        while not await check():  # noqa: ASYNC110 (what a broker passes on tells no event)
            await asyncio.sleep(0.02)


async def wait_for(database, count, what=Reading):
    async def is_there():
        async with database.transaction() as session:
            return len(list(await session.scalars(select(what)))) >= count

    await until(is_there)


async def wait_for_values(database, expected):
    async def are_there():
        return await values(database) == expected

    await until(are_there)


async def first_heard(database, speak):
    """Speak until somebody listens; before, a message is nobody's."""
    async with asyncio.timeout(20):
        while True:
            await speak("zigbee2mqtt/plug", {"energy": 1})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await wait_for(database, 1)
                    return


async def values(database):
    async with database.transaction() as session:
        return [int(value) for value in await session.scalars(text(VALUES)) if value != 1]


class TestAListener:
    async def test_goes_on_after_a_bad_message_and_keeps_it_with_its_reason(
        self, database, listening, speak
    ):
        async with listening():
            await first_heard(database, speak)
            for payload in (b"{", {"energy": 2}, b"\xff\0", {"energy": -1}, {"energy": 3}):
                await speak("zigbee2mqtt/plug", payload)
            await wait_for(database, 3, Quarantined)
            await wait_for_values(database, [2, 3])

    async def test_takes_what_was_said_while_it_was_away(self, database, listening, speak, broker):
        async with listening():
            await first_heard(database, speak)
        for energy in (2, 3, 4):
            await speak("zigbee2mqtt/plug", {"energy": energy})
        await broker.stop()
        await broker.start()
        async with listening():
            await wait_for_values(database, [2, 3, 4])

    async def test_acknowledges_nothing_that_was_not_committed(self, database, listening, speak):
        refused = asyncio.Event()

        async def lose(_self, _messages):
            refused.set()
            raise ConnectionError

        with pytest.raises(ExceptionGroup) as ended:
            await self.hear_and_lose(
                database, speak, listening=listening, refused=refused, lose=lose
            )
        assert ended.group_contains(ConnectionError)
        assert await values(database) == []
        async with listening():
            await wait_for_values(database, [2])

    async def hear_and_lose(self, database, speak, *, listening, refused, lose):
        async with listening():
            await first_heard(database, speak)
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(Listener, "store", lose)
                await speak("zigbee2mqtt/plug", {"energy": 2})
                await asyncio.wait_for(refused.wait(), 10)
                await asyncio.sleep(0.1)  # the failure ends the listener

    async def test_takes_once_what_came_again_because_it_was_not_acknowledged(
        self, database, listening, speak, monkeypatch
    ):
        async with listening():
            await first_heard(database, speak)
            with monkeypatch.context() as patched:
                patched.setattr(Client, "ack", lambda *_: None)
                for energy in (2, 3, 3):
                    await speak("zigbee2mqtt/plug", {"energy": energy})
                    await asyncio.sleep(0.1)
                await wait_for_values(database, [2, 3, 3])
        async with listening():
            for _ in range(2):
                await speak("zigbee2mqtt/plug", {"energy": 4})
                await asyncio.sleep(0.1)
            await wait_for(database, 6)
        assert sorted(await values(database)) == [2, 3, 3, 4, 4]

    async def test_does_not_take_what_the_broker_had_kept(self, database, listening, speak):
        await speak("zigbee2mqtt/plug", {"energy": 9}, retain=True)
        async with listening():
            await first_heard(database, speak)
            await speak("zigbee2mqtt/plug", {"energy": 2})
            await wait_for(database, 2)
        assert await values(database) == [2]

    async def test_waits_while_another_one_listens_and_takes_its_place(
        self, database, listening, speak
    ):
        async with listening() as (first, _):
            await first_heard(database, speak)
            async with listening() as (second, _):
                await asyncio.sleep(0.3)
                assert (bool(first._speakers), bool(second._speakers)) == (True, False)
        async with listening():
            await speak("zigbee2mqtt/plug", {"energy": 2})
            await wait_for(database, 2)

    async def test_hears_a_gateway_no_more_once_it_is_revoked(self, database, listening, speak):
        async with listening() as (listener, _):
            await first_heard(database, speak)
            async with database.transaction() as session:
                await session.execute(update(ApiKey).values(revoked_at=NOON))

            async def is_gone():
                return not listener._speakers

            await until(is_gone)
            await speak("zigbee2mqtt/plug", {"energy": 2})
            await asyncio.sleep(0.3)
            assert await values(database) == []

    async def test_needs_an_address_it_understands(self, listening):
        with pytest.raises(ValueError, match="mqtt://"):
            async with listening("http://127.0.0.1"):
                pass


@pytest.mark.timeout(300)
async def test_five_thousand_messages_are_stored_once_whoever_dies(database_url, database):
    async with running_broker() as broker:
        await flood(database, database_url=database_url, broker=broker, messages=5000, kills=2)

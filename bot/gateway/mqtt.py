"""
The MQTT side: one client whose messages are acknowledged only after they were committed.

One process listens and others wait to take its place, under one name. Shared subscriptions would
spread the work, but mosquitto 2.0 forgets them when it restarts, and with them every message that
comes before the first listener is back.
"""

import asyncio
import ssl
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import zip_longest
from typing import Final
from urllib.parse import unquote, urlsplit

import aiomqtt
import psycopg
import structlog
from aiomqtt import ProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from sqlalchemy import select

from bot.clock import Clock
from bot.gateway.intake import BATCH_MAX, AfterAlarms, Batch, Message, store_messages
from bot.gateway.profile import Profile
from core.accounts.models import ApiKey
from core.db import Database

log = structlog.get_logger()

LISTENING: Final = "SELECT pg_advisory_lock(hashtextextended('shuidian.mqtt', 0))"
PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
SESSION_SECONDS: Final = int(timedelta(days=7).total_seconds())
# So many may be on their way to us unacknowledged, and no more are kept in memory.
UNACKNOWLEDGED_MAX: Final = 1000
MESSAGE_BYTES_MAX: Final = 65_536
GATHER_SECONDS: Final = 0.03
LOOK_SECONDS: Final = 5
PAUSE_SECONDS_MAX: Final = 30
# What a broker has kept was measured long ago, and without a clock it would count as of today.
NOTHING_RETAINED: Final = SubscribeOptions(
    qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND
)


class Listener:
    """Subscribes to the topics of every gateway that has a profile, and stores what comes."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        url: str,
        client_id: str,
        profiles: Mapping[str, Profile],
        after_alarms: AfterAlarms,
    ) -> None:
        self._database = database
        self._clock = clock
        self._url = urlsplit(url)
        self._client_id = client_id
        self._profiles = profiles
        self._after_alarms = after_alarms
        self._gateways: dict[str, int] = {}
        if self._url.scheme not in PORTS or not self._url.hostname:
            raise ValueError("SHUIDIAN_MQTT_URL is mqtt://… or mqtts://…")

    async def run(self) -> None:
        """Listen whenever no other process does; connect again when the broker was lost."""
        pause = 1
        url = self._database.engine.url.set(drivername="postgresql")
        while True:
            async with await psycopg.AsyncConnection.connect(
                url.render_as_string(hide_password=False), autocommit=True
            ) as lock:
                await lock.execute(LISTENING)
                try:
                    async with self._make_client() as client, asyncio.TaskGroup() as tasks:
                        pause = 1
                        tasks.create_task(self._keep_subscribed(client))
                        tasks.create_task(self._take(client))
                except* aiomqtt.MqttError as lost:
                    log.warning("mqtt.lost", problem=str(lost.exceptions[0]), pause=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)

    def _make_client(self) -> aiomqtt.Client:
        url = self._url
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
        properties.SessionExpiryInterval = SESSION_SECONDS
        properties.ReceiveMaximum = UNACKNOWLEDGED_MAX
        properties.MaximumPacketSize = MESSAGE_BYTES_MAX
        client = aiomqtt.Client(
            url.hostname or "",
            url.port or PORTS[url.scheme],
            username=unquote(url.username) if url.username else None,
            password=unquote(url.password) if url.password else None,
            identifier=self._client_id,
            protocol=ProtocolVersion.V5,
            clean_start=False,
            properties=properties,
            tls_context=ssl.create_default_context() if url.scheme == "mqtts" else None,
        )
        # By itself the library acknowledges what it has only received.
        client._client.manual_ack_set(on=True)  # noqa: SLF001 (version 2 has no public way)
        return client

    async def _keep_subscribed(self, client: aiomqtt.Client) -> None:
        """Follow the credentials: a new gateway is heard, a revoked one no more."""
        subscribed: set[str] = set()
        while True:
            self._gateways = await self._find_gateways()
            wanted = widest(
                subscription
                for name in self._gateways
                for subscription in self._profiles[name].subscriptions
            )
            for subscription in sorted(wanted - subscribed):
                await client.subscribe(subscription, options=NOTHING_RETAINED)
            for subscription in sorted(subscribed - wanted):
                await client.unsubscribe(subscription)
            if wanted != subscribed:
                log.info("mqtt.subscribed", gateways=sorted(self._gateways), topics=len(wanted))
            subscribed = wanted
            await asyncio.sleep(LOOK_SECONDS)

    async def _find_gateways(self) -> dict[str, int]:
        async with self._database.transaction() as session:
            rows = await session.execute(
                select(ApiKey.profile, ApiKey.id).where(
                    ApiKey.scope == "gateway",
                    ApiKey.profile.in_(self._profiles),
                    ApiKey.revoked_at.is_(None),
                )
            )
            return {profile: key_id for profile, key_id in rows if profile is not None}

    async def _take(self, client: aiomqtt.Client) -> None:
        messages = client.messages
        async for first in messages:
            await asyncio.sleep(GATHER_SECONDS)
            batch = [first]
            while len(messages) and len(batch) < BATCH_MAX:
                batch.append(await anext(messages))
            await self.store(batch)
            for message in batch:
                client._client.ack(message.mid, message.qos)  # noqa: SLF001 (the same)

    async def store(self, messages: Sequence[aiomqtt.Message]) -> None:
        """Commit messages, each for the gateway whose profile knows its topic."""
        now = self._clock.now()
        batches: dict[str, Batch] = {}
        for number, message in enumerate(messages):
            topic = message.topic.value
            name = next((n for n in self._gateways if self._profiles[n].knows(topic)), None)
            if name is None:
                continue  # a neighbour of what was asked for: filters know only whole levels
            batch = batches.setdefault(name, Batch(self._gateways[name], self._profiles[name], []))
            # They came one after the other; those without a clock must not meet in a moment.
            came_at = now + timedelta(microseconds=number)
            payload = message.payload if isinstance(message.payload, bytes) else b""
            batch.messages.append(Message(topic, payload, came_at))
        await store_messages(
            self._database, list(batches.values()), now=now, after_alarms=self._after_alarms
        )


def widest(subscriptions: Iterable[str]) -> set[str]:
    """Leave out what another one covers: a message comes once for each one that it matches."""
    every = set(subscriptions)
    return {each for each in every if not any(_covers(other, each) for other in every - {each})}


def _covers(wide: str, narrow: str) -> bool:
    levels = list(zip_longest(wide.split("/"), narrow.split("/")))
    return all(a == b or (a == "+" and b is not None) for a, b in levels)

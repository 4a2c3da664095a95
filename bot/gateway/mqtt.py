"""
The MQTT side: one client whose messages are acknowledged only after they were committed.

Commands go out on the same connection, once everything has come that the broker had kept for us:
a state without a clock counts as of its arrival, and an old one would confirm what it never saw.

One process listens and others wait to take its place, under one name. Shared subscriptions would
spread the work, but mosquitto 2.0 forgets them when it restarts, and with them every message that
comes before the first listener is back.
"""

import asyncio
import secrets
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final
from urllib.parse import unquote, urlsplit

import aiomqtt
import psycopg
import structlog
from aiomqtt import ProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from sqlalchemy.ext.asyncio import AsyncSession

from bot.clock import Clock
from bot.gateway.intake import BATCH_MAX, AfterAlarms, Batch, Message, store_messages
from bot.gateway.profile import Profile
from bot.gateway.speakers import Speaker, find_speaker, find_speakers, widest
from bot.gateway.switching import answer, send_commands
from bot.gateway.taken import keep_marks, load_marks, mark_of
from core.db import Database

log = structlog.get_logger()

LISTENING: Final = "SELECT pg_advisory_lock(hashtextextended('shuidian.mqtt', 0))"
PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
SESSION_SECONDS: Final = int(timedelta(days=7).total_seconds())
# So many may be on their way to us unacknowledged, and no more are kept in memory.
UNACKNOWLEDGED_MAX: Final = 1000
MESSAGE_BYTES_MAX: Final = 65_536
GATHER_SECONDS: Final = 0.03
LOOK_SECONDS: Final = 2
PAUSE_SECONDS_MAX: Final = 30
# The broker's answers stand in line behind the messages that waited for us.
ANSWER_SECONDS_MAX: Final = 60
# What a broker has kept was measured long ago, and without a clock it would count as of today.
NOTHING_RETAINED: Final = SubscribeOptions(
    qos=1, noLocal=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND
)
MARK: Final = "shuidian/mark"


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
        self._speakers: list[Speaker] = []
        self._mark, self._is_up_to_date = "", asyncio.Event()
        self._taken: deque[str] = deque()
        self._again: set[str] = set()
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
                    await self._begin()
                    async with self._make_client() as client, asyncio.TaskGroup() as tasks:
                        pause = 1
                        tasks.create_task(self._keep_subscribed(client))
                        tasks.create_task(self._take(client))
                        tasks.create_task(self._send(client))
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
            timeout=ANSWER_SECONDS_MAX,
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
            wanted = widest(each for speaker in self._speakers for each in speaker.subscriptions)
            for subscription in sorted(wanted - subscribed):
                await client.subscribe(subscription, options=NOTHING_RETAINED)
            for subscription in sorted(subscribed - wanted):
                await client.unsubscribe(subscription)
            if wanted != subscribed:
                gateways = [speaker.name for speaker in self._speakers]
                log.info("mqtt.subscribed", gateways=gateways, topics=len(wanted))
            subscribed = wanted
            await asyncio.sleep(LOOK_SECONDS)
            await self._find_speakers()

    async def _begin(self) -> None:
        """Know before the first message comes who may speak, and what may come again."""
        await self._find_speakers()
        async with self._database.transaction() as session:
            marks = await load_marks(session, client_id=self._client_id)
        self._taken = deque(marks, maxlen=UNACKNOWLEDGED_MAX)
        self._again = set(self._taken)

    async def _find_speakers(self) -> None:
        async with self._database.transaction() as session:
            self._speakers = await find_speakers(session, self._profiles)

    async def _send(self, client: aiomqtt.Client) -> None:
        """Send commands from when we are up to date, which a message to ourselves tells."""
        self._mark, self._is_up_to_date = secrets.token_hex(), asyncio.Event()
        topic = f"{MARK}/{self._client_id}"
        await client.subscribe(topic, qos=1)
        await client.publish(topic, self._mark, qos=1)
        await self._is_up_to_date.wait()
        while True:
            for speaker in self._speakers:
                if speaker.profile.commands:
                    await send_commands(self._database, self._clock, client, speaker)
            await asyncio.sleep(LOOK_SECONDS)

    async def _take(self, client: aiomqtt.Client) -> None:
        messages = client.messages
        async for first in messages:
            await asyncio.sleep(GATHER_SECONDS)
            batch = [first]
            while len(messages) and len(batch) < BATCH_MAX:
                batch.append(await anext(messages))
            await answer(client, await self.store(batch))
            for message in batch:
                client._client.ack(message.mid, message.qos)  # noqa: SLF001 (the same)

    async def store(self, messages: Sequence[aiomqtt.Message]) -> list[tuple[Speaker, Message]]:
        """Commit messages, each for the gateway that speaks in its topic; return the questions."""
        now = self._clock.now()
        batches: dict[int, Batch] = {}
        questions: list[tuple[Speaker, Message]] = []
        is_any_new = False
        for number, message in enumerate(messages):
            topic = message.topic.value
            payload = message.payload if isinstance(message.payload, bytes) else b""
            found = find_speaker(self._speakers, topic)
            if found is None:
                continue  # a neighbour of what was asked for: filters know only whole levels
            speaker, topic = found
            if not speaker.profile.has_clock(topic):
                mark = mark_of(mid=message.mid, topic=message.topic.value, payload=payload)
                if mark in self._again:
                    continue
                self._taken.append(mark)
                is_any_new = True
            # They came one after the other; those without a clock must not meet in a moment.
            said = Message(topic, payload, now + timedelta(microseconds=number))
            if speaker.profile.asks(topic):
                questions.append((speaker, said))
                continue
            batch = batches.setdefault(speaker.id, Batch(speaker.id, speaker.profile, []))
            batch.messages.append(said)
        await store_messages(
            self._database,
            list(batches.values()),
            now=now,
            after_alarms=self._after_alarms,
            also=self._keep_taken if is_any_new else None,
        )
        if any(self._mark.encode() == message.payload for message in messages):
            self._again.clear()  # nothing comes again any more, and numbers are used again
            self._is_up_to_date.set()
        return questions

    async def _keep_taken(self, session: AsyncSession) -> None:
        await keep_marks(session, self._taken, client_id=self._client_id)

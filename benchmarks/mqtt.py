"""
A flood over MQTT while things break: how fast it is stored, and that each message is stored once.

A real mosquitto with the configuration we ship, a real worker process that is killed (-9) several
times, and the broker restarted once; messages of wmbusmeters at QoS 1.

    python -m benchmarks.mqtt --messages 100000 --kills 3
"""

import argparse
import asyncio
import contextlib
import getpass
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import aiomqtt
from sqlalchemy import text

from benchmarks.ingest import build, connected, fresh_database
from core.db import Database

PROJECT = Path(__file__).parents[1]
SHIPPED = PROJECT / "deploy" / "mosquitto.conf"
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
PASSWORD = "flood"  # noqa: S105 (of a broker that lives for a minute)
METERS = 50
AT_ONCE = 200
PATIENCE_SECONDS = 300
EXPECTED = """
SELECT count(*), count(DISTINCT (meter_id, taken_at)),
       count(*) FILTER (WHERE status <> 'accepted'), sum(value)
  FROM shuidian.readings
"""


def find_port() -> int:
    """Return a port of the loopback that is free now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class Broker:
    """A mosquitto of our own on a free port of the loopback, configured as shipped."""

    def __init__(self, directory: Path) -> None:
        self.port = find_port()
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None
        self._configuration = directory / "mosquitto.conf"

    @property
    def url(self) -> str:
        """Its address for the service."""
        return f"mqtt://shuidian:{PASSWORD}@127.0.0.1:{self.port}"

    async def prepare(self) -> None:
        """Write the shipped configuration with this machine's port, paths and user."""
        passwords = self._directory / "passwords"
        passwords.touch(mode=0o600)
        for user in ("shuidian", "cellar", "annex"):
            command = ("mosquitto_passwd", "-b", str(passwords), user, PASSWORD)
            assert await (await asyncio.create_subprocess_exec(*command)).wait() == 0
        self.configure(
            SHIPPED,
            {
                "listener": f"{self.port} 127.0.0.1",
                "password_file": str(passwords),
                "acl_file": str(SHIPPED.with_suffix(".acl")),
                "persistence_location": f"{self._directory}/",
            },
        )

    def configure(self, shipped: Path, own: dict[str, str]) -> None:
        """Write a shipped configuration with other values for some lines; none: without it."""
        lines = shipped.read_text(encoding="utf-8")
        for name, value in own.items():
            lines, count = re.subn(rf"(?m)^{name} .*$", f"{name} {value}" * bool(value), lines)
            assert count == 1, name
        self._configuration.write_text(f"{lines}\nuser {getpass.getuser()}\n", encoding="utf-8")

    async def start(self) -> None:
        """Start it and wait until it listens."""
        assert MOSQUITTO is not None
        self._process = await asyncio.create_subprocess_exec(
            *(MOSQUITTO, "-c", str(self._configuration)), stderr=asyncio.subprocess.DEVNULL
        )
        while True:
            assert self._process.returncode is None
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            await self._process.wait()


class Consumer:
    """The service's worker, in a process that can be killed without any mercy."""

    def __init__(self, *, database_url: str, broker: Broker) -> None:
        own = {name: text for name, text in os.environ.items() if not name.startswith("SHUIDIAN_")}
        self._environment = own | {
            "SHUIDIAN_DATABASE_URL": database_url,
            "SHUIDIAN_ROLES": "worker",
            "SHUIDIAN_MQTT_URL": broker.url,
        }
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; it says itself when it listens."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot.cli", "serve"),
            cwd=PROJECT,
            env=self._environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def kill(self) -> None:
        """End it as a lost power supply would."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()


class Flood:
    """The messages: message n is of meter n modulo `METERS`, a minute after its last one."""

    def __init__(self, *, messages: int, start: datetime) -> None:
        self.messages = messages
        self.published = 0
        self._start = start

    def message(self, number: int) -> tuple[str, bytes]:
        """Return topic and payload."""
        turn, meter = divmod(number, METERS)
        name = "total_m3" if (meter + 1) % 2 == 0 else "total_energy_consumption_kwh"
        payload = {
            "media": "water" if name == "total_m3" else "electricity",
            name: 0,
            "timestamp": (self._start + timedelta(minutes=turn)).isoformat(),
        }
        said = json.dumps(payload).replace(": 0,", f": {self.value(number)},")
        return f"wmbusmeters/S{meter + 1}", said.encode()

    def value(self, number: int) -> Decimal:
        """Return the register of a message; each has its own."""
        return 1000 + Decimal(number) / 1000

    async def publish(self, broker: Broker, *, first: int = 0, last: int | None = None) -> None:
        """Publish at QoS 1; what the broker has not acknowledged is published again."""
        end = self.messages if last is None else last
        self.published = first
        while self.published < end:
            try:
                async with aiomqtt.Client(
                    "127.0.0.1",
                    broker.port,
                    username="shuidian",
                    password=PASSWORD,
                    max_inflight_messages=AT_ONCE,
                    timeout=2,
                ) as client:
                    client.pending_calls_threshold = 2 * AT_ONCE
                    while self.published < end:
                        await self._publish_some(client, end=end)
            except* aiomqtt.MqttError:
                await asyncio.sleep(0.2)

    async def _publish_some(self, client: aiomqtt.Client, *, end: int) -> None:
        some = range(self.published, min(end, self.published + AT_ONCE))
        async with asyncio.TaskGroup() as tasks:
            for number in some:
                topic, payload = self.message(number)
                tasks.create_task(client.publish(topic, payload, qos=1))
        self.published = some.stop


async def stored(database: Database) -> int:
    """Return how many readings there are."""
    async with database.transaction() as session:
        found = await session.scalar(text("SELECT count(*) FROM shuidian.readings"))
        return int(found or 0)


async def reach(database: Database, count: int) -> None:
    """Wait until so many readings are stored."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await stored(database) < count:  # noqa: ASYNC110 (another process stores)
            await asyncio.sleep(0.02)


async def flood(
    database: Database, *, database_url: str, broker: Broker, messages: int, kills: int
) -> float:
    """Flood, break what can break, check that all is there once; return the seconds it took."""
    await build(database, meters=METERS, hours=0)
    async with database.transaction() as session:
        await session.execute(text("UPDATE shuidian.api_keys SET profile = 'wmbusmeters'"))
    turns = timedelta(minutes=messages // METERS + 60)
    water = Flood(messages=messages, start=datetime.now(UTC).replace(microsecond=0) - turns)
    consumer = Consumer(database_url=database_url, broker=broker)
    await consumer.start()
    try:
        while not await stored(database):  # until it listens, messages are nobody's
            await water.publish(broker, last=1)
            await asyncio.sleep(0.2)
        began = time.perf_counter()
        publishing = asyncio.create_task(water.publish(broker))
        for kill in range(kills):
            await reach(database, messages * (kill + 1) // (kills + 2))
            await consumer.kill()
            if kill == 0:
                await broker.stop()
                await broker.start()
            await consumer.start()
        await reach(database, messages)
        await publishing
        seconds = time.perf_counter() - began
    finally:
        await consumer.kill()
    async with database.transaction() as session:
        count, keys, unsettled, total = (await session.execute(text(EXPECTED))).one()
        refused = await session.scalar(text("SELECT count(*) FROM shuidian.quarantine"))
    wanted = sum((water.value(number) for number in range(messages)), Decimal(0))
    assert (count, keys, unsettled, total) == (messages, messages, 0, wanted)
    assert refused == 0, refused
    return seconds


@contextlib.asynccontextmanager
async def running_broker() -> AsyncIterator[Broker]:
    """Give a broker in a directory of its own, and take both away afterwards."""
    with tempfile.TemporaryDirectory() as directory:
        broker = Broker(Path(directory))
        await broker.prepare()
        await broker.start()
        try:
            yield broker
        finally:
            await broker.stop()


async def main(database_url: str, *, messages: int, kills: int) -> None:
    """Flood once and print how it went."""
    async with running_broker() as broker, connected(database_url) as database:
        seconds = await flood(
            database, database_url=database_url, broker=broker, messages=messages, kills=kills
        )
        print(
            f"{messages:,} messages stored once in {seconds:.1f} s ({messages / seconds:,.0f}/s),"
            f" with the consumer killed {kills} times and the broker restarted once"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A flood over MQTT while things break.")
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=3)
    options = parser.parse_args()
    with fresh_database() as address:
        asyncio.run(main(address, messages=options.messages, kills=options.kills))

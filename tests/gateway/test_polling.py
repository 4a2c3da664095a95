"""Bridges polled on a real database: readings in time, quarantine, and orders to real relays."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.app import Service
from bot.clock import Clock, ScaledClock, SystemClock
from bot.gateway.wire.polling import Poller, find_pause
from bot.settings import Settings
from core.accounts.models import ApiKey, Supply
from core.accounts.models import Service as Kind
from core.db import Database
from core.monitoring.models import Alarm, Limit
from tests.billing.books import ZONE, ask
from tests.gateway.counterparts import (
    electricity_meter,
    modbus_device,
    silent_bridge,
    water_meter,
)
from tests.gateway.places import describe_bridges, write_bridge, write_file
from tests.supply.debt import OWED, Debt, begin_debt, make_gateway
from tests.world import NOON, World

READINGS = """
    SELECT m.serial, r.value, r.taken_at FROM shuidian.readings r
    JOIN shuidian.meters m ON m.id = r.meter_id WHERE r.source = 'gateway' ORDER BY r.taken_at
"""
QUARANTINE = "SELECT DISTINCT payload ->> 'item' FROM shuidian.quarantine"
ACTS = "SELECT action FROM shuidian.audit_entries WHERE subject LIKE 'supply:%' ORDER BY id"


def clock_at(moment: datetime) -> ScaledClock:
    return ScaledClock(set_at=SystemClock().now(), shown_at=moment)


async def nothing(_session: AsyncSession) -> None:
    """Take up no alarms."""


@contextlib.asynccontextmanager
async def polling(
    database: Database,
    directory: Path,
    *parts: str,
    clock: Clock | None = None,
    after_alarms: Callable[[AsyncSession], Awaitable[None]] = nothing,
) -> AsyncIterator[None]:
    """Poll while the block lasts."""
    poller = Poller(
        database,
        clock or clock_at(NOON),
        bridges=describe_bridges(directory, *parts),
        zone=ZONE,
        after_alarms=after_alarms,
    )
    running = asyncio.create_task(poller.run())
    try:
        yield
    finally:
        assert not running.done(), running
        running.cancel()
        await asyncio.wait({running}, timeout=10)
        assert running.cancelled(), running


async def wait_until(happened: Callable[[], Awaitable[bool]], seconds: float = 40) -> None:
    async with asyncio.timeout(seconds):
        while not await happened():  # noqa: ASYNC110 (what is in the database tells no event)
            await asyncio.sleep(0.05)


async def count(database: Database, sql: str) -> int:
    return len(await ask(database, sql))


class TestPolling:
    async def test_brings_every_protocol_s_readings_in(
        self, database: Database, world: World, tmp_path: Path
    ) -> None:
        meters = world.home.meters
        await make_gateway(database, "cabinet", [meters[Kind.ELECTRICITY]])
        await make_gateway(database, "basement", [meters[Kind.WATER]])
        await make_gateway(database, "neighbour", [world.neighbour.meters[Kind.ELECTRICITY]])
        async with (
            electricity_meter() as power,
            water_meter() as water,
            modbus_device({0: 0x0001, 1: 0x86A1, 2: 0x4366, 3: 0x199A}) as (_, modbus),
            polling(
                database,
                tmp_path,
                write_bridge(power.server.port, name="cabinet", period=60),
                write_bridge(
                    water.port,
                    name="basement",
                    protocol="cjt188-2018",
                    serial="W-10001",
                    period=60,
                ),
                write_bridge(
                    modbus, name="neighbour", protocol="modbus-tcp", serial="E-10002", period=60
                ),
            ),
        ):

            async def is_read() -> bool:
                return await count(database, READINGS) == 3

            await wait_until(is_read)
            samples = "SELECT value FROM shuidian.samples ORDER BY meter_id"
            await wait_until(lambda: has(database, samples, 2))

        found = {serial: value for serial, value, _ in await ask(database, READINGS)}
        assert found == {
            "E-10001": Decimal("86843.81"),
            "W-10001": Decimal("12670.67"),
            "E-10002": Decimal("100.001"),
        }
        assert await ask(database, samples) == [(Decimal("230.1"),), (Decimal("230.1"),)]
        moments = [moment for *_, moment in await ask(database, READINGS)]
        assert all(0 <= (moment - NOON).total_seconds() < 15 for moment in moments)

    async def test_is_on_time_beside_a_dead_and_a_slow_bridge(
        self, database: Database, world: World, tmp_path: Path
    ) -> None:
        await make_gateway(database, "good", [world.home.meters[Kind.ELECTRICITY]])
        await make_gateway(database, "slow", [world.home.meters[Kind.WATER]])
        await make_gateway(database, "dead", [world.neighbour.meters[Kind.WATER]])
        async with silent_bridge() as (dead, _):
            pass
        async with (
            electricity_meter() as power,
            silent_bridge() as (slow, calls),
            polling(
                database,
                tmp_path,
                write_bridge(
                    slow, name="slow", protocol="cjt188-2018", serial="W-10001", timeout=30
                ),
                write_bridge(dead, name="dead", protocol="cjt188-2018", serial="W-10002"),
                write_bridge(power.server.port, name="good"),
            ),
        ):
            await wait_until(lambda: has(database, READINGS, 8))

        moments = [moment for *_, moment in await ask(database, READINGS)]
        gaps = [(after - before).total_seconds() for before, after in pairwise(moments)]
        assert sum(gaps) / len(gaps) == pytest.approx(0.3, abs=0.15)
        assert len(calls) == 1  # it still waits for its first answer

    async def test_asks_a_silent_bridge_ever_less_often(
        self, database: Database, world: World, tmp_path: Path
    ) -> None:
        await make_gateway(database, "slow", [world.home.meters[Kind.WATER]])
        how = {"name": "slow", "protocol": "cjt188-2018", "serial": "W-10001", "timeout": 0.1}
        async with (
            silent_bridge() as (port, calls),
            polling(database, tmp_path, write_bridge(port, **how)),
        ):
            await asyncio.sleep(6)

        assert 1 <= len(calls) <= 3
        assert await ask(database, READINGS) == []

    async def test_comes_back_to_a_meter_that_was_silent(
        self, database: Database, world: World, tmp_path: Path
    ) -> None:
        await make_gateway(database, "gateway", [world.home.meters[Kind.WATER]])
        async with water_meter(speaks=False) as water:
            how = {"protocol": "cjt188-2018", "serial": "W-10001"}
            async with polling(database, tmp_path, write_bridge(water.port, **how)):
                await asyncio.sleep(1)
                assert await ask(database, READINGS) == []
                water.speaks = True
                await wait_until(lambda: has(database, READINGS, 2))

    @pytest.mark.parametrize(
        ("how", "reason"),
        [({"volume": "0126FFFF"}, "not_decimal"), ({"damage": 1}, "checksum")],
    )
    async def test_keeps_a_damaged_answer_with_its_reason(
        self, database: Database, world: World, tmp_path: Path, how: dict[str, Any], reason: str
    ) -> None:
        await make_gateway(database, "gateway", [world.home.meters[Kind.WATER]])
        described = {"protocol": "cjt188-2018", "serial": "W-10001"}
        async with (
            water_meter(**how) as water,
            polling(database, tmp_path, write_bridge(water.port, **described)),
        ):
            await wait_until(lambda: has(database, QUARANTINE, 1))

        assert await ask(database, QUARANTINE) == [(f"W-10001: {reason}",)]
        assert await ask(database, READINGS) == []

    async def test_stores_nothing_without_a_credential(
        self, database: Database, world: World, tmp_path: Path
    ) -> None:
        key = await make_gateway(database, "gateway", [world.home.meters[Kind.ELECTRICITY]])
        async with electricity_meter() as power:
            async with polling(database, tmp_path, write_bridge(power.server.port)):
                await wait_until(lambda: has(database, READINGS, 1))
            stored = await count(database, READINGS)
            async with database.transaction() as session:
                await session.execute(
                    update(ApiKey).where(ApiKey.id == key).values(revoked_at=NOON)
                )
            async with polling(
                database, tmp_path, write_bridge(power.server.port), clock=clock_at(NOON)
            ):
                await asyncio.sleep(1)

        assert await count(database, READINGS) == stored

    async def test_is_done_by_one_process_of_all(
        self, database: Database, world: World, tmp_path: Path
    ) -> None:
        await make_gateway(database, "gateway", [world.home.meters[Kind.WATER]])
        how = {"protocol": "cjt188-2018", "serial": "W-10001", "period": 0.2}
        second = Database(database.url, pool_size=4)
        async with water_meter() as first_water, water_meter() as second_water:
            (tmp_path / "second").mkdir()
            async with polling(database, tmp_path, write_bridge(first_water.port, **how)):
                await wait_until(lambda: has(database, READINGS, 1))
                async with polling(
                    second, tmp_path / "second", write_bridge(second_water.port, **how)
                ):
                    await asyncio.sleep(1.5)
                    assert second_water.asked == []
            await second.close()

    async def test_tells_at_once_of_an_alarm(
        self, database: Database, world: World, tmp_path: Path
    ) -> None:
        await make_gateway(database, "gateway", [world.home.meters[Kind.ELECTRICITY]])
        async with database.transaction() as session:
            await session.execute(update(Limit).values(hold_seconds=0))
        told = asyncio.Event()

        async def tell(session: AsyncSession) -> None:
            assert len(list(await session.scalars(select(Alarm)))) == 1
            told.set()

        async with (
            electricity_meter(voltages=(251.7,)) as power,
            polling(database, tmp_path, write_bridge(power.server.port), after_alarms=tell),
            asyncio.timeout(10),
        ):
            await told.wait()

    async def test_ends_at_whatever_moment_it_is_told_to(
        self, database: Database, world: World, tmp_path: Path
    ) -> None:
        await make_gateway(database, "gateway", [world.home.meters[Kind.WATER]])
        how = {"protocol": "cjt188-2018", "serial": "W-10001", "period": 0.001}
        async with water_meter() as water:
            for step in range(40):
                async with polling(database, tmp_path, write_bridge(water.port, **how)):
                    await asyncio.sleep(0.1 + step * 0.003)
            asked = len(water.asked)
            await asyncio.sleep(0.3)

        assert len(water.asked) == asked > 40

    async def test_is_part_of_the_worker(
        self, database: Database, world: World, tmp_path: Path
    ) -> None:
        await make_gateway(database, "gateway", [world.home.meters[Kind.ELECTRICITY]])
        async with electricity_meter() as power:
            settings = Settings(
                _env_file=None,
                database_url=database.url,
                roles="worker",
                bridges_file=str(write_file(tmp_path, write_bridge(power.server.port))),
            )
            async with Service(settings, clock_at(NOON)).running():
                await wait_until(lambda: has(database, READINGS, 1))


async def has(database: Database, sql: str, number: int) -> bool:
    return await count(database, sql) >= number


class TestCommands:
    @pytest.fixture
    async def power(self, database: Database, world: World) -> Debt:
        """A cut that is approved and may be sent now."""
        debt = await begin_debt(database, world, Kind.ELECTRICITY)
        await debt.until_approved()
        debt.wait(minutes=31)
        return debt

    def polling(self, debt: Debt, directory: Path, *parts: str) -> Any:
        return polling(debt.database, directory, *parts, clock=clock_at(debt.now))

    async def test_go_through_a_relay_and_back(self, power: Debt, tmp_path: Path) -> None:
        async with (
            electricity_meter() as meter,
            self.polling(power, tmp_path, write_bridge(meter.server.port)),
        ):
            await wait_until(lambda: is_last(power, "S1001", "cut", "confirmed"))
            assert await power.supply() == "cut"
            assert meter.commands == [0x1A]
            until = datetime.strptime(meter.untils[0], "%y%m%d%H%M%S").replace(tzinfo=ZONE)
            assert timedelta(0) < until - power.now <= timedelta(minutes=10, seconds=15)
            power.wait(seconds=30)
            await power.pay(OWED[Kind.ELECTRICITY])
            await wait_until(lambda: is_last(power, "S1002", "connected", "confirmed"))
            assert await power.supply() == "ready"  # nobody has pressed the button yet
            assert meter.commands == [0x1A, 0x1B]
            meter.set_word(0x0000)
            await wait_until(lambda: is_supplied(power))

        acts = [act for (act,) in await ask(power.database, ACTS)]
        assert acts[2:] == [
            "supply.sent",
            "supply.accepted",
            "supply.confirmed",
            "supply.restore_ordered",
            "supply.sent",
            "supply.accepted",
            "supply.confirmed",
        ]

    async def test_go_through_a_coil_and_the_contact_that_shows_it(
        self, power: Debt, tmp_path: Path
    ) -> None:
        registers = {0: 0, 1: 0, 2: 0x4366, 3: 0x199A}
        async with (
            modbus_device(registers) as (device, port),
            self.polling(power, tmp_path, write_bridge(port, protocol="modbus-tcp")),
        ):

            async def is_open() -> bool:
                return await device.async_getValues(7, 1, 0, 1) == [False]

            await wait_until(is_open)
            await wait_until(lambda: is_last(power, "S1001", "cut", "accepted"))
            await asyncio.sleep(3)  # it is looked at again, and the contact says: not moved
            assert (await power.orders())[-1] == ("S1001", "cut", "accepted")
            assert await power.supply() == "connected"
            await device.async_setValues(7, 2, 0, [False])
            await wait_until(lambda: is_last(power, "S1001", "cut", "confirmed"))
            assert await power.supply() == "cut"

    async def test_are_sent_once_and_not_believed(self, power: Debt, tmp_path: Path) -> None:
        async with electricity_meter() as meter:
            meter.moves = False
            async with self.polling(power, tmp_path, write_bridge(meter.server.port)):
                await wait_until(lambda: is_last(power, "S1001", "cut", "accepted"))
                await asyncio.sleep(5)

        assert meter.commands == [0x1A]
        assert await power.orders() == [("S1001", "cut", "accepted")]
        assert await power.supply() == "connected"

    async def test_are_not_accepted_when_the_meter_refuses(
        self, power: Debt, tmp_path: Path
    ) -> None:
        relay = 'relay = { password = "02000000" }'
        async with (
            electricity_meter() as meter,
            self.polling(power, tmp_path, write_bridge(meter.server.port, relay=relay)),
        ):
            await wait_until(lambda: is_last(power, "S1001", "cut", "sent"))
            await asyncio.sleep(3)

        assert meter.commands == [0x1A]
        assert await power.orders() == [("S1001", "cut", "sent")]

    async def test_are_not_sent_to_what_is_already_so(self, power: Debt, tmp_path: Path) -> None:
        async with (
            electricity_meter(word=0x0050) as meter,
            self.polling(power, tmp_path, write_bridge(meter.server.port)),
        ):
            await wait_until(lambda: is_last(power, "S1001", "cut", "confirmed"))

        assert meter.commands == []

    async def test_wait_while_the_bridge_is_dead(self, power: Debt, tmp_path: Path) -> None:
        async with (
            silent_bridge() as (port, _),
            self.polling(power, tmp_path, write_bridge(port)),
        ):
            await asyncio.sleep(3)

        assert await power.orders() == [("S1001", "cut", "approved")]  # no try is spent

    async def test_are_not_sent_to_a_meter_that_is_not_ours_to_switch(
        self, power: Debt, tmp_path: Path
    ) -> None:
        async with (
            electricity_meter() as meter,
            self.polling(power, tmp_path, write_bridge(meter.server.port, more="")),
        ):
            await wait_until(lambda: is_last(power, "S1001", "cut", "sent"))
            await asyncio.sleep(1)

        assert meter.commands == []

    async def test_that_came_too_late_are_undone(self, power: Debt, tmp_path: Path) -> None:
        """The customer pays between the sending and the meter's answer."""
        async with electricity_meter() as meter:
            answer = meter.handle_request

            async def pay_first(frame: Any) -> bytes | None:
                if frame.ctrl_code == 0x1C and not meter.commands:
                    power.wait(seconds=5)
                    await power.pay(OWED[Kind.ELECTRICITY])
                return answer(frame)

            meter.handle_request = pay_first  # type: ignore[assignment]  # the server awaits it
            async with self.polling(power, tmp_path, write_bridge(meter.server.port, timeout=5)):
                await wait_until(lambda: is_last(power, "S1002", "connected", "confirmed"))

        assert meter.commands == [0x1A, 0x1B]
        assert (await power.orders())[0] == ("S1001", "cut", "cancelled")


async def is_last(debt: Debt, *order: str) -> bool:
    return (await debt.orders())[-1] == order


async def is_supplied(debt: Debt) -> bool:
    return await debt.supply() == Supply.CONNECTED


class TestFindPause:
    def test_doubles_up_to_ten_minutes_and_is_never_the_same(self) -> None:
        pauses = [[find_pause(failures) for _ in range(50)] for failures in (1, 2, 3, 8, 500)]

        longest = [5, 10, 20, 600, 600]
        for found, most in zip(pauses, longest, strict=True):
            assert all(most / 2 <= pause <= most for pause in found)
            assert len(set(found)) > 40

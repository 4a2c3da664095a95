"""Each protocol against a counterpart that is not ours, or at least does not share our code."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bot.gateway.wire.asking import ask_all
from bot.gateway.wire.frames import NotYet, Refused
from bot.gateway.wire.line import Line
from bot.gateway.wire.meters import Driver
from bot.gateway.wire.modbus import FRAMERS
from bot.gateway.wire.polling import open_driver
from core.accounts.models import Supply
from core.monitoring.models import Quantity
from tests.gateway.counterparts import (
    electricity_meter,
    modbus_device,
    silent_bridge,
    water_meter,
)
from tests.gateway.places import describe_bridges, write_bridge

ZONE = ZoneInfo("Asia/Shanghai")
UNTIL = datetime(2026, 12, 28, 2, 30, tzinfo=UTC)
REGISTERS = {0: 0x0001, 1: 0x86A1, 2: 0x4366, 3: 0x199A}  # 100,001 Wh and 230.1 V


def reach(directory: Path, port: int, **how: Any) -> tuple[Driver, Any]:
    (bridge,) = describe_bridges(directory, write_bridge(port, **how))
    return open_driver(bridge, ZONE), bridge.meters[0]


class TestDlt645:
    async def test_reads_exactly_what_the_meter_shows(self, tmp_path: Path) -> None:
        async with electricity_meter(voltages=(212.1,), word=0x0050) as server:
            driver, meter = reach(tmp_path, server.server.port)
            seen = await driver.read(meter)
            driver.close()

        assert seen.registers == {"total": Decimal("86843.81")}
        assert seen.samples == {Quantity.VOLTAGE: Decimal("212.1")}
        assert (seen.state, seen.refusals) == (Supply.CUT, [])

    @pytest.mark.parametrize(
        ("voltages", "worst"),
        [
            ((221.0, 219.0, 251.7), "251.7"),
            ((221.0, 0.0, 251.7), "0"),
            ((0.1, 220.0, 220.0), "0.1"),
        ],
    )
    async def test_reports_the_worst_of_three_phases(
        self, tmp_path: Path, voltages: tuple[float, ...], worst: str
    ) -> None:
        async with electricity_meter(voltages=voltages) as server:
            driver, meter = reach(tmp_path, server.server.port, more="phases = 3")
            seen = await driver.read(meter)
            driver.close()

        assert seen.samples == {Quantity.VOLTAGE: Decimal(worst)}
        assert seen.state is None  # nobody said that it is ours to switch

    async def test_is_refused_with_a_wrong_password(self, tmp_path: Path) -> None:
        async with electricity_meter() as server:
            relay = 'relay = { password = "02000000" }'
            driver, meter = reach(tmp_path, server.server.port, relay=relay)
            with pytest.raises(Refused, match="password"):
                await driver.switch(meter, Supply.CUT, until=UNTIL)
            state = await driver.read_state(meter)
            driver.close()

        assert (state, server.commands) == (Supply.CONNECTED, [0x1A])

    async def test_sends_no_command_without_a_password(self, tmp_path: Path) -> None:
        async with electricity_meter() as server:
            driver, meter = reach(tmp_path, server.server.port, relay="")
            with pytest.raises(Refused, match="no_password_here"):
                await driver.switch(meter, Supply.CUT, until=UNTIL)
            driver.close()

        assert server.commands == []

    @pytest.mark.parametrize(
        ("restore", "commands", "state"),
        [("allow", [0x1A, 0x1B], Supply.READY), ("close", [0x1A, 0x1C], Supply.CONNECTED)],
    )
    async def test_leaves_the_closing_to_a_person_unless_told_otherwise(
        self, tmp_path: Path, restore: str, commands: list[int], state: Supply
    ) -> None:
        relay = f'relay = {{ password = "02123456", restore = "{restore}" }}'
        async with electricity_meter() as server:
            driver, meter = reach(tmp_path, server.server.port, relay=relay)
            await driver.switch(meter, Supply.CUT, until=UNTIL)
            assert await driver.read_state(meter) is Supply.CUT
            await driver.switch(meter, Supply.CONNECTED, until=UNTIL)
            found = await driver.read_state(meter)
            driver.close()

        assert (found, server.commands) == (state, commands)
        assert server.untils == ["261228103000"] * 2  # 10:30 by the meter's own clock


class TestCjt188:
    @pytest.mark.parametrize(
        ("protocol", "identifier"), [("cjt188-2004", "901f"), ("cjt188-2018", "1f90")]
    )
    async def test_reads_either_edition_through_noise(
        self, tmp_path: Path, protocol: str, identifier: str
    ) -> None:
        async with water_meter(before=b"\x00\x68\x13\xff") as server:
            driver, meter = reach(tmp_path, server.port, protocol=protocol)
            seen = await driver.read(meter)
            driver.close()

        assert seen.registers == {"total": Decimal("12670.67")}
        assert (seen.state, seen.refusals) == (Supply.CONNECTED, [])
        assert server.asked[0][22:26] == identifier

    async def test_moves_the_valve_and_numbers_every_question(self, tmp_path: Path) -> None:
        async with water_meter() as server:
            driver, meter = reach(tmp_path, server.port, protocol="cjt188-2018")
            await driver.switch(meter, Supply.CUT, until=UNTIL)
            cut = await driver.read_state(meter)
            await driver.switch(meter, Supply.CONNECTED, until=UNTIL)
            connected = await driver.read_state(meter)
            driver.close()

        assert (cut, connected) == (Supply.CUT, Supply.CONNECTED)
        assert [frame[26:28] for frame in server.asked] == ["00", "01", "02", "03"]
        assert [frame[28:30] for frame in server.asked[::2]] == ["99", "55"]

    async def test_stores_nothing_of_a_damaged_register(self, tmp_path: Path) -> None:
        async with water_meter(volume="0126FFFF") as server:
            driver, meter = reach(tmp_path, server.port, protocol="cjt188-2004")
            seen = await driver.read(meter)
            driver.close()

        assert (seen.registers, seen.state) == ({}, None)
        assert [refusal.reason for refusal in seen.refusals] == ["not_decimal"]


class TestModbus:
    @pytest.mark.parametrize("protocol", list(FRAMERS))
    async def test_reads_by_the_map_over_tcp_and_over_a_serial_line(
        self, tmp_path: Path, protocol: str
    ) -> None:
        async with modbus_device(REGISTERS, framer=FRAMERS[protocol]) as (_, port):
            driver, meter = reach(tmp_path, port, protocol=protocol, more="map = 'meter.toml'")
            seen = await driver.read(meter)
            driver.close()

        assert seen.registers == {"total": Decimal("100.001")}
        assert seen.samples == {Quantity.VOLTAGE: Decimal("230.1")}
        assert (seen.state, seen.refusals) == (None, [])

    async def test_believes_the_contact_and_not_the_coil(self, tmp_path: Path) -> None:
        async with modbus_device(REGISTERS) as (server, port):
            driver, meter = reach(tmp_path, port, protocol="modbus-tcp")
            await driver.switch(meter, Supply.CUT, until=UNTIL)
            before = await driver.read_state(meter)
            assert await server.async_getValues(7, 1, 0, 1) == [False]
            await server.async_setValues(7, 2, 0, [False])
            after = await driver.read_state(meter)
            driver.close()

        assert (before, after) == (Supply.CONNECTED, Supply.CUT)

    async def test_says_which_registers_the_device_does_not_have(self, tmp_path: Path) -> None:
        async with modbus_device({10: 0}) as (_, port):
            driver, meter = reach(tmp_path, port, protocol="modbus-tcp")
            seen = await driver.read(meter)
            driver.close()

        assert [refusal.reason for refusal in seen.refusals] == ["exception_2"]
        assert seen.state is Supply.CONNECTED  # the rest was read all the same

    async def test_reads_nothing_of_a_unit_that_is_not_there(self, tmp_path: Path) -> None:
        async with modbus_device(REGISTERS, unit=9) as (_, port):
            driver, meter = reach(tmp_path, port, protocol="modbus-tcp")
            seen = await driver.read(meter)
            driver.close()

        assert (seen.registers, seen.samples, seen.state) == ({}, {}, None)
        assert len(seen.refusals) == 2

    async def test_is_silent_behind_a_silent_bridge(self, tmp_path: Path) -> None:
        async with silent_bridge() as (port, _):
            driver, meter = reach(tmp_path, port, protocol="modbus-tcp")
            seen = await driver.read(meter)
            driver.close()

        assert not seen.is_heard


class TestLine:
    async def test_never_takes_a_late_answer_for_that_to_the_next_question(self) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while question := (await reader.read(64)).strip(b"\xfe"):
                await asyncio.sleep(0.3 if question == b"one" else 0)
                writer.write(b"to " + question)
            writer.close()

        def understand(heard: bytes) -> bytes:
            if heard.startswith(b"to "):
                return heard
            raise NotYet("incomplete")

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            line = Line("127.0.0.1", port, seconds=0.2)
            with pytest.raises(NotYet, match="silence"):
                await line.ask(b"one", understand)
            assert await line.ask(b"two", understand) == b"to two"
            await asyncio.sleep(0.2)
            assert await line.ask(b"three", understand) == b"to three"
            line.close()

    async def test_says_that_the_bridge_itself_is_gone(self) -> None:
        async with silent_bridge() as (port, _):
            pass

        with pytest.raises(OSError):  # noqa: PT011 (the system's own words)
            await Line("127.0.0.1", port, seconds=1).ask(b"", lambda heard: heard)


class TestAskAll:
    async def test_says_what_every_meter_answers(self, tmp_path: Path) -> None:
        said: list[str] = []
        async with (
            electricity_meter() as power,
            water_meter(volume="0126FFFF") as water,
            silent_bridge() as (silent, _),
        ):
            bridges = describe_bridges(
                tmp_path,
                write_bridge(power.server.port, name="a"),
                write_bridge(water.port, name="b", protocol="cjt188-2018", serial="W-1"),
                write_bridge(silent, name="c", protocol="cjt188-2018", serial="W-2"),
            )
            await ask_all(bridges, zone=ZONE, say=said.append)

        assert sorted(said) == [
            "a  E-10001  total 86843.81, voltage 230.1, connected",
            "b  W-1  no value: not_decimal",
            "c  W-2  no value: silence",
        ]

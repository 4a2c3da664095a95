"""Meters to talk to, on loopback: dlt645's own server, a water meter, pymodbus' own server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from copy import copy
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from dlt645 import DLT645Protocol
from dlt645.aio import AsyncMeterServerService
from dlt645.model.data.define import DIMap
from pymodbus import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from bot.gateway.wire.frames import pack, seal

ELECTRICITY = "945807302157"
WATER = "93036426212997"
PASSWORD = "02123456"  # noqa: S105 (the meter's below)


ASKED = {0x00010000, 0x02010100, 0x02010200, 0x02010300, 0x04000503}


class ElectricityMeter(AsyncMeterServerService):
    """The library's meter, with the relay that it does not have."""

    commands: list[int]
    untils: list[str]
    moves: bool = True
    speaks: bool = True

    def show(self, energy: float, *, voltages: tuple[float, ...] = (230.1,), word: int = 0) -> None:
        self.set_00(0x00010000, energy)
        for phase, voltage in enumerate(voltages, start=1):
            self.set_02(0x02010000 | phase << 8, voltage)
        self.set_word(word)

    def set_word(self, word: int) -> None:
        self.set_04(0x04000503, f"{word:04x}")

    def handle_request(self, frame: Any) -> bytes | None:
        if not self.speaks:
            return None
        if frame.ctrl_code != 0x1C:
            answer: bytes | None = super().handle_request(frame)
            return answer
        action = frame.data[8]
        self.commands.append(action)
        self.untils.append(frame.data[10:16][::-1].hex())
        if frame.data[:4].hex() != PASSWORD:
            return bytes(DLT645Protocol.build_frame(frame.addr, 0xDC, bytes((0x04,))))
        if self.moves:
            # Bit 6 is what it was told, bit 4 how it stands; only the button closes after 1BH.
            self.set_word({0x1A: 0x50, 0x1B: 0x10, 0x1C: 0x00}[action])
        return bytes(DLT645Protocol.build_frame(frame.addr, 0x9C, b""))


@contextlib.asynccontextmanager
async def electricity_meter(**shown: Any) -> AsyncIterator[ElectricityMeter]:
    # Every meter would copy fifteen thousand items, of which we ask for five.
    known = {di: copy(item) for di, item in DIMap.items() if di in ASKED}
    with patch("dlt645.service.serversvc.server_service.clone_data_map", return_value=known):
        meter = ElectricityMeter.new_tcp_server("127.0.0.1", 0)
    assert isinstance(meter, ElectricityMeter)
    meter.commands, meter.untils = [], []
    meter.set_address(pack(ELECTRICITY))
    meter.show(**({"energy": 86843.81} | shown))
    async with meter:
        yield meter


@dataclass
class WaterMeter:
    """A water meter with a valve, of either edition, behind a bridge that may echo and babble."""

    volume: str = "01267067"
    status: int = 0
    speaks: bool = True
    moves: bool = True
    before: bytes = b""
    damage: int = 0
    port: int = 0
    asked: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while heard := await reader.read(1024):
            frame = heard.lstrip(b"\xfe")
            self.asked.append(frame.hex())
            if self.speaks and frame[2:9] == pack(WATER):
                writer.write(self.before + b"\xfe\xfe" + self.answer(frame))
        writer.close()

    def answer(self, frame: bytes) -> bytes:
        control, content = frame[9] | 0x80, frame[11:14]
        if frame[11:13] == b"\xa0\x17":
            content += bytes((self.status, 0))
            if self.moves:
                self.status = {0x99: 1, 0x55: 0}[frame[14]]
        else:
            content += pack(self.volume) + b"\x2c" + pack("01266967") + b"\x2c"
            content += pack("20260425060055") + bytes((self.status, 0))
        whole = seal(frame[:9] + bytes((control, len(content))) + content)
        return whole[:-2] + bytes((whole[-2] ^ self.damage, whole[-1]))


@contextlib.asynccontextmanager
async def water_meter(**how: Any) -> AsyncIterator[WaterMeter]:
    meter = WaterMeter(**how)
    server = await asyncio.start_server(meter.serve, "127.0.0.1", 0)
    meter.port = server.sockets[0].getsockname()[1]
    async with server:
        yield meter


@contextlib.asynccontextmanager
async def modbus_device(
    registers: dict[int, int], *, unit: int = 7, framer: FramerType = FramerType.SOCKET
) -> AsyncIterator[tuple[ModbusTcpServer, int]]:
    """Run a device with a coil that commands, a contact that shows, and holding registers."""
    bits = [SimData(0, values=[True], datatype=DataType.BITS)]
    holding = [
        SimData(address, values=[word], datatype=DataType.REGISTERS)
        for address, word in sorted(registers.items())
    ]
    unused = [SimData(0, values=[0], datatype=DataType.REGISTERS)]
    device = SimDevice(id=unit, simdata=(bits, bits, holding, unused))
    server = ModbusTcpServer(device, framer=framer, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        yield server, server.transport.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


@contextlib.asynccontextmanager
async def silent_bridge() -> AsyncIterator[tuple[int, list[float]]]:
    """Run a bridge that takes every connection and says nothing; give its port and when it was."""
    calls: list[float] = []
    loop = asyncio.get_running_loop()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(loop.time())
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], calls

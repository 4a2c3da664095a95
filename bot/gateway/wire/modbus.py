"""Modbus devices, over TCP or a serial line behind a bridge, read and switched by their maps."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from pymodbus import FramerType
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.pdu import ExceptionResponse, ModbusPDU

from bot.gateway.wire.bridges import ModbusBridge, ModbusMeter
from bot.gateway.wire.frames import SILENCE, NotYet, Refused
from bot.gateway.wire.maps import Span, Value, plan_spans
from bot.gateway.wire.meters import Seen
from bot.gateway.wire.units import QUANTITIES
from core.accounts.models import Supply

FRAMERS = {"modbus-tcp": FramerType.SOCKET, "modbus-rtu": FramerType.RTU}


class ModbusDriver:
    """Devices behind one address. Nothing is sent twice: not by the library, and not by us."""

    def __init__(self, bridge: ModbusBridge) -> None:
        self._nominal = bridge.nominal
        self._client = AsyncModbusTcpClient(
            bridge.host,
            port=bridge.port,
            framer=FRAMERS[bridge.protocol],
            timeout=bridge.timeout_seconds,
            retries=0,
            reconnect_delay=0,
        )
        self._read = {
            "coil": self._client.read_coils,
            "discrete": self._client.read_discrete_inputs,
            "holding": self._client.read_holding_registers,
            "input": self._client.read_input_registers,
        }

    async def read(self, meter: ModbusMeter, /) -> Seen:
        """Return all values of the map and, of what we switch, its state."""
        seen = Seen()
        for step in (*plan_spans(meter.map.values, gap=meter.map.gap), None):
            try:
                if step is not None:
                    await self._see(seen, meter, step)
                elif meter.switch:
                    seen.state = await self.read_state(meter)
            except Refused as refusal:
                seen.refusals.append(refusal)
                if isinstance(refusal, NotYet):
                    break
        return seen

    async def _see(self, seen: Seen, meter: ModbusMeter, span: Span) -> None:
        answer = await self._ask(
            self._read[span.table], meter, span.start, count=span.end - span.start
        )
        if len(answer.registers) != span.end - span.start:
            raise Refused("length")
        for value in span.values:
            try:
                self._note(seen, value, answer.registers[value.address - span.start :])
            except Refused as refusal:
                seen.refusals.append(refusal)

    def _note(self, seen: Seen, value: Value, words: Sequence[int]) -> None:
        number = value.decode(words[: value.end - value.address])
        if value.unit in QUANTITIES:
            seen.add_sample(QUANTITIES[value.unit], number, nominal=self._nominal)
        else:
            seen.registers[value.name] = number

    async def read_state(self, meter: ModbusMeter, /) -> Supply:
        """Ask where the map says that the state shows."""
        switch = meter.map.switch
        if switch is None:
            raise Refused("no_switch_in_map")
        answer = await self._ask(
            self._read[switch.state.table], meter, switch.state.address, count=1
        )
        return switch.state.name((answer.registers or [int(bit) for bit in answer.bits])[0])

    async def switch(self, meter: ModbusMeter, wanted: Supply, /, *, until: datetime) -> None:
        """Write the coil or the register of the map; there is no end of validity on this wire."""
        del until
        switch = meter.map.switch
        if switch is None:
            raise Refused("no_switch_in_map")
        command = switch.command
        value = command.cut if wanted is Supply.CUT else command.connected
        if command.table == "coil":
            await self._ask(self._client.write_coil, meter, command.address, value=bool(value))
        else:
            await self._ask(self._client.write_register, meter, command.address, value=value)

    async def _ask(
        self,
        question: Callable[..., Awaitable[ModbusPDU]],
        meter: ModbusMeter,
        address: int,
        **content: Any,  # noqa: ANN401 (what the question needs)
    ) -> ModbusPDU:
        if not self._client.connected and not await self._client.connect():
            raise ConnectionError("the bridge does not answer")
        try:
            answer = await question(address, device_id=meter.address, **content)
        except ConnectionException as lost:
            raise ConnectionError(str(lost)) from lost
        except ModbusException as silence:
            self.close()  # a late answer is not to be taken for that to the next question
            raise NotYet(SILENCE) from silence
        if isinstance(answer, ExceptionResponse):
            raise Refused(f"exception_{answer.exception_code}")
        return answer

    def close(self) -> None:
        """Hang up."""
        self._client.close()

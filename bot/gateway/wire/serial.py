"""Meters on a serial line behind a TCP bridge: DL/T 645 and CJ/T 188."""

import itertools
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

from bot.gateway.wire import cjt188, dlt645
from bot.gateway.wire.bridges import Cjt188Bridge, Cjt188Meter, Dlt645Bridge, Dlt645Meter
from bot.gateway.wire.frames import NotYet, Refused
from bot.gateway.wire.line import Line
from bot.gateway.wire.meters import Seen
from bot.gateway.wire.units import convert
from core.accounts.models import Supply
from core.monitoring.models import Quantity
from core.monitoring.service import TOTAL


class Dlt645Driver:
    """Electricity meters; `zone` is that of their clocks."""

    def __init__(self, bridge: Dlt645Bridge, zone: ZoneInfo) -> None:
        self._bridge = bridge
        self._zone = zone
        self._line = Line(bridge.host, bridge.port, seconds=bridge.timeout_seconds)

    async def read(self, meter: Dlt645Meter, /) -> Seen:
        """Return energy, the worst phase's voltage and, of what we switch, the relay."""
        seen = Seen()
        for item in (dlt645.ENERGY, *dlt645.VOLTAGES[: meter.phases], dlt645.STATUS):
            try:
                await self._see(seen, meter, item)
            except Refused as refusal:
                seen.refusals.append(refusal)
                if isinstance(refusal, NotYet):
                    break
        return seen

    async def _see(self, seen: Seen, meter: Dlt645Meter, item: dlt645.Item) -> None:
        if item is dlt645.STATUS:
            seen.state = await self.read_state(meter) if meter.switch else None
            return
        value = await self._line.ask(
            dlt645.ask(meter.address, item),
            partial(dlt645.read_number, address=meter.address, item=item),
        )
        if item is dlt645.ENERGY:
            seen.registers[TOTAL] = convert(value, unit="kWh")
        else:
            volts = convert(value, unit="V")
            seen.add_sample(Quantity.VOLTAGE, volts, nominal=self._bridge.nominal)

    async def read_state(self, meter: Dlt645Meter, /) -> Supply:
        """Ask for the status word."""
        return await self._line.ask(
            dlt645.ask(meter.address, dlt645.STATUS),
            partial(dlt645.read_relay, address=meter.address, shows_command=meter.shows_command),
        )

    async def switch(self, meter: Dlt645Meter, wanted: Supply, /, *, until: datetime) -> None:
        """Tell the relay; where nobody said otherwise, the person at home closes it."""
        relay = self._bridge.relay
        if relay is None:
            raise Refused("no_password_here")
        restore = dlt645.Action.CLOSE if relay.restore == "close" else dlt645.Action.ALLOW
        command = dlt645.command(
            meter.address,
            dlt645.Action.TRIP if wanted is Supply.CUT else restore,
            password=bytes.fromhex(relay.password.get_secret_value()),
            operator=bytes.fromhex(relay.operator),
            until=until.astimezone(self._zone),
        )
        await self._line.ask(command, partial(dlt645.read_acceptance, address=meter.address))

    def close(self) -> None:
        """Hang up."""
        self._line.close()


class Cjt188Driver:
    """Water meters; each question has a number, so that no late answer is taken for its own."""

    def __init__(self, bridge: Cjt188Bridge) -> None:
        self._is_low_first = bridge.protocol == "cjt188-2018"
        self._line = Line(bridge.host, bridge.port, seconds=bridge.timeout_seconds)
        self._numbers = itertools.cycle(range(256))

    async def read(self, meter: Cjt188Meter, /) -> Seen:
        """Return the register and, of what we switch, the valve."""
        try:
            shown = await self._ask(meter)
            volume = convert(shown.volume, unit=shown.unit)
        except Refused as refusal:
            return Seen(refusals=[refusal])
        return Seen(registers={TOTAL: volume}, state=shown.valve if meter.switch else None)

    async def read_state(self, meter: Cjt188Meter, /) -> Supply:
        """Ask for all it shows; the valve is a part of that."""
        return (await self._ask(meter)).valve

    async def _ask(self, meter: Cjt188Meter) -> cjt188.Shown:
        number = next(self._numbers)
        return await self._line.ask(
            cjt188.ask(
                meter.address, number=number, is_low_first=self._is_low_first, kind=meter.kind
            ),
            partial(
                cjt188.read_meter,
                address=meter.address,
                number=number,
                kind=meter.kind,
                is_high=meter.valve_bits == "high",
            ),
        )

    async def switch(self, meter: Cjt188Meter, wanted: Supply, /, *, until: datetime) -> None:
        """Tell the valve; the protocol knows no end of validity, so it is sent at once."""
        del until
        number = next(self._numbers)
        await self._line.ask(
            cjt188.command(
                meter.address, opens=wanted is not Supply.CUT, number=number, kind=meter.kind
            ),
            partial(cjt188.read_acceptance, address=meter.address, number=number, kind=meter.kind),
        )

    def close(self) -> None:
        """Hang up."""
        self._line.close()

"""Every meter of a file asked once, for whoever has just connected it."""

import asyncio
from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

from bot.gateway.wire.bridges import AnyBridge
from bot.gateway.wire.meters import Seen
from bot.gateway.wire.polling import open_driver


async def ask_all(
    bridges: Sequence[AnyBridge], *, zone: ZoneInfo, say: Callable[[str], None]
) -> None:
    """Say for each meter what it answers; the bridges are asked at the same time."""
    await asyncio.gather(*(_ask_bridge(bridge, zone=zone, say=say) for bridge in bridges))


async def _ask_bridge(bridge: AnyBridge, *, zone: ZoneInfo, say: Callable[[str], None]) -> None:
    driver = open_driver(bridge, zone)
    try:
        for meter in bridge.meters:
            try:
                shown = describe(await driver.read(meter))
            except OSError as trouble:
                shown = f"the bridge does not answer: {trouble or type(trouble).__name__}"
            say(f"{bridge.name}  {meter.serial}  {shown}")
    finally:
        driver.close()


def describe(seen: Seen) -> str:
    """Return what a meter showed, in our units, and what it refused, in one line."""
    parts = [f"{register} {value.normalize():f}" for register, value in seen.registers.items()]
    parts += [f"{quantity} {value.normalize():f}" for quantity, value in seen.samples.items()]
    parts += [seen.state.value] if seen.state else []
    parts += [f"no value: {refusal.reason}" for refusal in seen.refusals]
    return ", ".join(parts)

"""Units on the wire and ours: those of `bot.gateway.units`, by their names alone. Pure."""

from decimal import Decimal
from typing import Final

from bot.gateway import units
from bot.gateway.units import UNITS, What
from bot.gateway.wire.frames import Refused
from core.monitoring.models import Quantity

FACTORS: Final = {
    unit: factor
    for factors in UNITS.values()
    for unit, factor in factors.items()
    if unit != "count"  # which does not say of what
}
# What is in another unit is a register.
QUANTITIES: Final = {
    unit: quantity
    for what, quantity in ((What.VOLTAGE, Quantity.VOLTAGE), (What.PRESSURE, Quantity.PRESSURE))
    for unit in UNITS[what]
}
DIGITS_MAX: Final = 12


def convert(value: Decimal, *, unit: str) -> Decimal:
    """
    Return a value in our unit, to the last place that is kept.

    Raises:
        Refused: no meter shows so much.
    """
    if value.adjusted() >= DIGITS_MAX:
        raise Refused("impossible")
    return units.convert(value, factor=FACTORS[unit])

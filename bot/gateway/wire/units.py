"""Units on the wire and ours: the one place where one becomes the other. Pure."""

from decimal import Decimal
from typing import Final

from bot.gateway.wire.frames import Refused
from core.monitoring.ingest import LAST_PLACE
from core.monitoring.models import Quantity

# How many of our unit one of theirs is; ours are kWh, m³, V and kPa.
FACTORS: Final = {
    "kWh": Decimal(1),
    "Wh": Decimal("0.001"),
    "m3": Decimal(1),
    "l": Decimal("0.001"),
    "V": Decimal(1),
    "kPa": Decimal(1),
    "MPa": Decimal(1000),
    "bar": Decimal(100),
}
# What is in another unit is a register.
QUANTITIES: Final = {
    "V": Quantity.VOLTAGE,
    "kPa": Quantity.PRESSURE,
    "MPa": Quantity.PRESSURE,
    "bar": Quantity.PRESSURE,
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
    return (value * FACTORS[unit]).quantize(LAST_PLACE)

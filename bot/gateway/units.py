"""What can be read from a message, and the exact way from every unit to ours. Pure."""

from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final

from core.accounts.models import Service

PLACES: Final = 6
COUNT: Final = Fraction(1)  # of pulses; the meter's multiplier says what one stands for


class What(StrEnum):
    """What a field of a message tells: a register, a quantity, or a fact."""

    ENERGY = "energy"
    VOLUME = "volume"
    VOLTAGE = "voltage"
    PRESSURE = "pressure"
    RELAY = "relay"
    VALVE = "valve"
    ONLINE = "online"
    FAULT = "fault"
    REPLY = "reply"
    ACKNOWLEDGED = "acknowledged"


# Exact by definition: the international foot (0.3048 m) and inch (0.0254 m; a gallon is 231 cubic
# inches), the bar (100 kPa), and the conventional metre of water (1000 kg/m³ at 9.80665 m/s²).
UNITS: Final[dict[What, dict[str, Fraction]]] = {
    What.ENERGY: {
        "kWh": Fraction(1),
        "MWh": Fraction(1000),
        "Wh": Fraction(1, 1000),
        "watt-minute": Fraction(1, 60_000),
        "count": COUNT,
    },
    What.VOLUME: {
        "m3": Fraction(1),
        "l": Fraction(1, 1000),
        "US gal": Fraction(3_785_411_784, 10**12),
        "ft3": Fraction(28_316_846_592, 10**12),
        "count": COUNT,
    },
    What.VOLTAGE: {"V": Fraction(1)},
    What.PRESSURE: {
        "kPa": Fraction(1),
        "bar": Fraction(100),
        "MPa": Fraction(1000),
        "mH2O": Fraction(980_665, 100_000),
    },
}
SERVICE_OF: Final = {
    What.ENERGY: Service.ELECTRICITY,
    What.VOLTAGE: Service.ELECTRICITY,
    What.RELAY: Service.ELECTRICITY,
    What.VOLUME: Service.WATER,
    What.PRESSURE: Service.WATER,
    What.VALVE: Service.WATER,
}
# A gauge shows at least a vacuum; low voltage ends at 1000 V (IEC 60038).
POSSIBLE: Final = {
    What.ENERGY: (0, 10**12),
    What.VOLUME: (0, 10**12),
    What.VOLTAGE: (0, 1000),
    What.PRESSURE: (-100, 10_000),
}


def convert(value: Decimal, *, factor: Fraction) -> Decimal:
    """
    Return a value in our unit, rounded to a millionth where it would have more places.

    Units: kWh, m³, V, kPa (or counts); `factor` is ours in one of theirs.
    """
    scaled, places = round(Fraction(value) * factor * 10**PLACES), PLACES
    while places and scaled % 10 == 0:
        scaled, places = scaled // 10, places - 1
    return Decimal(scaled).scaleb(-places)

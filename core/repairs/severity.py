"""How urgent an abnormal value is: how far outside, for how long, for how many. Pure."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from enum import IntEnum

from core.monitoring.models import Quantity

# The second limit, as a share of the first beyond it. Of 198.0 to 235.4 V it makes 183.2 and
# 253.1 V, close to EN 50160's -15 % and +10 % of 230 V; of 140 kPa 70, England's seven metres;
# of six silent hours a day.
SECOND: Mapping[Quantity, Decimal] = {
    Quantity.VOLTAGE: Decimal("0.075"),
    Quantity.PRESSURE: Decimal("0.5"),
    Quantity.SILENCE: Decimal(3),
}
# What was urgent stays so until the value has come back by a tenth of that share.
RETURN = Decimal("0.9")
LONG = timedelta(hours=4)
MANY_HOMES = 10


class Severity(IntEnum):
    """How urgent a repair is; every level is told once."""

    ORDINARY = 0
    SERIOUS = 1
    CRITICAL = 2


def weigh(
    *,
    quantity: Quantity,
    limit: Decimal,
    beyond: Decimal,
    lasted: timedelta,
    homes: int,
    was: Severity,
) -> Severity:
    """
    Return how urgent it is now: one level each for the second limit, long times and many homes.

    What a silence lasts is its value, which counts once.

    Units: `limit` and `beyond`, by how much the value is outside it, as the quantity.
    """
    second = SECOND[quantity] * (RETURN if was else 1)
    is_far = beyond >= second * limit
    is_long = lasted >= LONG and quantity is not Quantity.SILENCE
    points = is_far + is_long + (homes >= MANY_HOMES)
    return Severity(min(points, Severity.CRITICAL))

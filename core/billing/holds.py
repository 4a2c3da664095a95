"""Which bills somebody has to look at before a customer sees them. Pure."""

from decimal import Decimal
from typing import Final

from core.accounts.models import Service

UNUSUAL_TIMES: Final = 3
# Below this much a day a rise is a family that came home, not a fault. Units: m³, kWh.
_SMALL: Final = {Service.WATER: Decimal("0.25"), Service.ELECTRICITY: Decimal(4)}
# More than a home can use: a tap left open all day, ten kilowatts around the clock.
_ABSURD: Final = {Service.WATER: Decimal(24), Service.ELECTRICITY: Decimal(240)}
HOME: Final = "home"


def find_reason_to_hold(
    *,
    service: Service,
    customer_class: str,
    total_minor: int,
    per_day: Decimal,
    usual_per_day: Decimal | None,
) -> str | None:
    """
    Return why a bill must be held back, if so: negative, absurd, three times the usual use.

    Units:
        `per_day`, `usual_per_day`: m³ or kWh a day.
    """
    if total_minor < 0:
        return "negative"
    if customer_class == HOME and per_day > _ABSURD[service]:
        return "absurd"
    if usual_per_day is None:
        return None
    usual = max(usual_per_day, _SMALL[service])
    return "unusual" if per_day > UNUSUAL_TIMES * usual else None

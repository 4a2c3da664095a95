"""Which bills somebody has to look at before a customer sees them. Pure."""

from decimal import Decimal
from typing import Final

from core.accounts.models import Service

IN_A_ROW_MAX: Final = 2  # more bills in a row that rest on an estimate want a visit

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
    class_p99: Decimal | None = None,
    estimates: int,
    is_owed_use: bool,
) -> str | None:
    """
    Return why a bill must be held back, if so: negative, absurd, three times the usual use.

    The usual is the median of the agreement's last twelve months. A first bill has none; it is
    held above what only one bill in a hundred of its customer class exceeds.
    Also one that rests on too many estimates in a row, and the last one of somebody to whom an
    estimate charged too much: no later bill could take it off.

    Units:
        `per_day`, `usual_per_day`, `class_p99`: m³ or kWh a day.
    """
    if total_minor < 0:
        return "negative"
    if customer_class == HOME and per_day > _ABSURD[service]:
        return "absurd"
    if is_owed_use:
        return "ahead"
    if estimates > IN_A_ROW_MAX:
        return "estimated"
    if usual_per_day is None:
        return "first" if class_p99 is not None and per_day > class_p99 else None
    usual = max(usual_per_day, _SMALL[service])
    return "unusual" if per_day > UNUSUAL_TIMES * usual else None

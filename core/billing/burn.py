"""How fast a prepaid balance goes, and until when it lasts. Only reads."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.service import get_operator
from core.billing.outlook import SILENT_AFTER, foresee_days
from core.billing.prepaid import Balance
from core.billing.prepaid_rules import lasts_until
from core.billing.running import find_running
from core.errors import DomainError
from core.money import divide
from core.periods import local_day

_AHEAD = Decimal(30)
_PLACES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Burn:
    """
    What a day costs, as a whole bill would at the pace of the last weeks, and the last day.

    Units: minor units a day.
    """

    minor: Decimal
    lasts_until: date
    days_left: int


def is_outdated(balance: Balance, *, now: datetime) -> bool:
    """Tell whether so much time has passed since the reading that the balance is of that day."""
    return balance.read_at is not None and now - balance.read_at > SILENT_AFTER


async def find_burn(session: AsyncSession, *, balance: Balance, now: datetime) -> Burn | None:
    """Return how long a balance lasts, if there is enough to go by."""
    if balance.minor is None:
        return None
    zone = ZoneInfo((await get_operator(session)).timezone)
    today = local_day(now, zone=zone)
    try:
        running = await find_running(session, agreement_id=balance.agreement_id, now=now)
        found, _ = await foresee_days(session, running, today=today, ahead=_AHEAD, zone=zone)
        if found is None:
            return None
        days = running.basis.period.days
        cost = running.price(found.likely * days / _AHEAD).total_minor
    except DomainError:
        return None
    burn = divide(Decimal(cost), days, digits=_PLACES)
    if burn <= 0:
        return None
    known = balance.read_at is not None and not balance.is_estimated
    since = local_day(balance.read_at, zone=zone) if known and balance.read_at else today
    until = lasts_until(minor=balance.minor, burn_minor=burn, read_date=since)
    return Burn(
        minor=burn,
        lasts_until=until,
        days_left=max((until - today).days, 0),
    )

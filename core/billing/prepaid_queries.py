"""Whose prepaid balance is low, for those who run the service. Only reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Account, Agreement, Premise, Service, ServicePoint
from core.billing.prepaid import PrepaidWatch

LISTED = 200


@dataclass(frozen=True, slots=True)
class LowBalance:
    """A home with a low balance, as it stood when it was looked at. Units: minor units."""

    account_number: str
    holder_name: str
    address: str
    service: Service
    minor: int
    looked_at: datetime
    used_up_at: datetime | None


async def list_low(session: AsyncSession, *, most_minor: int) -> Sequence[LowBalance]:
    """Return the prepaid homes with so much or less, the lowest balance first."""
    rows = await session.execute(
        select(
            Account.number.label("account_number"),
            Account.holder_name,
            Premise.address,
            ServicePoint.service,
            PrepaidWatch.balance_minor.label("minor"),
            PrepaidWatch.looked_at,
            PrepaidWatch.used_up_at,
        )
        .join(Agreement, Agreement.id == PrepaidWatch.agreement_id)
        .join(Account, Account.id == Agreement.account_id)
        .join(Premise, Premise.id == Account.premise_id)
        .join(ServicePoint, ServicePoint.id == Agreement.service_point_id)
        .where(
            Agreement.is_prepaid,
            Agreement.ends_date.is_(None),
            PrepaidWatch.balance_minor <= most_minor,
            PrepaidWatch.looked_at.is_not(None),
        )
        .order_by(PrepaidWatch.balance_minor, Agreement.id)
        .limit(LISTED)
    )
    return [LowBalance(**row._asdict()) for row in rows]

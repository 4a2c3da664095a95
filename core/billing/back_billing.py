"""Use that is too old to be billed: no line bills it unless a named person says why."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Date, cast, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.service import get_operator
from core.billing.models import Bill, BillState
from core.periods import local_day

OLD = "old_use"


def used_since() -> ColumnElement[date]:
    """
    Return, as SQL, the first day whose use a bill charges.

    After an estimate a bill also charges what the estimated months before it left out.
    """
    return func.coalesce(cast(Bill.inputs["since"].astext, Date), Bill.starts_date)


async def oldest_billable(session: AsyncSession, *, now: datetime) -> date:
    """Return the first day whose use may be billed now."""
    operator = await get_operator(session)
    today = local_day(now, zone=ZoneInfo(operator.timezone))
    return today - timedelta(days=operator.back_billing_days)


async def charges_old_use(session: AsyncSession, *, bill: Bill, now: datetime) -> bool:
    """Tell whether a bill charges use older than may be billed now, and nobody said why."""
    since = date.fromisoformat(bill.inputs.get("since") or bill.starts_date.isoformat())
    return bill.waived_by_id is None and since < await oldest_billable(session, now=now)


async def hold_old(session: AsyncSession, *, bill_ids: Sequence[int], now: datetime) -> list[int]:
    """Hold those of the bills that charge use older than the limit; return the others."""
    held = await session.scalars(
        update(Bill)
        .where(
            Bill.id.in_(bill_ids),
            Bill.state == BillState.HELD,
            Bill.waived_by_id.is_(None),
            used_since() < await oldest_billable(session, now=now),
        )
        .values(held_reason=OLD)
        .returning(Bill.id)
        .execution_options(synchronize_session=False)
    )
    old = set(held)
    return [bill_id for bill_id in bill_ids if bill_id not in old]


async def compute_old_part(
    session: AsyncSession, *, bill_id: int, already_minor: int, now: datetime
) -> int:
    """
    Return what a bill charges for days before the limit, beyond what was charged for it before.

    The share of the days, rounded up: in doubt for whoever pays. Units: minor units.
    """
    total, since, ends = (
        await session.execute(
            select(Bill.total_minor, used_since(), Bill.ends_date).where(Bill.id == bill_id)
        )
    ).one()
    first = min(await oldest_billable(session, now=now), ends)
    days = (first - since).days
    more = total - already_minor
    return -(-more * days // (ends - since).days) if days > 0 and more > 0 else 0

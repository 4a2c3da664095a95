"""The daily look at plans: parts announced, missed ones told, plans kept or broken."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.service import get_operator
from core.billing.dunning_rules import is_daytime
from core.billing.models import Bill, BillState
from core.billing.plan_models import PaymentPlan, PlanBill, PlanState
from core.billing.plan_queries import Progress, get_terms, read_progress
from core.billing.plan_rules import ACTIVE, REMIND_DAYS, Look, look_at
from core.billing.plans import move, tell_managers, tell_people
from core.billing.settlement import lock_agreements

CHUNK = 200


async def look_after_plans(session: AsyncSession, *, now: datetime) -> int:
    """
    Do what is due for plans: each once a local day, in daytime, and as soon as it is paid.

    Looks at `CHUNK` a call at most and returns at how many, so the caller comes back until none
    is left. Locks the agreements: a payment in the same moment is seen, or waits.
    """
    local = now.astimezone(ZoneInfo((await get_operator(session)).timezone))
    today, by_day = local.date(), is_daytime(local.replace(tzinfo=None))
    open_bill = (
        select(PlanBill.plan_id)
        .join(Bill, Bill.id == PlanBill.bill_id)
        .where(PlanBill.plan_id == PaymentPlan.id, Bill.state == BillState.ISSUED)
        .exists()
    )
    is_due = ~open_bill | (PaymentPlan.looked_on < today if by_day else ~open_bill)
    found = (
        await session.execute(
            select(PaymentPlan.id, PaymentPlan.agreement_id)
            .where(PaymentPlan.state.in_(ACTIVE), is_due)
            .order_by(PaymentPlan.id)
            .limit(CHUNK)
        )
    ).all()
    await lock_agreements(session, agreement_ids=[row.agreement_id for row in found])
    plans = await session.scalars(
        select(PaymentPlan)
        .where(PaymentPlan.id.in_([row.id for row in found]), PaymentPlan.state.in_(ACTIVE))
        .order_by(PaymentPlan.id)
        .execution_options(populate_existing=True)
    )
    for plan in plans:
        await _look_after(session, plan, today=today, by_day=by_day, now=now)
    return len(found)


async def _look_after(
    session: AsyncSession, plan: PaymentPlan, *, today: date, by_day: bool, now: datetime
) -> None:
    await _take_in_successors(session, plan)
    progress = await read_progress(session, plan, now=now)
    if not progress.bills:
        await _close_paid(session, plan, now=now)
        return
    if not by_day or plan.looked_on >= today:
        return
    plan.looked_on = today
    if plan.state is PlanState.AGREED:
        await _judge(session, plan, progress, today=today, now=now)
    elif plan.state is PlanState.ASKED:
        await tell_managers(session, plan, now=now, suffix=f":{today.isoformat()}")
    elif progress.parts[0].due < today:
        await move(session, plan, PlanState.ENDED, now=now)
        await tell_people(session, plan, kind="plan.lapsed", now=now)


async def _take_in_successors(session: AsyncSession, plan: PaymentPlan) -> None:
    """Have a plan pay the bills that were made in the place of its own."""
    own = select(PlanBill.bill_id).where(PlanBill.plan_id == plan.id)
    while made := (
        await session.scalars(select(Bill.id).where(Bill.replaces_id.in_(own), Bill.id.not_in(own)))
    ).all():
        await session.execute(
            insert(PlanBill), [{"plan_id": plan.id, "bill_id": bill_id} for bill_id in made]
        )


async def _close_paid(session: AsyncSession, plan: PaymentPlan, *, now: datetime) -> None:
    """Close a plan with nothing left to pay: kept, or needless before or without a payment."""
    paid = await session.scalar(
        select(Bill.id)
        .join(PlanBill, PlanBill.bill_id == Bill.id)
        .where(PlanBill.plan_id == plan.id, Bill.state == BillState.SETTLED)
        .limit(1)
    )
    is_kept = plan.state is PlanState.AGREED and paid is not None
    await move(session, plan, PlanState.KEPT if is_kept else PlanState.ENDED, now=now)
    await tell_people(session, plan, kind=f"plan.{plan.state}", now=now)


async def _judge(
    session: AsyncSession, plan: PaymentPlan, progress: Progress, *, today: date, now: datetime
) -> None:
    terms = await get_terms(session)
    look = look_at(
        progress.parts,
        left_minor=progress.left_minor,
        today=today,
        short_since=plan.short_since,
        grace_days=terms.grace_days,
    )
    if look is Look.BROKEN:
        await move(session, plan, PlanState.BROKEN, now=now)
        await tell_people(session, plan, kind="plan.broken", now=now)
        await tell_managers(session, plan, now=now)
        return
    if look is Look.SHORT and plan.short_since is None:
        plan.short_since = today
        await tell_people(session, plan, kind="plan.missed", now=now, suffix=f":{today}")
        return
    if look is Look.FINE:
        plan.short_since = None
        part = progress.next
        if part is not None and part.due - today <= timedelta(days=REMIND_DAYS):
            suffix = f":{part.position}"
            await tell_people(session, plan, kind="plan.part_due", now=now, suffix=suffix)

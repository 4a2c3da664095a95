"""Supply comes back by itself when what was overdue is paid. Never asked for, never blocked."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Agreement, ServicePoint, Supply
from core.accounts.service import get_operator
from core.billing.arrears import find_arrears
from core.billing.plan_queries import find_running
from core.billing.prepaid import PrepaidWatch, judge_balances
from core.billing.settlement import lock_agreements
from core.supply.models import OrderState, Reason, SupplyOrder
from core.supply.orders import (
    ACTIVE,
    UNDERWAY,
    News,
    lock_orders,
    move,
    order_restore,
    tell_people,
)


async def restore_paid(session: AsyncSession, *, agreement_id: int, now: datetime) -> None:
    """
    Undo what no longer has a ground, in the transaction of the payment or of the bill taken back.

    A cut that is pending is cancelled by any payment since its notice; if its command was sent, a
    restore is ordered with it, because the device may have obeyed. So it is while an objection to
    the debt is open, or it is paid in parts. A cut that was carried out is undone once nothing is
    overdue, and neither an objection nor a plan makes it so before the first part is paid. A
    prepaid supply comes back as soon as credit is left. Locks the agreement; called again it
    changes nothing.
    """
    await lock_agreements(session, agreement_ids=[agreement_id])
    await _restore_credited(session, agreement_id=agreement_id, now=now)
    overdue = await find_arrears(session, agreement_ids=[agreement_id], now=now)
    arrears = overdue.get(agreement_id)
    in_all = await find_arrears(session, agreement_ids=[agreement_id], now=now, with_paused=True)
    plan = await find_running(session, agreement_id=agreement_id, now=now)
    is_planned = plan is not None and plan.left_minor > 0
    relieved = Reason.PLANNED if is_planned else Reason.PAID
    pending = await _lock_pending(session, agreement_id, Reason.ARREARS)
    for order in pending:
        is_same = arrears is not None and arrears.bill_id == order.inputs["bill_id"]
        if arrears is None or arrears.has_paid_since_notice or not is_same:
            is_objected = arrears is None and agreement_id in in_all and not is_planned
            reason = Reason.DISPUTED if is_objected else relieved
            await cancel(session, order, reason=reason, note=reason.value, now=now)
    if not pending and not in_all:
        await _restore_standing(session, agreement_id, Reason.ARREARS, reason=relieved, now=now)


async def _restore_credited(session: AsyncSession, *, agreement_id: int, now: datetime) -> None:
    """Look at a prepaid balance, and undo a cut for want of credit unless it still lacks."""
    balances = await judge_balances(session, agreement_ids=[agreement_id], now=now)
    balance = balances.get(agreement_id)
    emergency_minor = (await get_operator(session)).emergency_minor
    if balance is not None and (balance.minor is None or balance.minor <= -emergency_minor):
        return
    pending = await _lock_pending(session, agreement_id, Reason.CREDIT_USED)
    reason = Reason.UNDONE if balance is None else Reason.TOPPED_UP
    for order in pending:
        await cancel(session, order, reason=reason, note=reason.value, now=now)
    if not pending:
        await _restore_standing(session, agreement_id, Reason.CREDIT_USED, reason=reason, now=now)


async def _lock_pending(
    session: AsyncSession, agreement_id: int, cause: Reason
) -> Sequence[SupplyOrder]:
    return await lock_orders(
        session,
        SupplyOrder.agreement_id == agreement_id,
        SupplyOrder.wanted == Supply.CUT,
        SupplyOrder.state.in_(ACTIVE),
        SupplyOrder.reason == cause,
    )


async def _restore_standing(
    session: AsyncSession, agreement_id: int, cause: Reason, *, reason: Reason, now: datetime
) -> None:
    """Order supply back if it is this agreement's cut for this cause that stands."""
    point_id = await session.scalar(
        select(Agreement.service_point_id).where(Agreement.id == agreement_id)
    )
    cut = await find_standing_cut(session, service_point_id=point_id or 0)
    if cut is not None and cut.reason is cause and cut.agreement_id == agreement_id:
        await order_restore(session, cut=cut, reason=reason, now=now)


async def cancel(
    session: AsyncSession,
    order: SupplyOrder,
    *,
    reason: Reason,
    note: str,
    now: datetime,
    person_id: int | None = None,
) -> None:
    """Cancel a pending cut; what was announced is taken back, what was sent is undone."""
    was = order.state
    await move(session, order, OrderState.CANCELLED, now=now, actor_id=person_id, note=note)
    if was is not OrderState.PROPOSED:
        await tell_people(session, order, News.CUT_CANCELLED, now=now)
    if was in UNDERWAY:
        await order_restore(session, cut=order, reason=reason, person_id=person_id, now=now)


async def find_standing_cut(session: AsyncSession, *, service_point_id: int) -> SupplyOrder | None:
    """Return the order by which a supply is cut now, if one of ours did it and none undid it."""
    latest: SupplyOrder | None = await session.scalar(
        select(SupplyOrder)
        .where(
            SupplyOrder.service_point_id == service_point_id,
            SupplyOrder.state == OrderState.CONFIRMED,
        )
        .order_by(SupplyOrder.id.desc())
        .limit(1)
        .execution_options(populate_existing=True)
    )
    return latest if latest is not None and latest.wanted is Supply.CUT else None


async def restore_relieved(
    session: AsyncSession, agreement_ids: Collection[int], now: datetime
) -> None:
    """Look at prepaid balances, and undo the cuts that no longer have a ground."""
    await judge_balances(session, agreement_ids=agreement_ids, now=now)
    for agreement_id in await _list_cut(session, SupplyOrder.agreement_id.in_(agreement_ids)):
        await restore_paid(session, agreement_id=agreement_id, now=now)


async def take_up_settled(session: AsyncSession, *, now: datetime) -> int:
    """Undo cuts whose debt is gone though nobody drew the consequence; return how many."""
    found = await _list_cut(session, true())
    owing = await find_arrears(session, agreement_ids=found, now=now, with_paused=True)
    lacking = set(
        await session.scalars(
            select(PrepaidWatch.agreement_id).where(PrepaidWatch.used_up_at.is_not(None))
        )
    )
    settled = [each for each in found if each not in owing and each not in lacking]
    await restore_relieved(session, settled, now)
    return len(settled)


async def _list_cut(session: AsyncSession, which: ColumnElement[bool]) -> list[int]:
    """Return the agreements that are cut off for money, or are about to be."""
    standing = (SupplyOrder.state == OrderState.CONFIRMED) & (ServicePoint.supply == Supply.CUT)
    found = await session.scalars(
        select(SupplyOrder.agreement_id)
        .join(ServicePoint, ServicePoint.id == SupplyOrder.service_point_id)
        .where(
            which,
            SupplyOrder.wanted == Supply.CUT,
            SupplyOrder.reason.in_([Reason.ARREARS, Reason.CREDIT_USED]),
            SupplyOrder.state.in_(ACTIVE) | standing,
        )
        .distinct()
        .order_by(SupplyOrder.agreement_id)
    )
    return list(found)

"""
Cuts that protect a home: proposed at a burst or a destroying voltage; a person decides.

They go the way of every cut, past every guard that does not protect debtors.
"""

from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Agreement, ServicePoint, Supply
from core.billing.settlement import lock_agreements
from core.monitoring.models import Alarm, Leak, LeakAnswer, Meter
from core.supply.dangers import Danger, find_bursts, find_over_voltages
from core.supply.facts import gather
from core.supply.guards import Refusal, Stage, refusals
from core.supply.models import PROTECTIVE, OrderState, Reason, SupplyOrder
from core.supply.orders import (
    ACTIVE,
    Case,
    lock_orders,
    order_restore,
    propose_cut,
)
from core.supply.restoring import cancel, find_standing_cut
from core.supply.service import case_of, write_inputs


async def take_up_dangers(session: AsyncSession, *, now: datetime) -> int:
    """
    Propose a cut for each danger that has none yet, and take back what is over.

    What was proposed or approved is cancelled once the danger is over. A relay that was opened is
    closed again when its meter sees a normal voltage. A closed valve stays closed until a person
    takes it back, because it ends every flow; that can be the customer, who says that the water
    was theirs. Returns how many were proposed.
    """
    await _take_back(session, now=now)
    proposed = 0
    dangers = [*await find_bursts(session), *await find_over_voltages(session, now=now)]
    for meter_id, danger in dangers:
        proposed += await _propose(session, meter_id, danger, now=now)
    return proposed


async def _propose(session: AsyncSession, meter_id: int, danger: Danger, *, now: datetime) -> bool:
    known = await session.scalar(
        select(SupplyOrder.id)
        .where(
            SupplyOrder.meter_id == meter_id,
            SupplyOrder.reason == danger.reason,
            SupplyOrder.inputs["danger"]["source_id"].as_integer() == danger.source_id,
            SupplyOrder.note.is_(None) | SupplyOrder.note.not_like(f"%{Refusal.DANGER_OVER}%"),
        )
        .limit(1)
    )
    if known is not None:
        return False
    row = (
        await session.execute(
            select(Agreement.id, Agreement.service_point_id)
            .join(Meter, Meter.service_point_id == Agreement.service_point_id)
            .where(Meter.id == meter_id, Agreement.ends_date.is_(None))
        )
    ).one_or_none()
    if row is None:
        return False  # nobody lives there whom it would protect
    agreement_id, service_point_id = row
    await lock_agreements(session, agreement_ids=[agreement_id])
    case = Case(
        service_point_id=service_point_id,
        agreement_id=agreement_id,
        meter_id=meter_id,
        reason=danger.reason,
        danger=danger,
    )
    facts, _ = await gather(session, case=case, now=now)
    if refusals(facts, stage=Stage.PROPOSING):
        return False
    active = await lock_orders(
        session, SupplyOrder.service_point_id == service_point_id, SupplyOrder.state.in_(ACTIVE)
    )
    for order in active:
        if order.state is not OrderState.PROPOSED:
            return False  # it is being switched already
        await cancel(session, order, reason=Reason.UNDONE, note="danger_first", now=now)
    await propose_cut(session, case=case, inputs=write_inputs(case, facts, None), now=now)
    return True


async def _take_back(session: AsyncSession, *, now: datetime) -> None:
    orders = await lock_orders(
        session, SupplyOrder.reason.in_(PROTECTIVE), SupplyOrder.state.in_(ACTIVE)
    )
    for order in orders:
        case = case_of(order, approver_id=order.approved_by_id)
        facts, _ = await gather(session, case=case, now=now)
        if not facts.in_danger:
            await cancel(session, order, reason=Reason.SAFE, note=Refusal.DANGER_OVER, now=now)
    source = SupplyOrder.inputs["danger"]["source_id"].as_integer()
    said = select(Leak.id).where(Leak.answer == LeakAnswer.MINE)
    normal = select(Alarm.id).where(Alarm.ended_at.is_not(None))
    closed = select(ServicePoint.id).where(ServicePoint.supply == Supply.CUT)
    done = await lock_orders(
        session,
        SupplyOrder.state == OrderState.CONFIRMED,
        SupplyOrder.service_point_id.in_(closed),
        or_(
            (SupplyOrder.reason == Reason.BURST) & source.in_(said),
            (SupplyOrder.reason == Reason.OVER_VOLTAGE) & source.in_(normal),
        ),
    )
    for order in done:
        standing = await find_standing_cut(session, service_point_id=order.service_point_id)
        if standing is order:
            await order_restore(session, cut=order, reason=Reason.SAFE, now=now)

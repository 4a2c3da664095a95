"""
Cuts where prepaid and emergency credit are used up: proposed in working hours, a person decides.

They go the way of every cut, past every guard that does not belong to bills.
"""

from datetime import datetime

from sqlalchemy import Row, Select, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Agreement, ServicePoint, Supply
from core.billing.prepaid import PrepaidWatch
from core.billing.settlement import lock_agreements
from core.monitoring.models import Meter
from core.supply.facts import gather
from core.supply.guards import DAY, Stage, refusals
from core.supply.models import OrderState, Reason, SupplyOrder
from core.supply.orders import ACTIVE, Case, propose_cut
from core.supply.service import CHUNK, write_inputs

# After these a cut is not proposed again, until credit came and was used up anew.
_DECIDED = (OrderState.CONFIRMED, OrderState.DECLINED)


async def take_up_used_up(session: AsyncSession, *, now: datetime) -> int:
    """
    Propose cuts where nothing is left of a prepaid credit; return how many.

    A proposal does nothing by itself. Where a guard stands against it, as in friendly hours,
    nothing is proposed; it is looked at again the next time.
    """
    wanted = (await session.execute(_candidates(now))).all()
    locked = {row.agreement_id for row in wanted}
    await lock_agreements(session, agreement_ids=locked)
    found = (await session.execute(_candidates(now))).all()
    return sum([await _propose(session, row, now=now) for row in found if row[0] in locked])


async def _propose(session: AsyncSession, row: Row[int, int, int], *, now: datetime) -> bool:
    agreement_id, service_point_id, meter_id = row
    case = Case(
        service_point_id=service_point_id,
        agreement_id=agreement_id,
        meter_id=meter_id,
        reason=Reason.CREDIT_USED,
    )
    facts, balance = await gather(session, case=case, now=now)
    if refusals(facts, stage=Stage.PROPOSING):
        return False
    await propose_cut(session, case=case, inputs=write_inputs(case, facts, balance), now=now)
    return True


def _candidates(now: datetime) -> Select[int, int, int]:
    decided = (
        select(SupplyOrder.id)
        .where(
            SupplyOrder.agreement_id == Agreement.id,
            SupplyOrder.reason == Reason.CREDIT_USED,
            SupplyOrder.proposed_at >= PrepaidWatch.used_up_at,
            or_(SupplyOrder.state.in_(_DECIDED), SupplyOrder.finished_at > now - DAY),
        )
        .exists()
    )
    return (
        select(Agreement.id.label("agreement_id"), ServicePoint.id, Meter.id)
        .join(PrepaidWatch, PrepaidWatch.agreement_id == Agreement.id)
        .join(ServicePoint, ServicePoint.id == Agreement.service_point_id)
        .join(Meter, (Meter.service_point_id == ServicePoint.id) & Meter.removed_at.is_(None))
        .where(
            PrepaidWatch.used_up_at.is_not(None),
            Agreement.is_prepaid,
            Agreement.ends_date.is_(None),
            ServicePoint.protected.is_(None),
            ServicePoint.supply == Supply.CONNECTED,
            Meter.switchable,
            Meter.gateway_id.is_not(None),
            ~decided,
            ~select(SupplyOrder.id)
            .where(SupplyOrder.service_point_id == ServicePoint.id, SupplyOrder.state.in_(ACTIVE))
            .exists(),
        )
        .order_by(Agreement.id)
        .limit(CHUNK)
    )

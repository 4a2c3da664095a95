"""Why a supply is off: one answer out of everything that is known, or that nothing is known."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import func, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import service as accounts
from core.accounts.models import ServicePoint, Supply
from core.accounts.service import Place
from core.billing.arrears import Arrears, find_arrears
from core.billing.plan_queries import PlanView, find_running
from core.monitoring.gateway_silence import list_silent
from core.monitoring.models import Alarm, Meter, Quantity, Reading, Sample
from core.outages.queries import OutageView, list_at
from core.repairs.models import Cause
from core.repairs.queries import RepairLine, list_for_customer
from core.repairs.workflow import ENDED
from core.supply.dangers import Danger
from core.supply.models import PROTECTIVE, Reason, SupplyOrder, SwitchReport
from core.supply.orders import ACTIVE, find_working_meter
from core.supply.restoring import find_standing_cut

# A meter that was silent for two days says nothing about today.
FRESH: Final = timedelta(hours=48)
_OWN_ANSWERS: Final = PROTECTIVE | {Reason.CREDIT_USED}


class Why(StrEnum):
    """The answers, the first that is true counts."""

    READY = "ready"
    RESTORING = "restoring"
    PROTECTED = "protected"
    PROTECTING = "protecting"
    CREDIT_USED = "credit_used"
    ARREARS = "arrears"
    OUTAGE = "outage"
    REPAIR = "repair"
    SWITCHED = "switched"
    CREDIT_ORDERED = "credit_ordered"
    CUT_ORDERED = "cut_ordered"
    CONNECTED = "connected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Why a supply is off, or that it is not, with what belongs to the reason."""

    why: Why
    place: Place
    since: datetime | None
    seen_at: datetime | None
    arrears: Arrears | None
    plan: PlanView | None
    outage: OutageView | None
    repair: RepairLine | None
    danger: Danger | None


async def why_is_my_supply_off(
    session: AsyncSession, *, person_id: int, service_point_id: int, now: datetime
) -> Answer:
    """
    Return the one reason why a supply is off; unknown is said to be unknown.

    Raises:
        AccountNotFound: the place is not this person's.
    """
    place = await accounts.get_place_of(
        session, person_id=person_id, service_point_id=service_point_id
    )
    point = await session.get_one(ServicePoint, service_point_id, populate_existing=True)
    is_cut = point.supply is Supply.CUT
    arrears = await find_arrears(
        session, agreement_ids=[place.agreement_id], now=now, with_paused=is_cut
    )
    outages = await list_at(session, service_point_id=service_point_id, now=now)
    repair = await _find_repair(session, place=place, person_id=person_id, now=now)
    meter = await find_working_meter(session, service_point_id=service_point_id)
    seen_at = await _find_sign(session, meter) if meter else None
    is_silent = meter is not None and await _is_silent(session, meter)
    orders = await session.scalars(
        select(SupplyOrder).where(
            SupplyOrder.service_point_id == service_point_id,
            SupplyOrder.state.in_(ACTIVE),
            SupplyOrder.approved_at.is_not(None),
        )
    )
    pending = orders.all()
    active = {
        (order.wanted, order.reason if order.reason in _OWN_ANSWERS else None) for order in pending
    }
    ours = await find_standing_cut(session, service_point_id=service_point_id)
    is_protected = ours is not None and ours.reason in PROTECTIVE
    is_fresh = seen_at is not None and seen_at > now - FRESH and not is_silent
    true = {
        Why.READY: point.supply is Supply.READY,
        Why.RESTORING: (Supply.CONNECTED, None) in active,
        Why.PROTECTED: is_cut and is_protected,
        Why.PROTECTING: any((Supply.CUT, reason) in active for reason in PROTECTIVE),
        Why.CREDIT_USED: is_cut and ours is not None and ours.reason is Reason.CREDIT_USED,
        Why.ARREARS: is_cut and ours is not None and not is_protected,
        Why.OUTAGE: bool(outages),
        Why.REPAIR: repair is not None,
        Why.SWITCHED: is_cut,
        Why.CREDIT_ORDERED: (Supply.CUT, Reason.CREDIT_USED) in active,
        Why.CUT_ORDERED: (Supply.CUT, None) in active,
        Why.CONNECTED: is_fresh and point.supply is Supply.CONNECTED,
    }
    return Answer(
        why=next((why for why in Why if true.get(why)), Why.UNKNOWN),
        place=place,
        since=point.supply_since,
        seen_at=seen_at,
        arrears=arrears.get(place.agreement_id),
        plan=await find_running(session, agreement_id=place.agreement_id, now=now),
        outage=outages[0] if outages else None,
        repair=repair,
        danger=next(filter(None, map(Danger.of, filter(None, [ours, *pending]))), None),
    )


async def _find_repair(
    session: AsyncSession, *, place: Place, person_id: int, now: datetime
) -> RepairLine | None:
    """Return the open repair that speaks of supply most; a switch that answers again does not."""
    lines = await list_for_customer(
        session, person_id=person_id, now=now, service_point_id=place.service_point_id
    )
    is_switch = {line.id: line.cause is Cause.SUPPLY_SWITCH for line in lines}
    telling = [
        line
        for line in lines
        if line.state not in ENDED and not (is_switch[line.id] and line.normal_at is not None)
    ]
    return max(telling, key=lambda line: is_switch[line.id], default=None)


async def _find_sign(session: AsyncSession, meter: Meter) -> datetime | None:
    """Return when the meter last said anything at all."""
    signs = union_all(
        *(
            select(func.max(table.taken_at).label("at")).where(table.meter_id == meter.id)
            for table in (SwitchReport, Reading, Sample)
        )
    ).subquery()
    seen_at: datetime | None = await session.scalar(select(func.max(signs.c.at)))
    return seen_at


async def _is_silent(session: AsyncSession, meter: Meter) -> bool:
    """Tell whether the meter, its gateway or all of them are missed."""
    if await list_silent(session) & {meter.gateway_id, None}:
        return True
    silence = select(Alarm.id).where(
        Alarm.meter_id == meter.id, Alarm.quantity == Quantity.SILENCE, Alarm.ended_at.is_(None)
    )
    return await session.scalar(silence.limit(1)) is not None

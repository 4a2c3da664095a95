"""Cuts, decided by people: proposed out of arrears, approved or declined, undone by one act."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Agreement, Role, ServicePoint, Staff, Supply
from core.billing.arrears import Arrears
from core.billing.models import (
    Bill,
    BillState,
    DunningStep,
    Payment,
    StepKind,
)
from core.billing.payment_states import CAME
from core.billing.prepaid import Balance
from core.billing.settlement import lock_agreements
from core.errors import DomainError
from core.monitoring.models import Meter
from core.supply.dangers import Danger
from core.supply.facts import gather
from core.supply.guards import DAY, Facts, Refusal, Stage, refusals
from core.supply.models import PROTECTIVE, OrderState, Reason, SupplyOrder
from core.supply.orders import (
    ACTIVE,
    VALID,
    Case,
    News,
    lock_order,
    lock_orders,
    make_nonce,
    move,
    note_audit,
    order_restore,
    propose_cut,
    tell_people,
)
from core.supply.restoring import cancel, find_standing_cut

CHUNK = 500
SERIAL_END = 4
# After these an order for the same step is not proposed again.
_DECIDED = (OrderState.CONFIRMED, OrderState.DECLINED)


class OnlyManagers(DomainError):
    """Only managers decide about supply."""

    code = "supply.not_allowed"


class OrderMovedOn(DomainError):
    """The order is no longer as it was shown."""

    code = "supply.order_moved_on"


class SerialDiffers(DomainError):
    """What was typed is not the end of the meter's serial number."""

    code = "supply.serial_differs"


class NothingToRestore(DomainError):
    """No cut stands or is under way there."""

    code = "supply.nothing_to_restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What became of an approval: done, or all that stands against it."""

    number: str
    refusals: Sequence[Refusal]


async def take_up_arrears(session: AsyncSession, *, now: datetime) -> int:
    """
    Propose orders for agreements whose ladder has come to its end; return how many.

    A proposal does nothing by itself. Where a guard stands against it nothing is proposed; it is
    looked at again the next time. An order that expired or failed is proposed anew after a day,
    one that was declined or carried out is not.
    """
    wanted = (await session.execute(_candidates(now))).all()
    locked = {row.agreement_id for row in wanted}
    await lock_agreements(session, agreement_ids=locked)
    proposed = 0
    for step_id, agreement_id, bill_id, service_point_id, meter_id in await session.execute(
        _candidates(now)
    ):
        case = Case(
            service_point_id=service_point_id,
            agreement_id=agreement_id,
            meter_id=meter_id,
            bill_id=bill_id,
        )
        facts, arrears = await gather(session, case=case, now=now)
        if agreement_id not in locked or arrears is None:
            continue
        if not refusals(facts, stage=Stage.PROPOSING):
            await propose_cut(
                session,
                case=case,
                step_id=step_id,
                inputs=write_inputs(case, facts, arrears),
                now=now,
            )
            proposed += 1
    return proposed


def _candidates(now: datetime) -> Select[int, int, int, int, int]:
    decided = (
        select(SupplyOrder.id)
        .where(
            SupplyOrder.step_id == DunningStep.id,
            or_(SupplyOrder.state.in_(_DECIDED), SupplyOrder.finished_at > now - DAY),
        )
        .exists()
    )
    active = (
        select(SupplyOrder.id)
        .where(SupplyOrder.service_point_id == ServicePoint.id, SupplyOrder.state.in_(ACTIVE))
        .exists()
    )
    payments = (
        select(func.count())
        .where(
            Payment.agreement_id == DunningStep.agreement_id,
            Payment.state.in_(CAME),
        )
        .scalar_subquery()
    )
    return (
        select(
            DunningStep.id, DunningStep.agreement_id, DunningStep.bill_id, ServicePoint.id, Meter.id
        )
        .join(Bill, Bill.id == DunningStep.bill_id)
        .join(Agreement, Agreement.id == DunningStep.agreement_id)
        .join(ServicePoint, ServicePoint.id == Agreement.service_point_id)
        .join(Meter, (Meter.service_point_id == ServicePoint.id) & Meter.removed_at.is_(None))
        .where(
            DunningStep.kind == StepKind.CUT_PROPOSED,
            DunningStep.round == payments,
            Bill.state == BillState.ISSUED,
            Agreement.ends_date.is_(None),
            ServicePoint.protected.is_(None),
            ServicePoint.supply == Supply.CONNECTED,
            Meter.switchable,
            Meter.gateway_id.is_not(None),
            ~decided,
            ~active,
        )
        .order_by(DunningStep.agreement_id)
        .limit(CHUNK)
    )


def write_inputs(case: Case, facts: Facts, arrears: Arrears | Balance | None) -> dict[str, Any]:
    """Return what is stored with an order: the danger, or what is owed, and every fact."""
    if case.danger is not None:
        return {**case.danger.as_inputs(), "facts": facts.as_inputs()}
    if isinstance(arrears, Balance):
        owed = {"currency": arrears.currency, "overdue_minor": facts.overdue_minor}
        return {**owed, "facts": facts.as_inputs()}
    assert arrears is not None  # noqa: S101 (or a guard stands against it)
    return {
        "bill": arrears.bill_number,
        "bill_id": arrears.bill_id,
        "currency": arrears.currency,
        "overdue_minor": arrears.overdue_minor,
        "overdue_days": arrears.overdue_days,
        "facts": facts.as_inputs(),
    }


async def review(
    session: AsyncSession, *, number: str, version: int | None, person_id: int, now: datetime
) -> Decision:
    """
    Tell what would stand against an approval at this moment, before anything is asked for.

    Raises:
        OrderNotFound, OrderMovedOn: as in `approve`.
    """
    order = await _lock_proposed(session, number=number, version=version)
    decision, _ = await _judge(session, order, person_id=person_id, now=now)
    return decision


async def _judge(
    session: AsyncSession, order: SupplyOrder, *, person_id: int, now: datetime
) -> tuple[Decision, dict[str, Any]]:
    """Return what stands against an approval, noted, or the facts on which nothing does."""
    case = case_of(order, approver_id=person_id)
    facts, arrears = await gather(session, case=case, now=now)
    found = refusals(facts, stage=Stage.APPROVING)
    if found:
        note_audit(session, order, "refused", now=now, actor_id=person_id, note=", ".join(found))
        return Decision(number=order.number, refusals=found), {}
    return Decision(number=order.number, refusals=()), write_inputs(case, facts, arrears)


async def approve(
    session: AsyncSession,
    *,
    number: str,
    version: int | None,
    serial_end: str | None,
    person_id: int,
    now: datetime,
) -> Decision:
    """
    Approve a proposed cut, after every guard has been checked again; else say what stands.

    A cut for arrears takes the end of the meter's serial number: it is not done by one slip of a
    finger. Against a danger one press must do; it is undone by one, too.

    Locks the agreement. The facts are stored with the order, which is valid for a day; the
    people get the last warning, and nothing is sent before it has reached them and its time has
    passed.

    Raises:
        OrderNotFound: there is no such order.
        OrderMovedOn: it is not waiting for a decision, or was shown in another version.
        SerialDiffers: `serial_end` is not how the meter's serial number ends.
    """
    order = await _lock_proposed(session, number=number, version=version)
    meter = await session.get_one(Meter, order.meter_id)
    is_slip = (serial_end or "").strip().upper() != meter.serial[-SERIAL_END:].upper()
    if is_slip and not (serial_end is None and order.reason in PROTECTIVE):
        raise SerialDiffers(serial=meter.serial)
    decision, inputs = await _judge(session, order, person_id=person_id, now=now)
    if decision.refusals:
        return decision
    order.inputs = inputs
    order.approved_at = now
    order.approved_by_id = person_id
    order.nonce = make_nonce()
    order.valid_until = now + VALID
    await move(session, order, OrderState.APPROVED, now=now, actor_id=person_id)
    await tell_people(session, order, News.CUT_ORDERED, now=now)
    return decision


def case_of(order: SupplyOrder, *, approver_id: int | None) -> Case:
    """Return the case of an order to cut."""
    return Case(
        service_point_id=order.service_point_id,
        agreement_id=order.agreement_id,
        meter_id=order.meter_id,
        reason=order.reason,
        bill_id=order.inputs.get("bill_id"),
        danger=Danger.of(order),
        order=order,
        approver_id=approver_id,
    )


async def _lock_proposed(session: AsyncSession, *, number: str, version: int | None) -> SupplyOrder:
    order = await lock_order(session, number=number)
    if order.state is not OrderState.PROPOSED or version not in {None, order.version}:
        raise OrderMovedOn(number=number)
    return order


async def decline(
    session: AsyncSession,
    *,
    number: str,
    version: int | None,
    reason: str,
    person_id: int,
    now: datetime,
) -> None:
    """
    Decline a proposed cut; it is not proposed again for the same step.

    Raises:
        OnlyManagers: this person is none.
        OrderNotFound, OrderMovedOn: as in `approve`.
    """
    await _require_manager(session, person_id)
    order = await _lock_proposed(session, number=number, version=version)
    await move(session, order, OrderState.DECLINED, now=now, actor_id=person_id, note=reason)


async def find_point(session: AsyncSession, *, agreement_id: int) -> int:
    """Return the service point of an agreement."""
    return (await session.get_one(Agreement, agreement_id)).service_point_id


async def _require_manager(session: AsyncSession, person_id: int) -> None:
    if await session.get(Staff, (person_id, Role.MANAGER)) is None:
        raise OnlyManagers


async def undo_cut(
    session: AsyncSession, *, service_point_id: int, person_id: int, now: datetime
) -> str:
    """
    Take a cut back, whatever is owed: cancel the order that is under way, restore what is cut.

    One manager is enough; returns the number of the order that was undone.

    Raises:
        OnlyManagers: this person is none.
        NothingToRestore: no cut stands or is under way there.
    """
    await _require_manager(session, person_id)
    pending = await lock_orders(
        session,
        SupplyOrder.service_point_id == service_point_id,
        SupplyOrder.wanted == Supply.CUT,
        SupplyOrder.state.in_(ACTIVE),
    )
    for order in pending:
        await cancel(
            session, order, reason=Reason.UNDONE, note="undone", person_id=person_id, now=now
        )
        return order.number
    cut = await find_standing_cut(session, service_point_id=service_point_id)
    if cut is None:
        raise NothingToRestore
    await order_restore(session, cut=cut, reason=Reason.UNDONE, person_id=person_id, now=now)
    return cut.number

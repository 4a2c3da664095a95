"""Commands to the gateways: sent after one more look at every guard, tried again, given up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Service, ServicePoint, Supply
from core.errors import DomainError
from core.monitoring.models import Meter
from core.repairs.intake import file_repair
from core.repairs.models import Cause
from core.supply.facts import gather
from core.supply.guards import PASSING, Stage, refusals
from core.supply.models import OrderState, Reason, SupplyOrder
from core.supply.orders import (
    UNDERWAY,
    Alert,
    News,
    alert_managers,
    lock_orders,
    move,
    note_audit,
    order_restore,
    tell_people,
)
from core.supply.restoring import cancel
from core.supply.service import case_of

TRIES_MAX: Final = 3
# A relay on the mains answers in seconds, a valve on a battery when it next wakes up.
RETRY_AFTER: Final = {
    Service.ELECTRICITY: timedelta(minutes=1),
    Service.WATER: timedelta(minutes=10),
}
# Then somebody goes there; the promise to the customer is 24 hours.
RESTORE_PATIENCE: Final = timedelta(hours=1)


class CommandNotFound(DomainError):
    """No command of this name was given to this gateway."""

    code = "supply.command_not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """
    What a gateway has to do; `nonce` names it once, a repeated one is the same command.

    `meter` is the serial number, `address` what the gateway calls it.
    """

    number: str
    meter: str
    address: str
    service: Service
    wanted: Supply
    nonce: str
    valid_until: datetime | None


async def dispatch(session: AsyncSession, *, gateway_id: int, now: datetime) -> list[Command]:
    """
    Hand a gateway the commands for its meters that are due, restores first.

    Locks the agreements and judges every cut again. What passes by itself (the hours, the number
    of cuts, the last warning) makes a cut wait; anything else cancels it.
    """
    meters = {
        meter_id: (serial, device or serial, service)
        for meter_id, serial, device, service in await session.execute(
            select(Meter.id, Meter.serial, Meter.device, ServicePoint.service)
            .join(ServicePoint, ServicePoint.id == Meter.service_point_id)
            .join(SupplyOrder, SupplyOrder.meter_id == Meter.id)
            .where(
                Meter.gateway_id == gateway_id,
                Meter.removed_at.is_(None),
                SupplyOrder.finished_at.is_(None),
            )
        )
    }
    commands: list[Command] = []
    if not meters:
        return commands
    for service, patience in RETRY_AFTER.items():
        mine = [meter_id for meter_id, (*_, kind) in meters.items() if kind is service]
        orders = await lock_orders(
            session,
            SupplyOrder.meter_id.in_(mine),
            or_(SupplyOrder.state == OrderState.APPROVED, SupplyOrder.state.in_(UNDERWAY)),
            or_(SupplyOrder.tried_at.is_(None), SupplyOrder.tried_at <= now - patience),
            or_(
                SupplyOrder.wanted == Supply.CONNECTED,
                and_(SupplyOrder.tries < TRIES_MAX, SupplyOrder.valid_until > now),
            ),
        )
        for order in orders:
            if order.wanted is Supply.CONNECTED or await _may_send(session, order, now=now):
                await _send(session, order, now=now)
                commands.append(_command(order, *meters[order.meter_id]))
    return commands


async def _may_send(session: AsyncSession, order: SupplyOrder, *, now: datetime) -> bool:
    case = case_of(order, approver_id=order.approved_by_id)
    facts, _ = await gather(session, case=case, now=now)
    found = refusals(facts, stage=Stage.SENDING)
    if not found:
        return True
    if not PASSING.issuperset(found):
        await cancel(session, order, reason=Reason.UNDONE, note=", ".join(found), now=now)
        await alert_managers(session, order, Alert.REFUSED, now=now, details=found)
    return False


async def _send(session: AsyncSession, order: SupplyOrder, *, now: datetime) -> None:
    order.tries += 1
    order.tried_at = now
    if order.state is OrderState.APPROVED:
        order.sent_at = now
        await move(session, order, OrderState.SENT, now=now)
    else:
        note_audit(session, order, "sent_again", now=now)


def _command(order: SupplyOrder, serial: str, address: str, service: Service) -> Command:
    assert order.nonce is not None  # noqa: S101 (an approved order has one)
    return Command(
        number=order.number,
        meter=serial,
        address=address,
        service=service,
        wanted=order.wanted,
        nonce=order.nonce,
        valid_until=order.valid_until,
    )


async def accept_command(
    session: AsyncSession, *, gateway_id: int, nonce: str, now: datetime
) -> OrderState:
    """
    Note that a gateway has passed a command on to its device; return the order's state.

    It is no proof of anything. For a cut that was cancelled or given up meanwhile it is an
    incident: the device may obey, so a restore is ordered.

    Raises:
        CommandNotFound: this gateway was given no such command.
    """
    own = select(Meter.id).where(Meter.gateway_id == gateway_id)
    found = await lock_orders(
        session,
        SupplyOrder.nonce == nonce,
        SupplyOrder.meter_id.in_(own),
        SupplyOrder.sent_at.is_not(None),
    )
    if not found:
        raise CommandNotFound
    (order,) = found
    if order.state is OrderState.SENT:
        await move(session, order, OrderState.ACCEPTED, now=now)
    elif order.state not in {OrderState.ACCEPTED, OrderState.CONFIRMED}:
        await undo_late(session, order, now=now)
    return order.state


async def undo_late(session: AsyncSession, order: SupplyOrder, *, now: datetime) -> None:
    """Restore what a device may have cut after its order was over, and say so to managers."""
    note_audit(session, order, "late", now=now)
    await alert_managers(session, order, Alert.LATE, now=now)
    await order_restore(session, cut=order, reason=Reason.UNDONE, now=now)


async def give_up(session: AsyncSession, *, now: datetime) -> int:
    """
    End cuts whose time or tries are over, and send somebody where a device does not obey.

    A restore is never given up: a repair is filed and the command goes on. Returns how many
    orders were touched.
    """
    cut = SupplyOrder.wanted == Supply.CUT
    unanswered = or_(
        *(
            and_(
                ServicePoint.service == service,
                SupplyOrder.tries >= TRIES_MAX,
                SupplyOrder.tried_at <= now - patience,
            )
            for service, patience in RETRY_AFTER.items()
        )
    )
    points = select(ServicePoint.id).where(
        ServicePoint.id == SupplyOrder.service_point_id, unanswered
    )
    over = await lock_orders(
        session, cut, SupplyOrder.state == OrderState.APPROVED, SupplyOrder.valid_until <= now
    )
    for order in over:
        await move(session, order, OrderState.EXPIRED, now=now)
        await tell_people(session, order, News.CUT_CANCELLED, now=now)
    failed = await lock_orders(
        session,
        cut,
        SupplyOrder.state.in_(UNDERWAY),
        or_(SupplyOrder.valid_until <= now, points.correlate(SupplyOrder).exists()),
    )
    for order in failed:
        await move(session, order, OrderState.FAILED, now=now)
        await tell_people(session, order, News.CUT_CANCELLED, now=now)
        await _send_somebody(session, order, Alert.FAILED, now=now)
    stuck = await lock_orders(
        session,
        SupplyOrder.wanted == Supply.CONNECTED,
        SupplyOrder.finished_at.is_(None),
        SupplyOrder.alerted_at.is_(None),
        func.coalesce(SupplyOrder.approved_at, SupplyOrder.proposed_at) <= now - RESTORE_PATIENCE,
    )
    for order in stuck:
        order.alerted_at = now
        await _send_somebody(session, order, Alert.NOT_RESTORED, now=now)
    return sum(map(len, (over, failed, stuck)))


async def _send_somebody(
    session: AsyncSession, order: SupplyOrder, alert: Alert, *, now: datetime
) -> None:
    repair, _ = await file_repair(
        session,
        service_point_id=order.service_point_id,
        cause=Cause.SUPPLY_SWITCH,
        now=now,
    )
    details: Sequence[str] = (repair.number,)
    await alert_managers(session, order, alert, now=now, details=details)

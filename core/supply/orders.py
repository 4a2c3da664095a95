"""Orders as rows: made, locked, moved on; and who is told of it. Callers own the transaction."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts.models import Role, Supply
from core.accounts.service import list_staff
from core.billing.bills import people_of
from core.billing.settlement import lock_agreements
from core.errors import DomainError
from core.monitoring.models import Meter
from core.notices import service as notices
from core.notices.models import Lane
from core.numbers import take_numbers
from core.supply.dangers import Danger
from core.supply.models import OrderState, Reason, SupplyOrder

ACTIVE: Final = (
    OrderState.PROPOSED,
    OrderState.APPROVED,
    OrderState.SENT,
    OrderState.ACCEPTED,
)
UNDERWAY: Final = (OrderState.SENT, OrderState.ACCEPTED)
# A command that was not carried out within a day says nothing about today's debt.
VALID: Final = timedelta(hours=24)


class OrderNotFound(DomainError):
    """There is no order of this number that this person may see."""

    code = "supply.order_not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A cut that is wanted, for money or against a danger, whether or not there is an order."""

    service_point_id: int
    agreement_id: int
    meter_id: int
    reason: Reason = Reason.ARREARS
    bill_id: int | None = None
    danger: Danger | None = None
    order: SupplyOrder | None = None
    approver_id: int | None = None


class News(StrEnum):
    """What the people at a place are told."""

    CUT_ORDERED = "cut_ordered"
    CUT_CANCELLED = "cut_cancelled"
    CUT = "cut"
    RESTORING = "restoring"
    RESTORED = "restored"


class Alert(StrEnum):
    """What managers are told beside the order's card."""

    REFUSED = "refused"
    FAILED = "failed"
    NOT_RESTORED = "not_restored"
    LATE = "late"
    STILL_FLOWS = "still_flows"
    ON_BY_ITSELF = "on_by_itself"


async def lock_orders(session: AsyncSession, *conditions: ColumnElement[bool]) -> list[SupplyOrder]:
    """
    Return the orders that fulfil conditions, locked, after their agreements, restores first.

    Every path takes the agreement first, as payments do, so none waits for another in a circle;
    the conditions are asked again once the locks are held.
    """
    agreement_ids = await session.scalars(select(SupplyOrder.agreement_id).where(*conditions))
    locked = sorted(set(agreement_ids))
    if not locked:
        return []
    await lock_agreements(session, agreement_ids=locked)
    orders = await session.scalars(
        select(SupplyOrder)
        .where(*conditions, SupplyOrder.agreement_id.in_(locked))
        .order_by(SupplyOrder.wanted != Supply.CONNECTED, SupplyOrder.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return list(orders)


async def lock_order(session: AsyncSession, *, number: str) -> SupplyOrder:
    """
    Return an order, locked.

    Raises:
        OrderNotFound: there is none of this number.
    """
    found = await lock_orders(session, SupplyOrder.number == number)
    if not found:
        raise OrderNotFound(number=number)
    return found[0]


async def find_working_meter(session: AsyncSession, *, service_point_id: int) -> Meter | None:
    """Return the meter that works at a service point."""
    meter: Meter | None = await session.scalar(
        select(Meter).where(Meter.service_point_id == service_point_id, Meter.removed_at.is_(None))
    )
    return meter


def make_nonce() -> str:
    """Return what names a command once and cannot be guessed: 128 bits."""
    return secrets.token_urlsafe(16)


async def move(
    session: AsyncSession,
    order: SupplyOrder,
    state: OrderState,
    *,
    now: datetime,
    actor_id: int | None = None,
    note: str | None = None,
) -> None:
    """Take an order one step on: its row, the audit and the managers' card in one go."""
    order.state = state
    order.version += 1
    if note is not None:
        order.note = note
    if state not in ACTIVE:
        order.finished_at = now
    note_audit(session, order, state.value, now=now, actor_id=actor_id, note=note)
    await session.flush()
    await refresh(session, order, now=now)


def note_audit(
    session: AsyncSession,
    order: SupplyOrder,
    what: str,
    *,
    now: datetime,
    actor_id: int | None = None,
    note: str | None = None,
) -> None:
    """Write down an act on an order."""
    audit.record(
        session,
        at=now,
        actor_id=actor_id,
        action=f"supply.{what}",
        subject=f"supply:{order.number}",
        wanted=order.wanted.value,
        reason=order.reason.value,
        version=order.version,
        note=note,
    )


async def propose_cut(
    session: AsyncSession,
    *,
    case: Case,
    step_id: int | None = None,
    inputs: dict[str, Any],
    now: datetime,
) -> SupplyOrder:
    """File an order to cut for a person to decide; it does nothing by itself."""
    (number,) = await take_numbers(session, prefix="S")
    order = SupplyOrder(
        number=number,
        service_point_id=case.service_point_id,
        agreement_id=case.agreement_id,
        meter_id=case.meter_id,
        step_id=step_id,
        wanted=Supply.CUT,
        reason=case.reason,
        state=OrderState.PROPOSED,
        version=1,
        inputs=inputs,
        proposed_at=now,
        tries=0,
    )
    session.add(order)
    await session.flush()
    note_audit(session, order, "proposed", now=now)
    await refresh(session, order, now=now)
    return order


async def order_restore(
    session: AsyncSession,
    *,
    cut: SupplyOrder,
    reason: Reason,
    now: datetime,
    person_id: int | None = None,
) -> SupplyOrder:
    """
    Order that a cut is undone, at once: no brake, no hours, no approval; it never expires.

    A restore that is under way already is that order. The people are told that it is coming.
    """
    active: SupplyOrder | None = await session.scalar(
        select(SupplyOrder).where(
            SupplyOrder.service_point_id == cut.service_point_id,
            SupplyOrder.wanted == Supply.CONNECTED,
            SupplyOrder.state.in_(ACTIVE),
        )
    )
    if active is not None:
        return active
    meter = await find_working_meter(session, service_point_id=cut.service_point_id)
    (number,) = await take_numbers(session, prefix="S")
    order = SupplyOrder(
        number=number,
        service_point_id=cut.service_point_id,
        agreement_id=cut.agreement_id,
        meter_id=meter.id if meter is not None else cut.meter_id,
        wanted=Supply.CONNECTED,
        reason=reason,
        state=OrderState.APPROVED,
        version=1,
        inputs={"cut": cut.number},
        proposed_at=now,
        approved_at=now,
        approved_by_id=person_id,
        nonce=make_nonce(),
        tries=0,
    )
    session.add(order)
    await session.flush()
    note_audit(session, order, "restore_ordered", now=now, actor_id=person_id)
    await refresh(session, order, now=now)
    await tell_people(session, order, News.RESTORING, now=now)
    return order


async def tell_people(
    session: AsyncSession, order: SupplyOrder, news: News, *, now: datetime
) -> None:
    """Tell the people at a place what happens to their supply, and why."""
    people = await people_of(session, agreement_ids=[order.agreement_id])
    await notices.enqueue(
        session,
        person_ids=people.get(order.agreement_id, ()),
        kind=f"supply.{news}",
        params={"order": order.number},
        dedupe_key=news_key(order, news),
        now=now,
        lane=Lane.URGENT,
    )


def news_key(order: SupplyOrder, news: News) -> str:
    """Return the key under which people are told something about an order, once."""
    return f"supply:{order.number}:{news}"


async def refresh(session: AsyncSession, order: SupplyOrder, *, now: datetime) -> None:
    """Have the managers' card of a cut drawn, again where it is; its restore shows on it."""
    cut, version = order.number, str(order.version)
    if order.wanted is Supply.CONNECTED:
        cut, version = order.inputs["cut"], f"{order.number}.{order.version}"
    await notices.refresh_card(
        session,
        person_ids=await list_staff(session, role=Role.MANAGER),
        kind="supply.proposed",
        params={"order": cut},
        card=f"supply:{cut}",
        version=version,
        now=now,
    )


async def alert_managers(
    session: AsyncSession,
    order: SupplyOrder,
    alert: Alert,
    *,
    now: datetime,
    details: Iterable[str] = (),
) -> None:
    """Tell managers once that an order does not go as it should."""
    await notices.enqueue(
        session,
        person_ids=await list_staff(session, role=Role.MANAGER),
        kind="supply.alert",
        params={"order": order.number, "alert": alert.value, "details": list(details)},
        dedupe_key=f"supply:{order.number}:alert:{alert}",
        now=now,
        lane=Lane.URGENT,
    )

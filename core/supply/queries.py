"""What orders say to managers and to the customer: who, why, how much, when. Only reads."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import (
    Account,
    AccountRight,
    Agreement,
    Person,
    Premise,
    Service,
    ServicePoint,
    Supply,
)
from core.monitoring.models import Meter
from core.supply.dangers import Danger
from core.supply.models import OrderState, Reason, SupplyOrder
from core.supply.orders import ACTIVE, OrderNotFound

LISTED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderView:
    """
    An order with the facts that were stored when it was proposed or approved.

    `approved_by` is the manager who approved a cut or ordered a restore; empty for what the
    service does by itself. `danger` is what a protective cut rests on.

    Units: `overdue_minor` minor units.
    """

    id: int
    number: str
    version: int
    state: OrderState
    wanted: Supply
    reason: Reason
    service: Service
    service_point_id: int
    agreement_id: int
    supply: Supply
    address: str
    account_number: str
    holder_name: str
    meter_serial: str
    bill_number: str | None
    danger: Danger | None
    currency: str | None
    overdue_minor: int
    overdue_days: int
    reminder_delivered_at: datetime | None
    notice_delivered_at: datetime | None
    proposed_at: datetime
    approved_at: datetime | None
    approved_by: str | None
    valid_until: datetime | None
    finished_at: datetime | None
    note: str | None


_Row = tuple[SupplyOrder, ServicePoint, Premise, Account, Meter, str | None]


def _orders() -> Select[SupplyOrder, ServicePoint, Premise, Account, Meter, str | None]:
    return (
        select(SupplyOrder, ServicePoint, Premise, Account, Meter, Person.name)
        .join(ServicePoint, ServicePoint.id == SupplyOrder.service_point_id)
        .join(Premise, Premise.id == ServicePoint.premise_id)
        .join(Agreement, Agreement.id == SupplyOrder.agreement_id)
        .join(Account, Account.id == Agreement.account_id)
        .join(Meter, Meter.id == SupplyOrder.meter_id)
        .outerjoin(Person, Person.id == SupplyOrder.approved_by_id)
        .execution_options(populate_existing=True)
    )


def _view(row: _Row) -> OrderView:
    order, point, premise, account, meter, approved_by = row
    facts = order.inputs.get("facts", {})
    return OrderView(
        id=order.id,
        number=order.number,
        version=order.version,
        state=order.state,
        wanted=order.wanted,
        reason=order.reason,
        service=point.service,
        service_point_id=point.id,
        agreement_id=order.agreement_id,
        supply=point.supply,
        address=premise.address,
        account_number=account.number,
        holder_name=account.holder_name,
        meter_serial=meter.serial,
        bill_number=order.inputs.get("bill"),
        danger=Danger.of(order),
        currency=order.inputs.get("currency"),
        overdue_minor=order.inputs.get("overdue_minor", 0),
        overdue_days=order.inputs.get("overdue_days", 0),
        reminder_delivered_at=_moment(facts.get("reminder_delivered_at")),
        notice_delivered_at=_moment(facts.get("notice_delivered_at")),
        proposed_at=order.proposed_at,
        approved_at=order.approved_at,
        approved_by=approved_by,
        valid_until=order.valid_until,
        finished_at=order.finished_at,
        note=order.note,
    )


def _moment(stored: Any) -> datetime | None:  # noqa: ANN401 (what JSON holds)
    return datetime.fromisoformat(stored) if isinstance(stored, str) else None


async def get_order(session: AsyncSession, *, number: str) -> OrderView:
    """
    Return an order.

    Raises:
        OrderNotFound: there is none of this number.
    """
    row = (await session.execute(_orders().where(SupplyOrder.number == number))).one_or_none()
    if row is None:
        raise OrderNotFound(number=number)
    return _view(row)


async def find_restore(session: AsyncSession, *, cut: OrderView) -> OrderView | None:
    """Return the latest order that takes a cut back, if there is one."""
    rows = await session.execute(
        _orders()
        .where(
            SupplyOrder.service_point_id == cut.service_point_id,
            SupplyOrder.wanted == Supply.CONNECTED,
            SupplyOrder.inputs["cut"].as_string() == cut.number,
        )
        .order_by(SupplyOrder.id.desc())
        .limit(1)
    )
    row = rows.one_or_none()
    return None if row is None else _view(row)


async def get_order_of(session: AsyncSession, *, number: str, person_id: int) -> OrderView:
    """
    Return an order that concerns an account on which this person has a right.

    Raises:
        OrderNotFound: there is none, it is somebody else's, or it was only proposed.
    """
    row = (
        await session.execute(
            _orders()
            .join(AccountRight, AccountRight.account_id == Account.id)
            .where(
                SupplyOrder.number == number,
                SupplyOrder.approved_at.is_not(None),
                AccountRight.person_id == person_id,
            )
        )
    ).one_or_none()
    if row is None:
        raise OrderNotFound(number=number)
    return _view(row)


async def list_cuts(session: AsyncSession) -> list[OrderView]:
    """Return the cuts that wait for a decision or are under way, the oldest first."""
    rows = await session.execute(
        _orders()
        .where(SupplyOrder.wanted == Supply.CUT, SupplyOrder.state.in_(ACTIVE))
        .order_by(SupplyOrder.id)
        .limit(LISTED)
    )
    return [_view(row) for row in rows]


async def list_history(
    session: AsyncSession, *, service_point_id: int, person_id: int
) -> list[OrderView]:
    """Return what was ordered at a person's place, the newest first; proposals are not orders."""
    rows = await session.execute(
        _orders()
        .join(AccountRight, AccountRight.account_id == Account.id)
        .where(
            SupplyOrder.service_point_id == service_point_id,
            SupplyOrder.approved_at.is_not(None),
            AccountRight.person_id == person_id,
        )
        .order_by(SupplyOrder.id.desc())
        .limit(LISTED)
    )
    return [_view(row) for row in rows]

"""Bills and receipts as people look at them. Only reads; what is not yours does not exist."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import cast

from sqlalchemy import Row, Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Account, AccountRight, Agreement, Premise, Service, ServicePoint
from core.billing.bills import BillNotFound
from core.billing.inputs import read_spans
from core.billing.models import Allocation, Bill, BillLine, BillState, Payment, PaymentState
from core.billing.payments import PaidBill, list_paid_bills
from core.billing.registers import BilledSpan
from core.billing.settlement import list_open_bills
from core.billing.tariff_store import get_tariffs
from core.errors import DomainError

BILLS_SHOWN = 12
PERIODS_SHOWN = 13


class ReceiptNotFound(DomainError):
    """There is no receipt of this number that this person may see."""

    code = "payment.receipt_not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Whose bill or receipt it is, and for what."""

    agreement_id: int
    service: Service
    account_number: str
    holder_name: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BillSummary:
    """A bill in a list. Units: minor units; `starts` until before `ends`."""

    number: str
    party: Party
    starts: date
    ends: date
    consumption: Decimal
    currency: str
    total_minor: int
    left_minor: int
    state: BillState
    due_date: date | None
    issued_at: datetime | None
    settled_at: datetime | None
    held_reason: str | None
    void_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineView:
    """One line; `names` is what the tariff calls it in each language."""

    names: Mapping[str, str]
    kind: str
    starts: date
    ends: date
    tier: int | None
    tier_from: Decimal | None
    tier_to: Decimal | None
    register: str | None
    quantity: Decimal
    price: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedPeriod:
    """The use of one billed period."""

    starts: date
    ends: date
    consumption: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class BillView:
    """A whole bill: what it was made from, its lines, what else is open, the use before it."""

    bill: BillSummary
    spans: Sequence[BilledSpan]
    lines: Sequence[LineView]
    others_open_minor: int
    usage: Sequence[UsedPeriod]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptView:
    """A payment that came in and where it went. Units: minor units."""

    number: str
    party: Party
    provider: str
    reference: str
    received_at: datetime
    currency: str
    amount_minor: int
    bills: Sequence[tuple[PaidBill, date, date]]
    credit_minor: int
    owed_minor: int


def _bills(person_id: int | None) -> Select[Bill, Service, Account, str, int]:
    """Select bills with their parties; those that a person may see, or all for the staff."""
    paid = (
        select(func.coalesce(func.sum(Allocation.amount_minor), 0))
        .where(Allocation.bill_id == Bill.id)
        .correlate(Bill)
        .scalar_subquery()
    )
    query = (
        select(Bill, ServicePoint.service, Account, Premise.address, paid)
        .join(Agreement, Agreement.id == Bill.agreement_id)
        .join(Account, Account.id == Agreement.account_id)
        .join(ServicePoint, ServicePoint.id == Agreement.service_point_id)
        .join(Premise, Premise.id == ServicePoint.premise_id)
    )
    if person_id is None:
        return query
    return query.join(AccountRight, AccountRight.account_id == Account.id).where(
        AccountRight.person_id == person_id, Bill.state != BillState.HELD
    )


def _summary(row: Row[Bill, Service, Account, str, int]) -> BillSummary:
    bill, service, account, address, paid = row
    is_owed = bill.state is BillState.ISSUED
    return BillSummary(
        number=bill.number,
        party=Party(
            agreement_id=bill.agreement_id,
            service=service,
            account_number=account.number,
            holder_name=account.holder_name,
            address=address,
        ),
        starts=bill.starts_date,
        ends=bill.ends_date,
        consumption=bill.consumption,
        currency=bill.currency,
        total_minor=bill.total_minor,
        left_minor=bill.total_minor - int(paid) if is_owed else 0,
        state=bill.state,
        due_date=bill.due_date,
        issued_at=bill.issued_at,
        settled_at=bill.settled_at,
        held_reason=bill.held_reason,
        void_reason=bill.void_reason,
    )


async def list_bills(session: AsyncSession, *, person_id: int) -> list[BillSummary]:
    """Return a person's bills: the open ones by due date, then the latest of the others."""
    waiting = await session.execute(
        _bills(person_id).where(Bill.state == BillState.ISSUED).order_by(Bill.due_date, Bill.id)
    )
    rest = await session.execute(
        _bills(person_id)
        .where(Bill.state != BillState.ISSUED)
        .order_by(Bill.ends_date.desc(), Bill.id.desc())
        .limit(BILLS_SHOWN)
    )
    return [_summary(row) for row in (*waiting, *rest)]


async def list_held_bills(session: AsyncSession) -> list[BillSummary]:
    """Return the bills that wait for a manager's decision, the oldest first."""
    rows = await session.execute(_bills(None).where(Bill.state == BillState.HELD).order_by(Bill.id))
    return [_summary(row) for row in rows]


async def get_bill(session: AsyncSession, *, number: str, person_id: int | None) -> BillView:
    """
    Return a bill that a person may see, or any bill for the staff (`person_id` empty).

    Raises:
        BillNotFound: there is no such bill, it is held, or it is somebody else's.
    """
    row = (await session.execute(_bills(person_id).where(Bill.number == number))).one_or_none()
    if row is None:
        raise BillNotFound(number=number)
    summary = _summary(row)
    stored: Bill = row[0]
    waiting = await list_open_bills(session, agreement_ids=[stored.agreement_id])
    return BillView(
        bill=summary,
        spans=read_spans(stored.inputs),
        lines=await _lines(session, stored),
        others_open_minor=sum(bill.left_minor for bill in waiting if bill.number != number),
        usage=await list_usage(session, agreement_id=stored.agreement_id, until=stored.ends_date),
    )


async def _lines(session: AsyncSession, bill: Bill) -> list[LineView]:
    code = await session.scalar(
        select(Agreement.tariff_code).where(Agreement.id == bill.agreement_id)
    )
    tariffs = await get_tariffs(session, codes=[cast("str", code)])
    labels = {
        code: label for stored in tariffs.values() for code, label in stored.tariff.labels.items()
    }
    lines = await session.scalars(
        select(BillLine).where(BillLine.bill_id == bill.id).order_by(BillLine.position)
    )
    return [
        LineView(
            names=labels.get(line.component, {}),
            kind=line.kind,
            starts=line.starts_date,
            ends=line.ends_date,
            tier=line.tier,
            tier_from=line.tier_from,
            tier_to=line.tier_to,
            register=line.register,
            quantity=line.quantity,
            price=line.price,
            amount=line.amount,
        )
        for line in lines
    ]


async def list_usage(session: AsyncSession, *, agreement_id: int, until: date) -> list[UsedPeriod]:
    """Return what was used in the latest billed periods that ended by a day, the oldest first."""
    rows = await session.execute(
        select(Bill.starts_date, Bill.ends_date, Bill.consumption)
        .where(
            Bill.agreement_id == agreement_id,
            Bill.state.in_([BillState.ISSUED, BillState.SETTLED]),
            Bill.ends_date <= until,
        )
        .order_by(Bill.ends_date.desc())
        .limit(PERIODS_SHOWN)
    )
    return [
        UsedPeriod(starts=starts, ends=ends, consumption=consumption)
        for starts, ends, consumption in reversed(rows.all())
    ]


async def get_receipt(session: AsyncSession, *, number: str, person_id: int) -> ReceiptView:
    """
    Return the receipt of a payment that a person made, or that was made for their account.

    Raises:
        ReceiptNotFound: there is none, the money has not come, or it is somebody else's.
    """
    row = (
        await session.execute(
            select(Payment, ServicePoint.service, Account, Premise.address)
            .join(Agreement, Agreement.id == Payment.agreement_id)
            .join(Account, Account.id == Agreement.account_id)
            .join(ServicePoint, ServicePoint.id == Agreement.service_point_id)
            .join(Premise, Premise.id == ServicePoint.premise_id)
            .where(
                Payment.number == number,
                Payment.state == PaymentState.SUCCEEDED,
                or_(
                    Payment.payer_id == person_id,
                    select(AccountRight.person_id)
                    .where(
                        AccountRight.account_id == Account.id, AccountRight.person_id == person_id
                    )
                    .exists(),
                ),
            )
        )
    ).one_or_none()
    if row is None:
        raise ReceiptNotFound(number=number)
    payment, service, account, address = row
    paid = await list_paid_bills(session, payment_id=payment.id)
    periods = await session.execute(
        select(Bill.number, Bill.starts_date, Bill.ends_date).where(
            Bill.number.in_([bill.number for bill in paid])
        )
    )
    by_number = {bill_number: (starts, ends) for bill_number, starts, ends in periods}
    waiting = await list_open_bills(session, agreement_ids=[payment.agreement_id])
    return ReceiptView(
        number=payment.number,
        party=Party(
            agreement_id=payment.agreement_id,
            service=service,
            account_number=account.number,
            holder_name=account.holder_name,
            address=address,
        ),
        provider=payment.provider,
        reference=payment.reference,
        received_at=payment.received_at,
        currency=payment.currency,
        amount_minor=payment.amount_minor,
        bills=[(bill, *by_number[bill.number]) for bill in paid],
        credit_minor=payment.amount_minor - sum(bill.amount_minor for bill in paid),
        owed_minor=sum(bill.left_minor for bill in waiting),
    )

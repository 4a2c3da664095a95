"""Bills and receipts as people look at them. Only reads; what is not yours does not exist."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, TypeVarTuple

from sqlalchemy import Row, Select, case, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Account, AccountRight, Agreement, Premise, Service, ServicePoint
from core.billing.bills import BillNotFound
from core.billing.consumption import BilledSpan
from core.billing.correction_models import Dispute, DisputeState
from core.billing.inputs import read_spans
from core.billing.models import Allocation, Bill, BillLine, BillState, Payment
from core.billing.payment_states import CAME
from core.billing.payments import PaidBill, list_paid_bills
from core.billing.plan_models import PaymentPlan, PlanBill, PlanState
from core.billing.settlement import list_open_bills
from core.billing.tariff_store import get_tariffs
from core.errors import DomainError
from core.monitoring.photos import find_picture
from core.monitoring.rows import Key
from core.periods import a_year_before, month_of

BILLS_SHOWN = 12
PHOTO_BYTES_MAX = 300_000
Columns = TypeVarTuple("Columns")
PARTY = (
    Agreement.id,
    ServicePoint.service,
    Account.number,
    Account.holder_name,
    Premise.address,
    Agreement.is_prepaid,
)


class ReceiptNotFound(DomainError):
    """There is no receipt of this number that this person may see."""

    code = "payment.receipt_not_found"


@dataclass(frozen=True, slots=True)
class Party:
    """Whose bill or receipt it is, and for what."""

    agreement_id: int
    service: Service
    account_number: str
    holder_name: str
    address: str
    is_prepaid: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BillSummary:
    """
    A bill in a list. Units: minor units.

    `paused_by` is "disputed" while an objection to it is open, "planned" while it is paid in parts,
    and empty otherwise; a paused bill is not due by its own day.
    """

    bill: Bill
    party: Party
    left_minor: int
    paused_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BillView(BillSummary):
    """
    A whole bill: readings, lines, what the tariff calls each by language, bills before it.

    `photo` shows the register on which it closed, where somebody sent one.
    """

    spans: Sequence[BilledSpan]
    lines: Sequence[BillLine]
    labels: Mapping[str, Mapping[str, str]]
    usage: Sequence[Bill]
    photo: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptView:
    """
    A payment that came in and where it went. Units: minor units.

    `paid_before` is the bill that the payer meant, when it took nothing of the money.
    """

    payment: Payment
    party: Party
    bills: Sequence[PaidBill]
    paid_before: str | None
    credit_minor: int
    owed_minor: int


def _bills(person_id: int | None) -> Select[*tuple[Any, ...]]:
    """Select bills with their parties; those that a person may see, or all for the staff."""
    paid = (
        select(func.coalesce(func.sum(Allocation.amount_minor), 0))
        .where(Allocation.bill_id == Bill.id)
        .correlate(Bill)
        .scalar_subquery()
    )
    disputed = (
        select(Dispute.id)
        .where(Dispute.bill_id == Bill.id, Dispute.state == DisputeState.OPEN)
        .correlate(Bill)
        .exists()
    )
    planned = (
        select(PlanBill.bill_id)
        .join(PaymentPlan, PaymentPlan.id == PlanBill.plan_id)
        .where(PlanBill.bill_id == Bill.id, PaymentPlan.state == PlanState.AGREED)
        .correlate(Bill)
        .exists()
    )
    paused = case((disputed, "disputed"), (planned, "planned"), else_="")
    query = with_party(select(Bill, paid, paused, *PARTY).select_from(Bill).join(Agreement))
    if person_id is None:
        return query
    return query.join(AccountRight, AccountRight.account_id == Account.id).where(
        AccountRight.person_id == person_id, Bill.state != BillState.HELD
    )


def with_party(query: Select[*Columns]) -> Select[*Columns]:
    """Join to a query of agreements what `PARTY` reads."""
    return (
        query.join(Account, Account.id == Agreement.account_id)
        .join(ServicePoint, ServicePoint.id == Agreement.service_point_id)
        .join(Premise, Premise.id == ServicePoint.premise_id)
        .execution_options(populate_existing=True)
    )


def _summary(row: Row[*tuple[Any, ...]]) -> BillSummary:
    bill, paid, paused_by, *party = row
    left = (
        bill.total_minor - bill.credited_minor - int(paid) if bill.state is BillState.ISSUED else 0
    )
    return BillSummary(bill=bill, party=Party(*party), left_minor=left, paused_by=paused_by)


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


async def get_summary(session: AsyncSession, *, number: str, person_id: int | None) -> BillSummary:
    """
    Return a bill that a person may see, or any bill for the staff (`person_id` empty).

    Raises:
        BillNotFound: there is no such bill, it is held, or it is somebody else's.
    """
    row = (await session.execute(_bills(person_id).where(Bill.number == number))).one_or_none()
    if row is None:
        raise BillNotFound(number=number)
    return _summary(row)


async def get_bill(session: AsyncSession, *, number: str, person_id: int | None) -> BillView:
    """
    Return a bill with everything that stands on it.

    Raises:
        BillNotFound: see `get_summary`.
    """
    summary = await get_summary(session, number=number, person_id=person_id)
    bill = summary.bill
    code = await session.scalar(
        select(Agreement.tariff_code).where(Agreement.id == bill.agreement_id)
    )
    (tariff,) = (await get_tariffs(session, codes=[code or ""])).values()
    lines = await session.scalars(
        select(BillLine).where(BillLine.bill_id == bill.id).order_by(BillLine.position)
    )
    spans = read_spans(bill.inputs)
    closed = [Key(span.meter_id, span.register, span.closing.at) for span in spans]
    return BillView(
        bill=bill,
        party=summary.party,
        left_minor=summary.left_minor,
        paused_by=summary.paused_by,
        spans=spans,
        lines=lines.all(),
        labels=tariff.tariff.labels,
        usage=await _list_usage(session, agreement_id=bill.agreement_id, until=bill.ends_date),
        photo=await find_picture(session, keys=closed, bytes_max=PHOTO_BYTES_MAX),
    )


async def _list_usage(session: AsyncSession, *, agreement_id: int, until: date) -> Sequence[Bill]:
    """Return the bills of the thirteen months up to a day, the oldest first."""
    rows = await session.scalars(
        select(Bill)
        .where(
            Bill.agreement_id == agreement_id,
            Bill.state.in_([BillState.ISSUED, BillState.SETTLED]),
            Bill.ends_date <= until,
            Bill.ends_date > month_of(a_year_before(until) - timedelta(days=1)).starts,
        )
        .order_by(Bill.ends_date)
    )
    return rows.all()


async def get_receipt(session: AsyncSession, *, number: str, person_id: int | None) -> ReceiptView:
    """
    Return the receipt of a payment that a person made, or that was made for their account.

    The staff (`person_id` empty) may see all.

    Raises:
        ReceiptNotFound: there is none, the money has not come, or it is somebody else's.
    """
    theirs = select(AccountRight.account_id).where(AccountRight.person_id == person_id)
    payments: Select[*tuple[Any, ...]] = select(Payment, *PARTY).select_from(Payment)
    query = with_party(payments.join(Agreement)).where(
        Payment.number == number,
        Payment.state.in_(CAME),
        true() if person_id is None else or_(Payment.payer_id == person_id, Account.id.in_(theirs)),
    )
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise ReceiptNotFound(number=number)
    payment, *party = row
    paid = await list_paid_bills(session, payment_id=payment.id)
    waiting = await list_open_bills(session, agreement_ids=[payment.agreement_id])
    is_paid = (Bill.state == BillState.SETTLED) & (payment.kept_minor > 0)
    meant = await session.scalar(select(Bill.number).where(Bill.id == payment.bill_id, is_paid))
    return ReceiptView(
        payment=payment,
        party=Party(*party),
        bills=paid,
        paid_before=meant if meant not in {bill.number for bill in paid} else None,
        credit_minor=max(payment.kept_minor - sum(bill.amount_minor for bill in paid), 0),
        owed_minor=sum(bill.left_minor for bill in waiting),
    )

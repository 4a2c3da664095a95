"""Payments: taken once for ever, posted, put to bills, and receipted in the same transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import BigInteger, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from core.accounts.models import Account, Agreement, Service, ServicePoint
from core.billing import ledger
from core.billing.bills import BillNotFound, people_of
from core.billing.models import (
    Allocation,
    Bill,
    BillState,
    LedgerAccount,
    Payment,
    PaymentState,
)
from core.billing.settlement import list_open_bills, lock_agreements, settle
from core.db import lock_for_transaction
from core.errors import DomainError
from core.money import Money
from core.notices import service as notices
from core.notices.models import Lane
from core.numbers import take_numbers

# What a later report of the provider may overrule; money that came in is never un-said.
_WEIGHT = {
    PaymentState.PENDING: 0,
    PaymentState.UNKNOWN: 1,
    PaymentState.FAILED: 2,
    PaymentState.SUCCEEDED: 3,
}


class PaymentConflict(DomainError):
    """This payment is known with another amount, bill or payer's account."""

    code = "payment.conflict"


class AgreementNotFound(DomainError):
    """No account of this number has an agreement for this service."""

    code = "payment.agreement_not_found"


class BillNotOpen(DomainError):
    """The bill is paid or void: there is nothing to pay."""

    code = "payment.bill_not_open"


class AmountChanged(DomainError):
    """Less is open now than the invoice asks for, or it is another currency."""

    code = "payment.amount_changed"


class InvoiceNotOurs(DomainError):
    """The invoice does not name a bill in the way ours do."""

    code = "payment.invoice_not_ours"


@dataclass(frozen=True, slots=True)
class PaidBill:
    """A bill to which a payment went. Units: minor units."""

    number: str
    starts: date
    ends: date
    amount_minor: int
    left_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPayment:
    """A payment as it stands; what no bill took is `credit_minor`. Units: minor units."""

    number: str
    state: PaymentState
    amount_minor: int
    currency: str
    bills: Sequence[PaidBill]
    credit_minor: int
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is paid: an agreement, and the bill that the payer chose, if any."""

    agreement_id: int
    bill_id: int | None = None


async def find_target_by_bill(session: AsyncSession, *, number: str) -> Target:
    """
    Return what is paid by naming a bill, also one that was voided meanwhile.

    Raises:
        BillNotFound: there is none, or it is held and nobody saw it.
    """
    bill = (
        await session.execute(
            select(Bill.id, Bill.agreement_id).where(
                Bill.number == number, Bill.state != BillState.HELD
            )
        )
    ).one_or_none()
    if bill is None:
        raise BillNotFound(number=number)
    return Target(agreement_id=bill.agreement_id, bill_id=bill.id)


async def find_target_by_account(
    session: AsyncSession, *, account_number: str, service: Service
) -> Target:
    """
    Return the latest agreement of an account for a service.

    Raises:
        AgreementNotFound: there is none.
    """
    agreement_id = await session.scalar(
        select(Agreement.id)
        .join(Account, Account.id == Agreement.account_id)
        .join(ServicePoint, ServicePoint.id == Agreement.service_point_id)
        .where(Account.number == account_number, ServicePoint.service == service)
        .order_by(Agreement.starts_date.desc())
        .limit(1)
    )
    if agreement_id is None:
        raise AgreementNotFound(account=account_number)
    return Target(agreement_id=agreement_id)


async def record_payment(
    session: AsyncSession,
    *,
    provider: str,
    reference: str,
    target: Target,
    amount_minor: int,
    currency: str,
    received_at: datetime,
    now: datetime,
    payer_id: int | None = None,
    state: PaymentState = PaymentState.SUCCEEDED,
) -> RecordedPayment:
    """
    Record what a provider says about a payment; the same report again changes nothing.

    Locks the agreement. Money that came in is posted, put to the named bill and then to the
    oldest, and receipted. An unknown payment is kept and moves no money until the provider says
    more.

    Raises:
        PaymentConflict: the reference is known with another amount, bill or agreement.
    """
    await lock_for_transaction(session, f"payment:{provider}:{reference}")
    await lock_agreements(session, agreement_ids=[target.agreement_id])
    payment = await session.scalar(
        select(Payment).where(Payment.provider == provider, Payment.reference == reference)
    )
    before = payment.state if payment is not None else None
    if payment is None:
        (number,) = await take_numbers(session, prefix="P")
        payment = Payment(
            number=number,
            agreement_id=target.agreement_id,
            bill_id=target.bill_id,
            payer_id=payer_id,
            provider=provider,
            reference=reference,
            currency=currency,
            amount_minor=amount_minor,
            state=state,
            received_at=received_at,
        )
        session.add(payment)
        await session.flush()
    elif _what(payment) != (target.agreement_id, target.bill_id, amount_minor, currency):
        raise PaymentConflict(reference=reference)
    elif _WEIGHT[state] > _WEIGHT[payment.state]:
        payment.state = state
        await session.flush()
    if payment.state is PaymentState.SUCCEEDED and before is not PaymentState.SUCCEEDED:
        await _take_in(session, payment, now)
    return await _recorded(session, payment, is_new=before is None)


def _what(payment: Payment) -> tuple[int, int | None, int, str]:
    return payment.agreement_id, payment.bill_id, payment.amount_minor, payment.currency


async def _take_in(session: AsyncSession, payment: Payment, now: datetime) -> None:
    await ledger.post(
        session,
        kind="payment",
        reference=f"payment:{payment.number}",
        entries=ledger.owed_against(
            LedgerAccount.CASH,
            agreement_id=payment.agreement_id,
            amount_minor=-payment.amount_minor,
            currency=payment.currency,
        ),
        at=now,
    )
    await settle(session, agreement_ids=[payment.agreement_id], now=now)
    people = await people_of(session, agreement_ids=[payment.agreement_id])
    told = {*people.get(payment.agreement_id, ())}
    if payment.payer_id is not None:
        told.add(payment.payer_id)
    await notices.enqueue(
        session,
        person_ids=told,
        kind="payment.receipt",
        params={"number": payment.number},
        dedupe_key=f"payment:{payment.number}",
        now=now,
        lane=Lane.URGENT,
    )


async def list_paid_bills(session: AsyncSession, *, payment_id: int) -> list[PaidBill]:
    """Return the bills to which a payment went, the oldest first, and what it left of each."""
    earlier = aliased(Allocation)  # so that the answer stays the same after later payments
    paid = (
        select(func.sum(earlier.amount_minor))
        .where(earlier.bill_id == Bill.id, earlier.payment_id <= payment_id)
        .correlate(Bill)
        .scalar_subquery()
    )
    rows = await session.execute(
        select(
            Bill.number,
            Bill.starts_date,
            Bill.ends_date,
            Allocation.amount_minor,
            cast(Bill.total_minor - Bill.credited_minor - paid, BigInteger),
        )
        .join(Bill, Bill.id == Allocation.bill_id)
        .where(Allocation.payment_id == payment_id)
        .order_by(Bill.due_date, Bill.id)
    )
    return [PaidBill(*row) for row in rows]


async def _recorded(session: AsyncSession, payment: Payment, *, is_new: bool) -> RecordedPayment:
    bills = await list_paid_bills(session, payment_id=payment.id)
    used = sum(bill.amount_minor for bill in bills)
    has_come = payment.state is PaymentState.SUCCEEDED
    return RecordedPayment(
        number=payment.number,
        state=payment.state,
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        bills=bills,
        credit_minor=payment.amount_minor - used if has_come else 0,
        is_new=is_new,
    )


def invoice_payload(*, number: str, amount_minor: int, owing_minor: int, is_for_all: bool) -> str:
    """
    Return what an invoice in the chat carries; it names, and grants nothing.

    `owing_minor` is what is open as the invoice is made: a part is paid by one invoice once.
    """
    return f"{'payall' if is_for_all else 'pay'}:{number}:{amount_minor}:{owing_minor}"


async def check_checkout(
    session: AsyncSession,
    *,
    payload: str,
    amount_minor: int,
    currency: str,
    person_id: int,
) -> Target:
    """
    Return what a payment that is about to be made would pay, or refuse it.

    Raises:
        InvoiceNotOurs: the payload is not one that we make for this amount.
        BillNotFound: there is no such bill, or this person has no right on its account.
        BillNotOpen: nothing is left to pay.
        AmountChanged: less is left to pay than when it was made, or the currency differs.
    """
    number, is_for_all, quoted = _read_payload(payload, amount_minor)
    target = await find_target_by_bill(session, number=number)
    people = await people_of(session, agreement_ids=[target.agreement_id])
    if person_id not in people.get(target.agreement_id, ()):
        raise BillNotFound(number=number)
    bills = await list_open_bills(session, agreement_ids=[target.agreement_id])
    named = next((bill for bill in bills if bill.bill_id == target.bill_id), None)
    if named is None:
        raise BillNotOpen(number=number)
    owing = sum(bill.left_minor for bill in bills) if is_for_all else named.left_minor
    # Of all bills a newer one may have come in; the amount then pays the oldest ones all the same.
    has_changed = amount_minor > owing or (owing != quoted and not is_for_all)
    if currency != named.currency or has_changed:
        raise AmountChanged(number=number, left=Money(owing, named.currency))
    return target


def _read_payload(payload: str, amount_minor: int) -> tuple[str, bool, int]:
    """Return an invoice's bill, whether it may pay the next ones too, and what was open then."""
    match payload.split(":"):
        case ("pay" | "payall" as family, number, amount, owing) if (
            number and amount == str(amount_minor) and owing.isascii() and owing.isdecimal()
        ):
            return number, family == "payall", int(owing)
    raise InvoiceNotOurs


async def take_invoice_payment(
    session: AsyncSession,
    *,
    provider: str,
    reference: str,
    payload: str,
    amount_minor: int,
    currency: str,
    payer_id: int,
    now: datetime,
) -> RecordedPayment:
    """
    Record a paid invoice: the money has moved, so an open amount that changed is no obstacle.

    Raises:
        InvoiceNotOurs: the payload names no bill.
        BillNotFound: the same.
        PaymentConflict: see `record_payment`.
    """
    target = await find_target_by_bill(session, number=_read_payload(payload, amount_minor)[0])
    return await record_payment(
        session,
        provider=provider,
        reference=reference,
        target=target,
        amount_minor=amount_minor,
        currency=currency,
        received_at=now,
        now=now,
        payer_id=payer_id,
    )


async def owed(session: AsyncSession, *, agreement_id: int) -> int:
    """Return what is open on an agreement's bills, due or not. Units: minor units."""
    bills = await list_open_bills(session, agreement_ids=[agreement_id])
    return sum(bill.left_minor for bill in bills)


async def has_unknown_payment(session: AsyncSession, *, agreement_id: int) -> bool:
    """Tell whether a payment's fate is not known yet; nothing may be cut meanwhile."""
    found = await session.scalar(
        select(Payment.id)
        .where(
            Payment.agreement_id == agreement_id,
            Payment.state.in_([PaymentState.PENDING, PaymentState.UNKNOWN]),
        )
        .limit(1)
    )
    return found is not None

"""Payments: taken once for ever, posted, put to bills, and receipted in the same transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import BigInteger, cast, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from core import audit
from core.accounts.models import Account, Agreement, Service, ServicePoint
from core.audit import AuditEntry
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
from core.billing.payment_states import CAME, MOVES, OPEN
from core.billing.settlement import (
    IN_TURN,
    list_open_bills,
    lock_agreements,
    settle,
    settle_anew,
)
from core.db import lock_for_transaction
from core.errors import DomainError
from core.notices import service as notices
from core.notices.models import Lane
from core.numbers import take_numbers


class PaymentConflict(DomainError):
    """This payment is known with another amount, bill or payer's account."""

    code = "payment.conflict"


class AgreementNotFound(DomainError):
    """No account of this number has an agreement for this service."""

    code = "payment.agreement_not_found"


class PaymentNotFound(DomainError):
    """There is no payment of this number."""

    code = "payment.not_found"


class FateIsKnown(DomainError):
    """The payment came or failed: there is nothing to decide."""

    code = "payment.fate_is_known"


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
    source: LedgerAccount = LedgerAccount.CASH,
) -> RecordedPayment:
    """
    Record what a provider says about a payment; the same report again changes nothing.

    Locks the agreement. Money that came in is posted, put to the named bill and then to the
    oldest, and receipted. An unknown payment is kept and moves no money until the provider says
    more, and is then what that says. `source` is where the money lies until now.

    Raises:
        PaymentConflict: money came by this reference with another amount, bill or agreement.
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
    elif payment.state not in CAME:
        payment.agreement_id, payment.bill_id = target.agreement_id, target.bill_id
        payment.amount_minor, payment.currency = amount_minor, currency
        payment.received_at = received_at
        if state in MOVES[payment.state]:
            payment.state = state
        await session.flush()
    elif _what(payment) != (target.agreement_id, target.bill_id, amount_minor, currency):
        raise PaymentConflict(number=payment.number)
    if payment.state is PaymentState.SUCCEEDED and before not in CAME:
        await _take_in(session, payment, now, source=source)
    if payment.state is PaymentState.UNKNOWN is not before:
        await _tell(session, payment, now, kind="payment.unknown", key="payment.unknown")
    return await _recorded(session, payment, is_new=before is None)


def _what(payment: Payment) -> tuple[int, int | None, int, str]:
    return payment.agreement_id, payment.bill_id, payment.amount_minor, payment.currency


async def _people_of(session: AsyncSession, payment: Payment) -> set[int]:
    people = await people_of(session, agreement_ids=[payment.agreement_id])
    payer = set() if payment.payer_id is None else {payment.payer_id}
    return payer.union(people.get(payment.agreement_id, ()))


async def _tell(
    session: AsyncSession, payment: Payment, now: datetime, *, kind: str, key: str
) -> None:
    await notices.enqueue(
        session,
        person_ids=await _people_of(session, payment),
        kind=kind,
        params={"number": payment.number},
        dedupe_key=f"{key}:{payment.number}",
        now=now,
        lane=Lane.URGENT,
    )


async def _take_in(
    session: AsyncSession, payment: Payment, now: datetime, *, source: LedgerAccount
) -> None:
    await ledger.post(
        session,
        kind="payment",
        reference=f"payment:{payment.number}",
        entries=ledger.owed_against(
            source,
            agreement_id=payment.agreement_id,
            amount_minor=-payment.amount_minor,
            currency=payment.currency,
        ),
        at=now,
    )
    await _tell(session, payment, now, kind="payment.receipt", key="payment")
    later = await session.scalar(
        select(Allocation.payment_id)
        .join(Payment, Payment.id == Allocation.payment_id)
        .where(
            Payment.agreement_id == payment.agreement_id,
            tuple_(*IN_TURN) > (payment.received_at, payment.provider, payment.reference),
        )
        .limit(1)
    )
    if later is None:
        await settle(session, agreement_ids=[payment.agreement_id], now=now)
    else:
        await settle_anew(session, agreement_id=payment.agreement_id, now=now)


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
    has_come = payment.state in CAME
    return RecordedPayment(
        number=payment.number,
        state=payment.state,
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        bills=bills,
        credit_minor=max(payment.kept_minor - used, 0) if has_come else 0,
        is_new=is_new,
    )


async def owed(session: AsyncSession, *, agreement_id: int) -> int:
    """Return what is open on an agreement's bills, due or not. Units: minor units."""
    bills = await list_open_bills(session, agreement_ids=[agreement_id])
    return sum(bill.left_minor for bill in bills)


async def find_last_state(session: AsyncSession, *, bill_number: str) -> PaymentState | None:
    """Return where the last payment that named a bill stands; one of unknown fate goes first."""
    state: PaymentState | None = await session.scalar(
        select(Payment.state)
        .join(Bill, Bill.id == Payment.bill_id)
        .where(Bill.number == bill_number)
        .order_by((Payment.state == PaymentState.UNKNOWN).desc(), Payment.id.desc())
        .limit(1)
    )
    return state


async def has_unknown_payment(session: AsyncSession, *, agreement_id: int) -> bool:
    """Tell whether a payment's fate is not known yet; nothing may be cut meanwhile."""
    found = await session.scalar(
        select(Payment.id)
        .where(
            Payment.agreement_id == agreement_id,
            Payment.state.in_(OPEN),
        )
        .limit(1)
    )
    return found is not None


async def get_payment(session: AsyncSession, *, number: str) -> Payment:
    """
    Return a payment, with its agreement locked.

    Raises:
        PaymentNotFound: there is none.
    """
    query = select(Payment).where(Payment.number == number)
    payment = await session.scalar(query)
    if payment is None:
        raise PaymentNotFound(number=number)
    await lock_agreements(session, agreement_ids=[payment.agreement_id])
    return (await session.scalars(query.execution_options(populate_existing=True))).one()


async def _find_words(session: AsyncSession, *, number: str) -> dict[int | None, str]:
    """Return what each person said last of a payment's fate."""
    rows = await session.execute(
        select(AuditEntry.actor_id, AuditEntry.details["verdict"].astext)
        .where(
            AuditEntry.subject == f"payment:{number}",
            AuditEntry.action == "payment.fate_proposed",
        )
        .order_by(AuditEntry.id)
    )
    return dict(rows.all())


async def decide_fate(
    session: AsyncSession, *, number: str, has_come: bool, actor_id: int, now: datetime
) -> RecordedPayment:
    """
    Say what became of a payment that its provider left open; it counts when a second person agrees.

    Raises:
        PaymentNotFound: there is none.
        FateIsKnown: it is not open any more.
    """
    payment = await get_payment(session, number=number)
    if payment.state not in OPEN:
        raise FateIsKnown(number=number)
    verdict = PaymentState.SUCCEEDED if has_come else PaymentState.FAILED
    words = await _find_words(session, number=number)
    agrees = any(said == verdict and who != actor_id for who, said in words.items())
    payment.verdict, payment.verdict_by_id = verdict, actor_id
    audit.record(
        session,
        at=now,
        actor_id=actor_id,
        action="payment.fate_decided" if agrees else "payment.fate_proposed",
        subject=f"payment:{number}",
        verdict=verdict.value,
    )
    if agrees:
        payment.state = verdict
        await session.flush()
        if has_come:
            await _take_in(session, payment, now, source=LedgerAccount.CASH)
    return await _recorded(session, payment, is_new=False)

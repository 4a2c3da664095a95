"""Money and supply in one transaction: what every edge calls that takes or changes what is owed."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.billing import corrections, disputes, payments, rebilling
from core.billing.correction_models import Ground
from core.billing.corrections import Credited
from core.billing.models import Bill, Payment, PaymentState
from core.billing.payments import RecordedPayment, Target
from core.billing.rebilling import Change, Rebilled
from core.supply.restoring import restore_paid


async def receive_payment(
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
    Record a payment, and stop or undo a cut in the same transaction.

    Raises:
        PaymentConflict: as `payments.record_payment`.
    """
    recorded = await payments.record_payment(
        session,
        provider=provider,
        reference=reference,
        target=target,
        amount_minor=amount_minor,
        currency=currency,
        received_at=received_at,
        now=now,
        payer_id=payer_id,
        state=state,
    )
    await _restore(session, recorded, now=now)
    return recorded


async def receive_invoice_payment(
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
    Record an invoice that was paid in the chat, and stop or undo a cut with it.

    Raises:
        InvoiceNotOurs, BillNotFound, PaymentConflict: as `payments.take_invoice_payment`.
    """
    recorded = await payments.take_invoice_payment(
        session,
        provider=provider,
        reference=reference,
        payload=payload,
        amount_minor=amount_minor,
        currency=currency,
        payer_id=payer_id,
        now=now,
    )
    await _restore(session, recorded, now=now)
    return recorded


async def _restore(session: AsyncSession, recorded: RecordedPayment, *, now: datetime) -> None:
    if recorded.state is PaymentState.SUCCEEDED:
        agreement_id = await session.scalar(
            select(Payment.agreement_id).where(Payment.number == recorded.number)
        )
        await restore_paid(session, agreement_id=agreement_id or 0, now=now)


async def take_back_bill(
    session: AsyncSession, *, number: str, reason: str, actor_id: int | None, now: datetime
) -> None:
    """
    Take a wrong bill back, and stop or undo a cut that rested on it.

    Raises:
        DomainError: as `corrections.void_bill`.
    """
    await corrections.void_bill(session, number=number, reason=reason, actor_id=actor_id, now=now)
    await _restore_of_bill(session, number, now=now)


async def credit_bill(
    session: AsyncSession,
    *,
    number: str,
    amount_minor: int | None,
    reason: str,
    actor_id: int,
    now: datetime,
) -> Credited:
    """
    Take a part off a bill, and stop or undo a cut that no longer has a ground.

    Raises:
        DomainError: as `corrections.credit_bill`.
    """
    credited = await corrections.credit_bill(
        session,
        number=number,
        amount_minor=amount_minor,
        reason=reason,
        actor_id=actor_id,
        now=now,
    )
    await _restore_of_bill(session, number, now=now)
    return credited


async def rebill(
    session: AsyncSession,
    *,
    number: str,
    change: Change,
    reason: str,
    actor_id: int,
    now: datetime,
) -> Rebilled:
    """
    Bill again what was billed wrong, and stop or undo a cut that rested on it.

    Raises:
        DomainError: as `rebilling.rebill`.
    """
    found = await rebilling.rebill(
        session, number=number, change=change, reason=reason, actor_id=actor_id, now=now
    )
    await _restore_of_bill(session, number, now=now)
    return found


async def open_dispute(
    session: AsyncSession,
    *,
    bill_number: str,
    person_id: int,
    ground: Ground,
    words: str,
    now: datetime,
) -> str:
    """
    Take an objection to a bill, and stop a cut that rested on it; return its number.

    Raises:
        DomainError: as `disputes.open_dispute`.
    """
    number = await disputes.open_dispute(
        session, bill_number=bill_number, person_id=person_id, ground=ground, words=words, now=now
    )
    await _restore_of_bill(session, bill_number, now=now)
    return number


async def _restore_of_bill(session: AsyncSession, number: str, *, now: datetime) -> None:
    agreement_id = await session.scalar(select(Bill.agreement_id).where(Bill.number == number))
    await restore_paid(session, agreement_id=agreement_id or 0, now=now)

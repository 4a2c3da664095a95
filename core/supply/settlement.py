"""Money and supply in one transaction: what every edge calls that takes or changes what is owed."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.billing import bills, payments
from core.billing.models import Payment, PaymentState
from core.billing.payments import RecordedPayment, Target
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
        BillNotFound, LaterBillExists: as `bills.void_bill`.
    """
    await bills.void_bill(session, number=number, reason=reason, actor_id=actor_id, now=now)
    target = await payments.find_target_by_bill(session, number=number)
    await restore_paid(session, agreement_id=target.agreement_id, now=now)

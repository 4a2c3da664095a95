"""Money and supply in one transaction: what every edge calls that takes or changes what is owed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.billing import bills, invoices, payments, provider_events, returns, suspense
from core.billing.models import Payment, PaymentState
from core.billing.payments import RecordedPayment, Target
from core.billing.provider_events import NewEvent
from core.billing.statements import BANK, BankLine, match_line
from core.db import lock_for_transaction
from core.importing import Fault, Outcome
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
        InvoiceNotOurs, BillNotFound, PaymentConflict: as `invoices.take_invoice_payment`.
    """
    recorded = await invoices.take_invoice_payment(
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


async def receive_event(session: AsyncSession, event: NewEvent, *, now: datetime) -> None:
    """Take what a provider says of a payment, and stop or undo a cut with it."""
    agreement_id = await provider_events.take_event(session, event, now=now)
    if agreement_id is not None:
        await restore_paid(session, agreement_id=agreement_id, now=now)


async def assign_suspense(
    session: AsyncSession,
    *,
    item_id: int,
    parts: Sequence[tuple[Target, int]],
    actor_id: int | None,
    now: datetime,
) -> list[RecordedPayment]:
    """
    Place money that waits, and stop or undo cuts with it.

    Raises:
        NotInSuspense, PartsDoNotFit: as `suspense.assign`.
    """
    placed = await suspense.assign(
        session, item_id=item_id, parts=parts, actor_id=actor_id, now=now
    )
    for recorded in placed:
        await _restore(session, recorded, now=now)
    return placed


async def receive_statement(
    session: AsyncSession, lines: Sequence[BankLine], *, now: datetime
) -> Outcome:
    """
    Take in what a bank says came: what is sure is paid, the rest waits in suspense (`held`).

    A reference of the bank is taken once for ever, so the same statement again changes nothing.
    """
    await lock_for_transaction(session, "statement")
    paid = unchanged = held = 0
    faults = []
    for line in lines:
        known = await suspense.find_known(session, provider=BANK, reference=line.reference)
        if known is not None:
            unchanged += 1
            if known != line.amount_minor:
                why = {"reference": line.reference}
                faults.append(Fault(line.position, "reference", "payment.conflict", why))
            continue
        match = await match_line(session, line)
        came: dict[str, Any] = {
            "provider": BANK,
            "reference": line.reference,
            "amount_minor": line.amount_minor,
            "currency": line.currency,
            "received_at": line.received_at,
            "now": now,
        }
        if len(match.parts) == 1:
            await receive_payment(session, target=match.parts[0][0], **came)
        else:
            item_id = await suspense.place_in_suspense(
                session, payer=line.payer, words=line.words, reason=match.reason, **came
            )
            if match.parts and item_id is not None:
                await assign_suspense(
                    session, item_id=item_id, parts=match.parts, actor_id=None, now=now
                )
        paid += bool(match.parts)
        held += not match.parts
    return Outcome(new=paid, unchanged=unchanged, held=held, faults=faults)


async def decide_fate(
    session: AsyncSession, *, number: str, has_come: bool, actor_id: int, now: datetime
) -> RecordedPayment:
    """
    Have a person say what became of an open payment, and stop or undo a cut with the second.

    Raises:
        PaymentNotFound, FateIsKnown: as `payments.decide_fate`.
    """
    recorded = await payments.decide_fate(
        session, number=number, has_come=has_come, actor_id=actor_id, now=now
    )
    await _restore(session, recorded, now=now)
    return recorded


async def reverse_payment(
    session: AsyncSession, *, number: str, reason: str, actor_id: int, now: datetime
) -> None:
    """
    Undo a payment; what its provider gave back of money that is in suspense again goes with it.

    Raises:
        PaymentNotFound, PartlyReturned, AlreadyReversed: as `returns.reverse_payment`.
    """
    await returns.reverse_payment(session, number=number, reason=reason, actor_id=actor_id, now=now)
    payment = await payments.get_payment(session, number=number)
    origin = payment.reference.rpartition("/")[0] or payment.reference
    await provider_events.act_on_events(
        session, provider=payment.provider, reference=origin, now=now
    )


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

"""Money and supply in one transaction: what every edge calls that takes or changes what is owed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.billing import (
    corrections,
    disputes,
    invoices,
    payments,
    provider_events,
    rebilling,
    returns,
    suspense,
)
from core.billing.correction_models import Ground
from core.billing.corrections import Credited
from core.billing.models import Bill, Payment, PaymentState
from core.billing.payments import RecordedPayment, Target
from core.billing.provider_events import NewEvent
from core.billing.rebilling import Change, Rebilled
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

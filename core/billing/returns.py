"""Money that goes back: refunds, charge-backs, and payments that the desk took by mistake."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts.service import TELEGRAM
from core.billing import ledger
from core.billing.bills import people_of
from core.billing.models import (
    EventKind,
    LedgerAccount,
    LedgerEntry,
    LedgerTransaction,
    Payment,
    ProviderEvent,
    SuspenseItem,
)
from core.billing.payment_states import CAME, MOVES, state_of
from core.billing.payments import PaymentNotFound, get_payment
from core.billing.settlement import settle_anew
from core.errors import DomainError
from core.money import Money
from core.notices import service as notices


class RefundTooLarge(DomainError):
    """More would go back than came in and is still here."""

    code = "payment.refund_too_large"


class PartlyReturned(DomainError):
    """A part of the payment went back already, so it cannot be undone as a whole."""

    code = "payment.partly_returned"


class RefundAtProvider(DomainError):
    """The provider gives the money back, and reports it; the desk would do it twice."""

    code = "payment.refund_at_provider"


class ConfirmedInChat(DomainError):
    """The chat's provider confirmed the payment, so that nobody typed it by mistake."""

    code = "payment.confirmed_in_chat"


class ReturnConflict(DomainError):
    """A return of this name is in the books with another amount."""

    code = "payment.return_conflict"


class Step(NamedTuple):
    """Money that went back or came again; `key` is its name for ever. Units: minor units."""

    kind: str
    key: str
    amount_minor: int


async def refund_payment(
    session: AsyncSession,
    *,
    number: str,
    amount_minor: int,
    key: str,
    reason: str,
    actor_id: int,
    now: datetime,
) -> None:
    """
    Give a payer money back at the desk; the same key gives it once.

    Raises:
        PaymentNotFound: there is no such payment, or no money came by it.
        RefundAtProvider: it came by a provider that reports refunds itself.
        RefundTooLarge: more than is left of it, or not more than nothing.
        ReturnConflict: the key was used with another amount.
    """
    payment = await _get_that_came(session, number)
    if await _has_event(session, payment):
        raise RefundAtProvider(number=number)
    step = Step("refund", key, amount_minor)
    left = payment.kept_minor
    if await post_return(session, payment, step, now=now):
        if not 0 < amount_minor <= left:
            raise RefundTooLarge(left=Money(left, payment.currency))
        await stand_anew(session, payment, steps=[step], now=now, reason=reason)
        _note(session, payment, "refunded", actor_id, now, amount_minor=amount_minor, reason=reason)


async def reverse_payment(
    session: AsyncSession, *, number: str, reason: str, actor_id: int, now: datetime
) -> None:
    """
    Undo a payment as a whole: typed by mistake, put to the wrong account, or bounced.

    Money that was placed from suspense waits there again.

    Raises:
        PaymentNotFound: there is no such payment, or no money came by it.
        RefundAtProvider, ConfirmedInChat: a provider confirmed it, so it was no mistake.
        PartlyReturned: a part of it went back already.
        AlreadyReversed: it was undone before.
    """
    payment = await _get_that_came(session, number)
    if payment.charged_back_minor == payment.amount_minor:
        raise ledger.AlreadyReversed(reference=number)
    if payment.kept_minor != payment.amount_minor:
        raise PartlyReturned(number=number)
    if refusal := await find_confirmation(session, payment):
        raise refusal
    await ledger.reverse(session, reference=f"payment:{number}", at=now)
    payment.charged_back_minor = payment.amount_minor
    step = Step("reversal", "desk", payment.amount_minor)
    await stand_anew(session, payment, steps=[step], now=now, reason=reason)
    await session.execute(
        update(SuspenseItem)
        .where(
            SuspenseItem.provider == payment.provider,
            SuspenseItem.reference == payment.reference.rpartition("/")[0],
            _is_placed(number),
        )
        .values(left_minor=SuspenseItem.left_minor + payment.amount_minor)
    )
    _note(session, payment, "reversed", actor_id, now, reason=reason)


async def find_confirmation(session: AsyncSession, payment: Payment) -> DomainError | None:
    """
    Return why the desk cannot undo a payment: its provider confirmed it, here or in the chat.

    What a person placed from suspense can be taken off the bill again, whoever brought it.
    """
    if await _has_event(session, payment, ProviderEvent.kind == EventKind.SUCCEEDED):
        return RefundAtProvider(number=payment.number)
    in_chat = payment.provider == TELEGRAM
    if in_chat and not await session.scalar(select(_is_placed(payment.number))):
        return ConfirmedInChat(number=payment.number)
    return None


async def _has_event(session: AsyncSession, payment: Payment, *which: ColumnElement[bool]) -> bool:
    found = await session.scalar(
        select(ProviderEvent.id)
        .where(
            ProviderEvent.provider == payment.provider,
            ProviderEvent.reference == payment.reference,
            *which,
        )
        .limit(1)
    )
    return found is not None


def _is_placed(number: str) -> ColumnElement[bool]:
    return (
        select(LedgerEntry.id)
        .join(LedgerTransaction, LedgerTransaction.id == LedgerEntry.transaction_id)
        .where(
            LedgerTransaction.reference == f"payment:{number}",
            LedgerEntry.account == LedgerAccount.SUSPENSE,
        )
        .exists()
    )


async def is_reversed(session: AsyncSession, *, number: str) -> bool:
    """Tell whether the desk undid a payment as a whole."""
    reference = f"reverse:payment:{number}"
    found = await session.scalar(
        select(LedgerTransaction.id).where(LedgerTransaction.reference == reference)
    )
    return found is not None


async def post_return(
    session: AsyncSession, payment: Payment, step: Step, *, now: datetime
) -> bool:
    """
    Post what went back of a payment, or (`reinstated`) came again; tell whether it is new.

    The caller holds the agreement locked, sees to it that no more is refunded than came, and
    ends with `stand_anew`. A bank can take back what was refunded before.

    Raises:
        RefundTooLarge: nothing is charged back.
        ReturnConflict: it is in the books with another amount.
    """
    kind, key, amount_minor = step
    reference = f"{kind}:{key}:{payment.number}"
    signed = -amount_minor if kind == "reinstated" else amount_minor
    posted = await session.scalar(
        select(LedgerEntry.amount_minor)
        .join(LedgerTransaction, LedgerTransaction.id == LedgerEntry.transaction_id)
        .where(
            LedgerTransaction.reference == reference,
            LedgerEntry.account == LedgerAccount.RECEIVABLE,
        )
    )
    if posted is not None:
        if posted != signed:
            raise ReturnConflict(number=payment.number)
        return False
    if amount_minor == 0 or (amount_minor < 0 and kind != "refund"):
        raise RefundTooLarge(left=Money(payment.kept_minor, payment.currency))
    entries = ledger.owed_against(
        LedgerAccount.CASH,
        agreement_id=payment.agreement_id,
        amount_minor=signed,
        currency=payment.currency,
    )
    await ledger.post(session, kind=kind, reference=reference, entries=entries, at=now)
    if kind == "refund":
        payment.refunded_minor += signed
    else:
        payment.charged_back_minor += signed
    return True


async def stand_anew(
    session: AsyncSession,
    payment: Payment,
    *,
    steps: Sequence[Step],
    now: datetime,
    reason: str = "",
) -> None:
    """Bring a payment's state, its bills and its people to what the books say since its returns."""
    state = state_of(
        amount_minor=payment.amount_minor,
        refunded_minor=payment.refunded_minor,
        charged_back_minor=payment.charged_back_minor,
    )
    assert state is payment.state or state in MOVES[payment.state]  # noqa: S101 (follows from sums)
    payment.state = state
    await session.flush()
    await settle_anew(session, agreement_id=payment.agreement_id, now=now)
    people = await people_of(session, agreement_ids=[payment.agreement_id])
    told = {*people.get(payment.agreement_id, ())}
    if payment.payer_id is not None:
        told.add(payment.payer_id)
    for kind, key, amount in steps:
        await notices.enqueue(
            session,
            person_ids=told,
            kind="payment.returned",
            params={
                "number": payment.number,
                "what": kind if amount > 0 else "reinstated",
                "returned_minor": abs(amount),
                "reason": reason,
            },
            dedupe_key=f"payment.returned:{kind}:{key}:{payment.number}",
            now=now,
        )


async def _get_that_came(session: AsyncSession, number: str) -> Payment:
    payment = await get_payment(session, number=number)
    if payment.state not in CAME:
        raise PaymentNotFound(number=number)
    return payment


def _note(
    session: AsyncSession, payment: Payment, what: str, actor_id: int, now: datetime, **more: object
) -> None:
    audit.record(
        session,
        at=now,
        actor_id=actor_id,
        action=f"payment.{what}",
        subject=f"payment:{payment.number}",
        **more,
    )

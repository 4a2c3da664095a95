"""Invoices in the chat: what they carry, the last look before the money moves, and taking it."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Agreement
from core.accounts.service import get_operator, list_places
from core.billing.bills import BillNotFound, people_of
from core.billing.payments import RecordedPayment, Target, find_target_by_bill, record_payment
from core.billing.settlement import list_open_bills
from core.errors import DomainError
from core.money import Money


class BillNotOpen(DomainError):
    """The bill is paid or void: there is nothing to pay."""

    code = "payment.bill_not_open"


class AmountChanged(DomainError):
    """Less is open now than the invoice asks for, or it is another currency."""

    code = "payment.amount_changed"


class InvoiceNotOurs(DomainError):
    """The invoice does not name a bill in the way ours do."""

    code = "payment.invoice_not_ours"


class NotPrepaid(DomainError):
    """Nothing is paid ahead there: the agreement is paid after its bills, over, or not theirs."""

    code = "prepaid.not_prepaid"


def top_up_payload(*, agreement_id: int, amount_minor: int) -> str:
    """Return what an invoice carries that tops a prepaid balance up."""
    return f"topup:{agreement_id}:{amount_minor}"


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
        NotPrepaid: it would top up what is not prepaid any more.
        BillNotFound: there is no such bill, or this person has no right on its account.
        BillNotOpen: nothing is left to pay.
        AmountChanged: less is left to pay than when it was made, or the currency differs.
    """
    if (agreement_id := _read_top_up(payload)) is not None:
        places = await list_places(session, person_id=person_id)
        prepaid = {place.agreement_id for place in places if place.is_prepaid}
        if agreement_id not in prepaid or currency != (await get_operator(session)).currency:
            raise NotPrepaid
        if payload != top_up_payload(agreement_id=agreement_id, amount_minor=amount_minor):
            raise InvoiceNotOurs
        return Target(agreement_id=agreement_id)
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
    has_changed = max(amount_minor, quoted) > owing or (owing != quoted and not is_for_all)
    if currency != named.currency or has_changed:
        raise AmountChanged(number=number, left=Money(owing, named.currency))
    return target


def _read_top_up(payload: str) -> int | None:
    """Return the agreement that an invoice tops up, if it does."""
    match payload.split(":"):
        case ("topup", agreement, _) if agreement.isascii() and agreement.isdecimal():
            return int(agreement)
    return None


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
        InvoiceNotOurs: the payload names no bill, and no agreement to top up.
        BillNotFound: the same.
        PaymentConflict: see `record_payment`.
    """
    agreement_id = _read_top_up(payload)
    if agreement_id is None:
        number, *_ = _read_payload(payload, amount_minor)
        target = await find_target_by_bill(session, number=number)
    elif await session.get(Agreement, agreement_id) is None:
        raise InvoiceNotOurs
    else:
        target = Target(agreement_id=agreement_id)
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

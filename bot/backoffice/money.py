"""The cashier's pages: whom to take money from, taking it, the receipt, and giving it back."""

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Form, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from bot.api.billing import CASHIER
from bot.backoffice import suspense
from bot.backoffice.desk import OfficeRoute, OwnPage, Signed, Visit, texts_for
from bot.backoffice.forms import REASON_LENGTH_MAX, Key, Typed, attempt, read_amount
from bot.documents.documents import receipt_pdf
from bot.handlers.bill_pages import receipt_page
from bot.texts import Texts, clean_line
from core import audit
from core.accounts import service as accounts
from core.billing import desk, payments, provider_events, queries, returns
from core.billing.desk import DeskAgreement
from core.billing.models import PaymentState
from core.billing.payments import Target, find_target_by_bill
from core.billing.queries import ReceiptView
from core.money import Money

router = APIRouter(route_class=OfficeRoute)


@router.get("/cashier")
async def show_cashier(visit: Signed, q: str = "") -> Response:
    """Show whom some words may mean, with what they owe and a form for each service."""
    return await _cashier(visit, words=q[:100])


async def _cashier(
    visit: Visit,
    *,
    words: str,
    **more: Any,  # noqa: ANN401
) -> Response:
    found = await desk.search_desk(visit.session, words=words) if words.strip() else []
    return visit.page(
        "cashier.html",
        422 if more else 200,
        query=words,
        is_searched=bool(words.strip()),
        found=[_agreement(each, visit.texts, more.get("tried", {})) for each in found],
        why=more.get("why", ""),
    )


def _agreement(found: DeskAgreement, texts: Texts, tried: dict[str, Any]) -> dict[str, Any]:
    """Return a service as the template shows it; what was typed and refused stands there again."""
    party = found.party
    again = tried if tried.get("agreement") == party.agreement_id else {}
    owed = texts.money(found.owed_minor, texts.currency)
    return {
        "id": party.agreement_id,
        "key": again.get("key") or secrets.token_urlsafe(16),
        "typed": again.get("amount", ""),
        "service": texts.plain(f"service.{party.service}"),
        "service_kind": party.service.value,
        "account": party.account_number,
        "holder": party.holder_name,
        "address": party.address,
        "is_prepaid": party.is_prepaid,
        "owed": owed if found.owed_minor else "",
        "amount": str(Money(found.owed_minor, texts.currency).amount) if found.owed_minor else "",
        "bills": [
            {
                "number": bill.number,
                "left": texts.money(bill.left_minor, bill.currency),
                "due": texts.day(bill.due_date),
                "is_chosen": again.get("bill") == bill.number,
            }
            for bill in found.bills
        ],
    }


@router.post("/cashier", dependencies=[OwnPage])
async def take_money(
    visit: Signed,
    *,
    key: Key,
    agreement: Annotated[int, Form(ge=1, le=2**62)],
    amount: Typed,
    bill: Typed = "",
    q: Typed = "",
) -> Response:
    """Take cash; the same form sent again is taken once and shows the same receipt."""
    numbers: list[str] = []

    async def act() -> None:
        target = Target(agreement_id=agreement)
        if bill:
            target = await find_target_by_bill(visit.session, number=bill)
        taken = await payments.record_payment(
            visit.session,
            provider=CASHIER,
            reference=key,
            target=target,
            amount_minor=read_amount(visit.texts, amount),
            currency=visit.texts.currency,
            received_at=visit.now,
            now=visit.now,
        )
        if taken.is_new:
            audit.record(
                visit.session,
                at=visit.now,
                actor_id=visit.visitor.person_id,
                action="payment.taken",
                subject=f"payment:{taken.number}",
            )
        numbers.append(taken.number)

    if why := await attempt(visit, act()):
        tried = {"agreement": agreement, "amount": amount, "bill": bill, "key": key}
        return await _cashier(visit, words=q, why=why, tried=tried)
    return RedirectResponse(f"/office/receipts/{numbers[0]}", 303)


@router.get("/receipts/{number}")
async def show_receipt(number: str, visit: Signed) -> Response:
    """Show a payment: where it went, who took it, what went back."""
    return await _receipt(visit, number=number.upper())


async def _receipt(visit: Visit, *, number: str, why: str = "") -> Response:
    view = await queries.get_receipt(visit.session, number=number, person_id=None)
    return visit.page(
        "receipt.html",
        422 if why else 200,
        why=why,
        key=secrets.token_urlsafe(16),
        taker=await desk.find_taker(visit.session, number=number),
        may_reverse=view.payment.kept_minor == view.payment.amount_minor
        and await returns.find_confirmation(visit.session, view.payment) is None,
        **_shown(view, visit.texts),
    )


def _shown(view: ReceiptView, texts: Texts) -> dict[str, Any]:
    payment = view.payment

    def money(minor: int) -> str:
        return texts.money(minor, payment.currency) if minor else ""

    return {
        "number": payment.number,
        "amount": money(payment.amount_minor),
        "state": texts.plain(f"office.payment_{payment.state}"),
        "is_good": payment.state is PaymentState.SUCCEEDED,
        "returned": money(payment.amount_minor - payment.kept_minor),
        "kept": str(Money(payment.kept_minor, payment.currency).amount),
        "service": texts.plain(f"service.{view.party.service}"),
        "party": view.party,
        "received": texts.moment(payment.received_at),
        "way": texts.plain(f"page.method_{payment.provider}"),
        "bills": [
            {
                "number": bill.number,
                "paid": money(bill.amount_minor),
                "left": texts.money(bill.left_minor, payment.currency),
            }
            for bill in view.bills
        ],
        "credit": money(view.credit_minor),
        "owed": money(view.owed_minor),
        "may_refund": payment.kept_minor > 0,
    }


@router.get("/receipts/{number}/receipt.pdf")
async def get_receipt_document(number: str, visit: Signed) -> Response:
    """Return a receipt to print, in the operator's language."""
    view = await queries.get_receipt(visit.session, number=number.upper(), person_id=None)
    texts = await texts_for(visit.session, None)
    page = receipt_page(texts, await accounts.get_operator(visit.session), view)
    pdf = await run_in_threadpool(receipt_pdf, page)
    return Response(pdf, media_type="application/pdf")


@router.post("/receipts/{number}/refund", dependencies=[OwnPage])
async def refund(
    number: str,
    visit: Signed,
    *,
    key: Key,
    amount: Typed,
    reason: Typed,
) -> Response:
    """Note that cash was given back."""

    async def act() -> None:
        await returns.refund_payment(
            visit.session,
            number=number,
            amount_minor=read_amount(visit.texts, amount),
            key=key,
            reason=clean_line(reason, length_max=REASON_LENGTH_MAX),
            actor_id=visit.visitor.person_id,
            now=visit.now,
        )

    why = await attempt(visit, act())
    return await _receipt_after(visit, number=number, why=why)


@router.post("/receipts/{number}/reverse", dependencies=[OwnPage])
async def reverse(number: str, visit: Signed, reason: Typed) -> Response:
    """Undo a payment that was typed by mistake or did not come after all."""

    async def act() -> None:
        await provider_events.undo_payment(
            visit.session,
            number=number,
            reason=clean_line(reason, length_max=REASON_LENGTH_MAX),
            actor_id=visit.visitor.person_id,
            now=visit.now,
        )

    why = await attempt(visit, act())
    return await _receipt_after(visit, number=number, why=why)


async def _receipt_after(visit: Visit, *, number: str, why: str) -> Response:
    if why:
        return await _receipt(visit, number=number, why=why)
    return RedirectResponse(f"/office/receipts/{number}", 303)


router.include_router(suspense.router)

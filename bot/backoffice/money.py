"""The cashier's pages: whom to take money from, taking it, the receipt, and giving it back."""

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse
from sqlalchemy.ext.asyncio import AsyncSession

from bot.api.billing import CASHIER
from bot.api.context import Now, Session
from bot.backoffice import suspense
from bot.backoffice.forms import REASON_LENGTH_MAX, Key, Typed, admit, attempt, read_amount
from bot.backoffice.sessions import Visitor
from bot.backoffice.shell import show_page, texts_for
from bot.documents.documents import receipt_pdf
from bot.handlers.bill_pages import receipt_page
from bot.routes import explain
from bot.texts import Texts, clean_line
from core import audit
from core.accounts import service as accounts
from core.billing import desk, queries, returns
from core.billing.desk import DeskAgreement
from core.billing.models import PaymentState
from core.billing.payments import Target, find_target_by_bill
from core.billing.queries import ReceiptNotFound, ReceiptView
from core.money import Money
from core.supply import settlement

router = APIRouter()


@router.get("/cashier")
async def show_cashier(request: Request, session: Session, now: Now, q: str = "") -> Response:
    """Show whom some words may mean, with what they owe and a form for each service."""
    admitted = await admit(request, session, now)
    if isinstance(admitted, Response):
        return admitted
    return await _cashier(session, *admitted, words=q[:100])


async def _cashier(
    session: AsyncSession,
    visitor: Visitor,
    texts: Texts,
    *,
    words: str,
    **more: Any,  # noqa: ANN401
) -> Response:
    found = await desk.search_desk(session, words=words) if words.strip() else []
    return show_page(
        "cashier.html",
        texts,
        422 if more else 200,
        visitor=visitor.name,
        query=words,
        is_searched=bool(words.strip()),
        found=[_agreement(each, texts, more.get("tried", {})) for each in found],
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


@router.post("/cashier")
async def take_money(
    request: Request,
    session: Session,
    now: Now,
    *,
    key: Key,
    agreement: Annotated[int, Form(ge=1, le=2**62)],
    amount: Typed,
    bill: Typed = "",
    q: Typed = "",
) -> Response:
    """Take cash; the same form sent again is taken once and shows the same receipt."""
    admitted = await admit(request, session, now)
    if isinstance(admitted, Response):
        return admitted
    visitor, texts = admitted
    numbers: list[str] = []

    async def act() -> None:
        target = Target(agreement_id=agreement)
        if bill:
            target = await find_target_by_bill(session, number=bill)
        taken = await settlement.receive_payment(
            session,
            provider=CASHIER,
            reference=key,
            target=target,
            amount_minor=read_amount(texts, amount),
            currency=texts.currency,
            received_at=now,
            now=now,
        )
        if taken.is_new:
            audit.record(
                session,
                at=now,
                actor_id=visitor.person_id,
                action="payment.taken",
                subject=f"payment:{taken.number}",
            )
        numbers.append(taken.number)

    if why := await attempt(session, texts, act()):
        tried = {"agreement": agreement, "amount": amount, "bill": bill, "key": key}
        return await _cashier(session, visitor, texts, words=q, why=why, tried=tried)
    return RedirectResponse(f"/office/receipts/{numbers[0]}", 303)


@router.get("/receipts/{number}")
async def show_receipt(number: str, request: Request, session: Session, now: Now) -> Response:
    """Show a payment: where it went, who took it, what went back."""
    admitted = await admit(request, session, now)
    if isinstance(admitted, Response):
        return admitted
    return await _receipt(session, *admitted, number=number.upper())


async def _receipt(
    session: AsyncSession, visitor: Visitor, texts: Texts, *, number: str, why: str = ""
) -> Response:
    try:
        view = await queries.get_receipt(session, number=number, person_id=None)
    except ReceiptNotFound as refusal:
        return show_page("message.html", texts, 404, message=explain(texts, refusal))
    return show_page(
        "receipt.html",
        texts,
        422 if why else 200,
        visitor=visitor.name,
        why=why,
        key=secrets.token_urlsafe(16),
        taker=await desk.find_taker(session, number=number),
        **_shown(view, texts),
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
        "may_reverse": payment.kept_minor == payment.amount_minor,
    }


@router.get("/receipts/{number}/receipt.pdf")
async def get_receipt_document(
    number: str, request: Request, session: Session, now: Now
) -> Response:
    """Return a receipt to print, in the operator's language."""
    admitted = await admit(request, session, now)
    if isinstance(admitted, Response):
        return admitted
    try:
        view = await queries.get_receipt(session, number=number.upper(), person_id=None)
    except ReceiptNotFound as refusal:
        message = explain(admitted[1], refusal)
        return show_page("message.html", admitted[1], 404, message=message)
    texts = await texts_for(session, None)
    page = receipt_page(texts, await accounts.get_operator(session), view)
    pdf = await run_in_threadpool(receipt_pdf, page)
    return Response(pdf, media_type="application/pdf")


@router.post("/receipts/{number}/refund")
async def refund(
    number: str,
    request: Request,
    session: Session,
    now: Now,
    *,
    key: Key,
    amount: Typed,
    reason: Typed,
) -> Response:
    """Note that cash was given back."""
    admitted = await admit(request, session, now)
    if isinstance(admitted, Response):
        return admitted
    visitor, texts = admitted

    async def act() -> None:
        await returns.refund_payment(
            session,
            number=number,
            amount_minor=read_amount(texts, amount),
            key=key,
            reason=clean_line(reason, length_max=REASON_LENGTH_MAX),
            actor_id=visitor.person_id,
            now=now,
        )

    why = await attempt(session, texts, act())
    return await _receipt_after(session, visitor, texts, number=number, why=why)


@router.post("/receipts/{number}/reverse")
async def reverse(
    number: str, request: Request, session: Session, now: Now, reason: Typed
) -> Response:
    """Undo a payment that was typed by mistake or did not come after all."""
    admitted = await admit(request, session, now)
    if isinstance(admitted, Response):
        return admitted
    visitor, texts = admitted

    async def act() -> None:
        await settlement.reverse_payment(
            session,
            number=number,
            reason=clean_line(reason, length_max=REASON_LENGTH_MAX),
            actor_id=visitor.person_id,
            now=now,
        )

    why = await attempt(session, texts, act())
    return await _receipt_after(session, visitor, texts, number=number, why=why)


async def _receipt_after(
    session: AsyncSession, visitor: Visitor, texts: Texts, *, number: str, why: str
) -> Response:
    if why:
        return await _receipt(session, visitor, texts, number=number, why=why)
    return RedirectResponse(f"/office/receipts/{number}", 303)


router.include_router(suspense.router)

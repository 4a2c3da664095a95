"""The page of money that waits for a person, and the bank's statements that bring it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi import Path as PathParameter
from fastapi.responses import RedirectResponse
from sqlalchemy.ext.asyncio import AsyncSession

from bot.api.context import Now, Session
from bot.backoffice.forms import REASON_LENGTH_MAX, Typed, admit, attempt, read_amount
from bot.backoffice.sessions import Visitor
from bot.backoffice.shell import show_page
from bot.routes import explain
from bot.statements import describe, import_statement
from bot.texts import Texts, clean_line
from core.billing import desk, provider_events, suspense
from core.billing.models import Payment, ProviderEvent, SuspenseItem
from core.billing.payments import Target
from core.billing.suspense import Candidate
from core.errors import DomainError
from core.money import Money
from core.supply import settlement

PARTS = 2  # more lines of the form
PROBLEMS = frozenset({"refund_too_large", "not_heard_of", "decision_contradicted", "conflict"})
router = APIRouter()
RowId = Annotated[int, PathParameter(ge=1, le=2**62)]


@router.get("/suspense")
async def show_suspense(request: Request, session: Session, now: Now) -> Response:
    """Show money that waits, payments of unknown fate, and events that could not be used."""
    admitted = await admit(request, session, now)
    if isinstance(admitted, Response):
        return admitted
    return await _show(session, *admitted, now=now)


async def _show(
    session: AsyncSession,
    visitor: Visitor,
    texts: Texts,
    *,
    now: datetime,
    why: str = "",
    done: Sequence[str] = (),
) -> Response:
    waiting = await suspense.list_exceptions(session, before=now)
    shown = [
        _item(item, await suspense.list_candidates(session, item), texts) for item in waiting.items
    ]
    return show_page(
        "suspense.html",
        texts,
        422 if why else 200,
        visitor=visitor.name,
        why=why,
        done=done,
        items=shown,
        unknown=[_unknown(payment, visitor, texts) for payment in waiting.unknown],
        events=[_event(event, texts) for event in waiting.events],
        parts=range(PARTS),
    )


def _item(item: SuspenseItem, candidates: Sequence[Candidate], texts: Texts) -> dict[str, Any]:
    return {
        "id": item.id,
        "amount": texts.money(item.left_minor, item.currency),
        "plain": str(Money(item.left_minor, item.currency).amount),
        "received": texts.day(item.received_at),
        "way": texts.plain(f"page.method_{item.provider}"),
        "reference": item.reference,
        "payer": item.payer,
        "words": item.words,
        "reason": texts.plain(f"suspense.why_{item.reason}"),
        "candidates": [
            texts.plain(
                f"suspense.same_{each.why}",
                bill=each.bill,
                holder=each.holder,
                account=each.account,
                left=texts.money(each.left_minor, item.currency),
            )
            for each in candidates
        ],
    }


def _unknown(payment: Payment, visitor: Visitor, texts: Texts) -> dict[str, Any]:
    return {
        "number": payment.number,
        "amount": texts.money(payment.amount_minor, payment.currency),
        "received": texts.moment(payment.received_at),
        "way": texts.plain(f"page.method_{payment.provider}"),
        "reference": payment.reference,
        "verdict": ""
        if payment.verdict is None
        else texts.plain(f"suspense.verdict_{payment.verdict}"),
        "is_mine": payment.verdict_by_id == visitor.person_id,
    }


def _event(event: ProviderEvent, texts: Texts) -> dict[str, Any]:
    problem = (event.problem or "").rpartition(".")[2]
    return {
        "id": event.id,
        "kind": texts.plain(f"suspense.event_{event.kind}"),
        "amount": texts.money(event.amount_minor, event.currency),
        "way": texts.plain(f"page.method_{event.provider}"),
        "reference": event.reference,
        "at": texts.moment(event.at),
        "problem": texts.plain(f"suspense.problem_{problem if problem in PROBLEMS else 'other'}"),
    }


@router.post("/suspense/{item_id}/assign")
async def assign(
    item_id: RowId,
    request: Request,
    session: Session,
    now: Now,
    *,
    number: Annotated[list[str], Form()],
    amount: Annotated[list[str], Form()],
) -> Response:
    """Place money that waits: each line is a bill or an account, and how much of it."""
    admitted = await admit(request, session, now)
    if isinstance(admitted, Response):
        return admitted
    visitor, texts = admitted

    async def act() -> None:
        parts: list[tuple[Target, int]] = []
        for typed, share in zip(number, amount, strict=False):
            if typed.strip():
                target = await desk.find_target(session, number=typed[:40])
                parts.append((target, read_amount(texts, share)))
        await settlement.assign_suspense(
            session, item_id=item_id, parts=parts, actor_id=visitor.person_id, now=now
        )

    why = await attempt(session, texts, act())
    return await _after(session, visitor, texts, now=now, why=why)


async def _after(
    session: AsyncSession, visitor: Visitor, texts: Texts, *, now: datetime, why: str
) -> Response:
    if why:
        return await _show(session, visitor, texts, now=now, why=why)
    return RedirectResponse("/office/suspense", 303)


@router.post("/suspense/{item_id}/return")
async def give_back(
    item_id: RowId, request: Request, session: Session, now: Now, reason: Typed
) -> Response:
    """Note that money that waits goes back to whom it came from."""
    admitted = await admit(request, session, now)
    if isinstance(admitted, Response):
        return admitted
    visitor, texts = admitted

    async def act() -> None:
        item = await suspense.get_item(session, item_id=item_id)
        await suspense.send_back_item(
            session,
            item,
            amount_minor=item.left_minor,
            reason=clean_line(reason, length_max=REASON_LENGTH_MAX),
            actor_id=visitor.person_id,
            now=now,
        )

    why = await attempt(session, texts, act())
    return await _after(session, visitor, texts, now=now, why=why)


@router.post("/payments/{number}/fate")
async def decide_fate(
    number: str, request: Request, session: Session, now: Now, came: Annotated[bool, Form()]
) -> Response:
    """Say what became of a payment that its provider left open; the second person decides."""
    admitted = await admit(request, session, now)
    if isinstance(admitted, Response):
        return admitted
    visitor, texts = admitted
    act = settlement.decide_fate(
        session, number=number, has_come=came, actor_id=visitor.person_id, now=now
    )
    why = await attempt(session, texts, act)
    return await _after(session, visitor, texts, now=now, why=why)


@router.post("/events/{event_id}/noted")
async def note_event(event_id: RowId, request: Request, session: Session, now: Now) -> Response:
    """Take an event off the list: a person has seen to it."""
    admitted = await admit(request, session, now)
    if isinstance(admitted, Response):
        return admitted
    visitor, texts = admitted
    act = provider_events.note_problem(
        session, event_id=event_id, actor_id=visitor.person_id, now=now
    )
    why = await attempt(session, texts, act)
    return await _after(session, visitor, texts, now=now, why=why)


@router.post("/statement")
async def upload_statement(
    request: Request,
    session: Session,
    now: Now,
    file: Annotated[UploadFile, File()],
    *,
    dry_run: Annotated[bool, Form()] = False,
) -> Response:
    """Take in a bank's statement, or with `dry_run` tell what it would do."""
    admitted = await admit(request, session, now)
    if isinstance(admitted, Response):
        return admitted
    visitor, texts = admitted
    try:
        imported = await import_statement(
            request.app.state.database,
            content=await file.read(),
            columns=request.app.state.bank_columns,
            is_dry_run=dry_run,
            now=now,
        )
    except DomainError as refusal:
        return await _show(session, visitor, texts, now=now, why=explain(texts, refusal))
    return await _show(session, visitor, texts, now=now, done=describe(imported, texts))

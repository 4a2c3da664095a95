"""The page of money that waits for a person, and the bank's statements that bring it."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi import Path as PathParameter
from fastapi.responses import RedirectResponse

from bot.backoffice.desk import OfficeRoute, OwnPage, Signed, Visit
from bot.backoffice.forms import REASON_LENGTH_MAX, Typed, attempt, read_amount
from bot.routes import explain
from bot.statements import describe, import_statement
from bot.texts import Texts, clean_line
from core.billing import desk, payments, provider_events, suspense
from core.billing.models import Payment, ProviderEvent, SuspenseItem
from core.billing.payments import Target
from core.billing.suspense import Candidate
from core.errors import DomainError
from core.money import Money

PARTS = 2  # more lines of the form
PROBLEMS = frozenset(
    {
        "refund_too_large",
        "not_heard_of",
        "decision_contradicted",
        "undone_at_desk",
        "conflict",
        "returned_twice",
    }
)
router = APIRouter(route_class=OfficeRoute)
RowId = Annotated[int, PathParameter(ge=1, le=2**62)]


@router.get("/suspense")
async def show_suspense(visit: Signed) -> Response:
    """Show money that waits, payments of unknown fate, and events that could not be used."""
    return await _show(visit)


async def _show(
    visit: Visit,
    *,
    why: str = "",
    done: Sequence[str] = (),
) -> Response:
    waiting = await suspense.list_exceptions(visit.session, before=visit.now)
    shown = [
        _item(item, await suspense.list_candidates(visit.session, item), visit.texts)
        for item in waiting.items
    ]
    return visit.page(
        "suspense.html",
        422 if why else 200,
        why=why,
        done=done,
        items=shown,
        unknown=[_unknown(payment, visit) for payment in waiting.unknown],
        events=[_event(event, visit.texts) for event in waiting.events],
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


def _unknown(payment: Payment, visit: Visit) -> dict[str, Any]:
    return {
        "number": payment.number,
        "amount": visit.texts.money(payment.amount_minor, payment.currency),
        "received": visit.texts.moment(payment.received_at),
        "way": visit.texts.plain(f"page.method_{payment.provider}"),
        "reference": payment.reference,
        "verdict": ""
        if payment.verdict is None
        else visit.texts.plain(f"suspense.verdict_{payment.verdict}"),
        "is_mine": payment.verdict_by_id == visit.visitor.person_id,
    }


def _event(event: ProviderEvent, texts: Texts) -> dict[str, Any]:
    problem = (event.problem or "").rpartition(".")[2]
    return {
        "id": event.id,
        "kind": texts.plain(f"suspense.event_{event.kind}"),
        "amount": texts.money(event.amount_minor, event.currency),
        "way": texts.plain(f"page.method_{event.provider}"),
        "reference": event.reference,
        "order": event.order,
        "at": texts.moment(event.at),
        "problem": texts.plain(f"suspense.problem_{problem if problem in PROBLEMS else 'other'}"),
    }


@router.post("/suspense/{item_id}/assign", dependencies=[OwnPage])
async def assign(
    item_id: RowId,
    visit: Signed,
    *,
    number: Annotated[list[str], Form()],
    amount: Annotated[list[str], Form()],
) -> Response:
    """Place money that waits: each line is a bill or an account, and how much of it."""

    async def act() -> None:
        parts: list[tuple[Target, int]] = []
        for typed, share in zip(number, amount, strict=False):
            if typed.strip():
                target = await desk.find_target(visit.session, number=typed[:40])
                parts.append((target, read_amount(visit.texts, share)))
        await suspense.assign(
            visit.session,
            item_id=item_id,
            parts=parts,
            actor_id=visit.visitor.person_id,
            now=visit.now,
        )

    why = await attempt(visit, act())
    return await _after(visit, why=why)


async def _after(visit: Visit, *, why: str) -> Response:
    if why:
        return await _show(visit, why=why)
    return RedirectResponse("/office/suspense", 303)


@router.post("/suspense/{item_id}/return", dependencies=[OwnPage])
async def give_back(item_id: RowId, visit: Signed, reason: Typed) -> Response:
    """Note that money that waits goes back to whom it came from."""

    async def act() -> None:
        item = await suspense.get_item(visit.session, item_id=item_id)
        await suspense.send_back_item(
            visit.session,
            item,
            amount_minor=item.left_minor,
            reason=clean_line(reason, length_max=REASON_LENGTH_MAX),
            actor_id=visit.visitor.person_id,
            now=visit.now,
        )

    why = await attempt(visit, act())
    return await _after(visit, why=why)


@router.post("/payments/{number}/fate", dependencies=[OwnPage])
async def decide_fate(number: str, visit: Signed, came: Annotated[bool, Form()]) -> Response:
    """Say what became of a payment that its provider left open; the second person decides."""
    act = payments.decide_fate(
        visit.session, number=number, has_come=came, actor_id=visit.visitor.person_id, now=visit.now
    )
    why = await attempt(visit, act)
    return await _after(visit, why=why)


@router.post("/events/{event_id}/noted", dependencies=[OwnPage])
async def note_event(event_id: RowId, visit: Signed) -> Response:
    """Take an event off the list: a person has seen to it."""
    act = provider_events.note_problem(
        visit.session, event_id=event_id, actor_id=visit.visitor.person_id, now=visit.now
    )
    why = await attempt(visit, act)
    return await _after(visit, why=why)


@router.post("/statement", dependencies=[OwnPage])
async def upload_statement(
    request: Request,
    visit: Signed,
    file: Annotated[UploadFile, File()],
    *,
    dry_run: Annotated[bool, Form()] = False,
) -> Response:
    """Take in a bank's statement, or with `dry_run` tell what it would do."""
    try:
        imported = await import_statement(
            request.app.state.database,
            content=await file.read(),
            columns=request.app.state.bank_columns,
            is_dry_run=dry_run,
            now=visit.now,
        )
    except DomainError as refusal:
        return await _show(visit, why=explain(visit.texts, refusal))
    return await _show(visit, done=describe(imported, visit.texts))

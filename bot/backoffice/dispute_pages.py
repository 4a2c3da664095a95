"""The pages of objections: those that wait for an answer, and answering one."""

from typing import Annotated

from fastapi import APIRouter, Form, Response
from fastapi.responses import RedirectResponse
from markupsafe import Markup

from bot.backoffice import desk
from bot.backoffice.desk import OfficeRoute, OwnPage, Signed
from bot.handlers.correction_words import describe_dispute, subject_words
from bot.handlers.disputes import WORDS_LENGTH_MAX
from bot.texts import clean_line
from core.billing import dispute_promises, dispute_queries, disputes
from core.billing.correction_models import DisputeState
from core.monitoring.held import Decision

TYPED_MAX = 1000
Typed = Annotated[str, Form(max_length=TYPED_MAX)]
router = APIRouter(route_class=OfficeRoute)


@router.get("/disputes")
async def show_disputes(visit: Signed) -> Response:
    """Show the objections that wait for an answer, the one promised first at the top."""
    texts = visit.texts
    found = await dispute_queries.list_open(visit.session)
    title = texts.count("dispute.list", len(found)) if found else texts.get("dispute.list_none")
    return visit.page(
        "disputes.html",
        title=Markup(title),  # noqa: S704 (escaped by texts)
        disputes=[
            {
                "number": each.number,
                "subject": subject_words(texts, each),
                "address": each.address,
                "ground": texts.plain(f"dispute.ground_{each.ground}"),
                "who": each.responsible or "",
                "promised": texts.day(each.promised_date),
                "is_late": each.promised_date < visit.now.astimezone(texts.zone).date(),
            }
            for each in found
        ],
    )


@router.get("/disputes/{number}")
async def show_dispute(visit: Signed, number: str) -> Response:
    """Show an objection, with forms to answer it."""
    found = await dispute_queries.get_dispute(visit.session, number=number, person_id=None)
    words = describe_dispute(visit.texts, found, for_staff=True)
    return visit.page(
        "dispute.html",
        number=number,
        facts=[Markup(line) for line in words.split("\n")],  # noqa: S704 (escaped by texts)
        bill=found.bill_number or "",
        is_open=found.state is DisputeState.OPEN,
        decisions=[(each.value, visit.texts.plain(f"dispute.reading_{each}")) for each in Decision],
        words_max=WORDS_LENGTH_MAX,
    )


@router.post("/disputes/{number}/answer", dependencies=[OwnPage])
async def answer(
    visit: Signed,
    number: str,
    words: Typed,
    decision: Annotated[Decision | None, Form()] = None,
    value: Typed = "",
) -> Response:
    """Answer that a bill is right, or decide on a reading."""
    said = clean_line(words, length_max=WORDS_LENGTH_MAX)
    is_corrected = decision is Decision.CORRECT
    if decision is None:
        await disputes.decline(
            visit.session,
            number=number,
            answer=said,
            actor_id=visit.visitor.person_id,
            now=visit.now,
        )
    else:
        await disputes.answer_reading(
            visit.session,
            number=number,
            decision=decision,
            value=visit.texts.parse_quantity(value) if is_corrected else None,
            answer=said,
            actor_id=visit.visitor.person_id,
            now=visit.now,
        )
    return RedirectResponse(f"/office/disputes/{number}", 303, headers=desk.HEADERS)


@router.post("/disputes/{number}/longer", dependencies=[OwnPage])
async def take_longer(
    visit: Signed, number: str, days: Annotated[int, Form(ge=1, le=30)], words: Typed
) -> Response:
    """Put the promised day off, with the reason that the customer reads."""
    await dispute_promises.postpone(
        visit.session,
        number=number,
        days=days,
        reason=clean_line(words, length_max=WORDS_LENGTH_MAX),
        actor_id=visit.visitor.person_id,
        now=visit.now,
    )
    return RedirectResponse(f"/office/disputes/{number}", 303, headers=desk.HEADERS)

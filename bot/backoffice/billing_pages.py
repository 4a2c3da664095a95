"""The pages of bills: those held back, one bill with who got it, putting it right, unreached."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Response
from fastapi.responses import RedirectResponse
from markupsafe import Markup

from bot.backoffice import desk
from bot.backoffice.desk import OfficeRoute, OwnPage, Signed, Visit
from bot.handlers.bill_words import describe_bill, title
from bot.handlers.correction_words import describe_preview, story_lines
from bot.handlers.corrections import REASON_LENGTH_MAX
from bot.handlers.rebilling import change_of, list_readings, read_people
from bot.handlers.supply_words import debtor_words
from bot.outgoing import read_press
from bot.texts import clean_line
from core.billing import correction_queries as stories
from core.billing import corrections, dunning, queries, rebilling
from core.billing.back_billing import charges_old_use
from core.billing.correction_models import DisputeState
from core.billing.correction_queries import Proof
from core.billing.models import Bill, BillState
from core.billing.settlement import lock_agreements
from core.billing.tariff_store import list_codes
from core.errors import DomainError
from core.money import Money

TYPED_MAX = 1000
UNREACHED_MAX = 100
Typed = Annotated[str, Form(max_length=TYPED_MAX)]
NOTHING_ASKED = MappingProxyType(
    {"what": "nothing", "value": "", "reason": "", "has_gifts": False, "answers": False}
)
router = APIRouter(route_class=OfficeRoute)


class BillChanged(DomainError):
    """Somebody did something with the bill after it was shown."""

    code = "office.bill_changed"


@router.get("/bills")
async def show_bills(visit: Signed, number: Annotated[str, Query(max_length=20)] = "") -> Response:
    """Show the bills that wait for a decision, and whom no message reaches."""
    if number.strip():
        return _to_bill(number.strip().upper())
    texts, session = visit.texts, visit.session
    held = await queries.list_held_bills(session)
    unreached = await dunning.list_unreached(session, now=visit.now)
    return visit.page(
        "bills.html",
        held=[
            {
                "number": each.bill.number,
                "title": texts.plain(f"bill.title_{each.party.service}", number=each.bill.number),
                "address": each.party.address,
                "total": texts.money(each.bill.total_minor, each.bill.currency),
                "why": texts.plain(f"held.{each.bill.held_reason}"),
            }
            for each in held
        ],
        unreached=[_lines(debtor_words(texts, each)) for each in unreached[:UNREACHED_MAX]],
    )


@router.get("/bills/{number}")
async def show_bill(
    visit: Signed, number: str, objection: Annotated[str, Query(max_length=20)] = ""
) -> Response:
    """Show a bill, what became of it, who was told what, and the ways to put it right."""
    return await _bill(visit, number, asked={**NOTHING_ASKED, "answers": bool(objection)})


async def _bill(
    visit: Visit,
    number: str,
    *,
    preview: Sequence[Markup] = (),
    asked: Mapping[str, object] = NOTHING_ASKED,
) -> Response:
    texts, session = visit.texts, visit.session
    view = await queries.get_bill(session, number=number, person_id=None)
    story = await stories.get_story(session, bill=view.bill)
    codes = await list_codes(session)
    is_held = view.bill.state is BillState.HELD
    lines = story_lines(texts, story, for_staff=True)
    return visit.page(
        "bill.html",
        number=number,
        title=Markup(title(texts, view)),  # noqa: S704 (escaped by texts)
        facts=_lines("\n".join([describe_bill(texts, view), *lines])),
        proofs=[_proof(visit, each) for each in await stories.list_proofs(session, bill=view.bill)],
        is_void=view.bill.state is BillState.VOID,
        is_held=is_held,
        is_old=is_held and await charges_old_use(session, bill=view.bill, now=visit.now),
        objection=story.dispute.number
        if story.dispute is not None and story.dispute.state is DisputeState.OPEN
        else "",
        rest=_rest(view.bill),
        readings=[
            {
                "value": ":".join(map(str, packed)),
                "label": texts.plain(
                    "rebill.reading",
                    serial=serial,
                    value=texts.quantity(value, view.party.service),
                    day=texts.day(key.taken_at),
                ),
            }
            for key, packed, serial, value in await list_readings(session, number)
        ],
        codes=sorted(code for code, kind in codes.items() if kind is view.party.service),
        reason_max=REASON_LENGTH_MAX,
        preview=preview,
        asked=asked,
    )


def _rest(bill: Bill) -> str:
    """Return what a bill comes to after its credit notes, as the form sends it back."""
    return str(Money(bill.total_minor - bill.credited_minor, bill.currency).amount)


def _lines(words: str) -> list[Markup]:
    return [Markup(line) for line in words.split("\n") if line]  # noqa: S704 (escaped by texts)


def _proof(visit: Visit, proof: Proof) -> dict[str, Any]:
    texts = visit.texts
    outcome = "no_contact" if proof.outcome is None else proof.outcome.value
    return {
        "what": texts.plain(f"proof.{proof.kind}"),
        "who": proof.person_name,
        "phone": proof.phone or "",
        "at": texts.moment(proof.sent_at or proof.at),
        "outcome": texts.plain(f"proof.outcome_{outcome}"),
        "seen": proof.seen_at and texts.plain("proof.seen", at=texts.moment(proof.seen_at)),
        "is_proven": proof.sent_at is not None,
    }


def _to_bill(number: str) -> Response:
    return RedirectResponse(f"/office/bills/{number}", 303, headers=desk.HEADERS)


def _said(reason: str) -> str:
    return clean_line(reason, length_max=REASON_LENGTH_MAX)


@router.post("/bills/{number}/credit", dependencies=[OwnPage])
async def credit(
    visit: Signed,
    number: str,
    *,
    amount: Typed,
    reason: Typed,
    rest: Typed,
    answers: Annotated[bool, Form()] = False,
) -> Response:
    """Write a credit note, once for each time that somebody looked at the bill."""
    found = await queries.get_summary(visit.session, number=number, person_id=None)
    await lock_agreements(visit.session, agreement_ids=[found.bill.agreement_id])
    await visit.session.refresh(found.bill)
    if rest != _rest(found.bill):
        raise BillChanged
    typed = visit.texts.parse_quantity(amount)
    await corrections.credit_bill(
        visit.session,
        number=number,
        amount_minor=Money.exactly(typed, found.bill.currency).minor,
        reason=_said(reason),
        actor_id=visit.visitor.person_id,
        now=visit.now,
        answers=answers,
    )
    return _to_bill(number)


@router.post("/bills/{number}/void", dependencies=[OwnPage])
async def void(visit: Signed, number: str, reason: Typed) -> Response:
    """Take a bill back."""
    await corrections.void_bill(
        visit.session,
        number=number,
        reason=_said(reason),
        actor_id=visit.visitor.person_id,
        now=visit.now,
    )
    return _to_bill(number)


@router.post("/bills/{number}/release", dependencies=[OwnPage])
async def release(visit: Signed, number: str, waiver: Typed = "") -> Response:
    """Send a bill that was held back; with a waiver also its use older than the limit."""
    await corrections.release_held(
        visit.session,
        number=number,
        actor_id=visit.visitor.person_id,
        now=visit.now,
        waiver=_said(waiver) if waiver.strip() else None,
    )
    return _to_bill(number)


@router.post("/bills/{number}/old-off", dependencies=[OwnPage])
async def take_old_off(visit: Signed, number: str) -> Response:
    """Send a bill without what it charges for use older than the limit."""
    await corrections.release_without_old(
        visit.session,
        number=number,
        reason=visit.texts.plain("credit.reason_old_use"),
        actor_id=visit.visitor.person_id,
        now=visit.now,
    )
    return _to_bill(number)


@router.post("/bills/{number}/rebill", dependencies=[OwnPage])
async def rebill(
    visit: Signed,
    number: str,
    *,
    what: Typed,
    reason: Typed,
    value: Typed = "",
    is_sure: Annotated[bool, Form()] = False,
    takes_credits: Annotated[bool, Form()] = False,
    answers: Annotated[bool, Form()] = False,
) -> Response:
    """Show what billing again would do; do it when the manager has seen that."""
    kind = what.partition(":")[0]
    draft: dict[str, Any] = {"what": kind, "value": value.strip(), "answers": answers}
    if kind == "people":
        draft["value"] = read_people(visit.texts, value)
    if kind == "reading":
        draft["value"] = str(visit.texts.parse_quantity(value))
        draft["parts"] = read_press(what, int, str, int)
    asked: dict[str, Any] = {
        "number": number,
        "change": change_of(draft, keeps_credits=not takes_credits),
        "actor_id": visit.visitor.person_id,
        "now": visit.now,
    }
    why = _said(reason)
    if not is_sure:
        found = await rebilling.preview_rebill(visit.session, **asked)
        preview = _lines(describe_preview(visit.texts, found))
        has_gifts = any(pair.gifts for pair in found.pairs)
        typed = {
            "what": what,
            "value": value,
            "reason": reason,
            "has_gifts": has_gifts,
            "answers": answers,
        }
        return await _bill(visit, number, preview=preview, asked={**typed, "has_gifts": has_gifts})
    done = await rebilling.rebill(visit.session, reason=why, **asked)
    return _to_bill(done.pairs[0].new or number)

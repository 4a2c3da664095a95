"""Conversation: bills, why they are what they are, their documents, and the statement."""

from dataclasses import replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot.context import Command, Handle, Reader, Render, Turn, WhichNumber
from bot.documents.documents import bill_pdf, receipt_pdf
from bot.handlers.account import back_home
from bot.handlers.bill_pages import bill_page, receipt_page
from bot.handlers.bill_words import (
    balance_words,
    bill_button,
    caption,
    describe_bill,
    describe_explanation,
    describe_receipt,
    statement_line,
    title,
)
from bot.handlers.correction_words import story_lines
from bot.handlers.corrections import say_if_void
from bot.handlers.prepaid_words import receipt_words
from bot.outgoing import Button, File, Keyboard, Outgoing, press, read_press
from bot.texts import Markup, Texts, clean_line
from core.accounts import service as accounts
from core.accounts.models import Role
from core.accounts.service import Speaker
from core.billing import corrections, ledger, queries
from core.billing.back_billing import charges_old_use
from core.billing.bills import people_of
from core.billing.correction_queries import BillStory, get_story
from core.billing.explain import explain_bill
from core.billing.models import Bill, BillState
from core.billing.plan_models import PlanState
from core.billing.prepaid import find_balances
from core.billing.queries import BillSummary, BillView

STATEMENT_LINES = 15
REASON_LENGTH_MAX = 200


def _viewer(asking: Speaker | Reader) -> int | None:
    """Return whose bills may be seen: a manager sees all."""
    return None if Role.MANAGER in asking.roles else asking.person_id


def _number(turn: Turn) -> str:
    """
    Return the number that was pressed or that follows the command.

    Raises:
        WhichNumber: none follows.
    """
    if turn.said.data:
        (number,) = read_press(turn.said.data, str)
        return str(number)
    if not turn.said.arguments:
        raise WhichNumber(example=f"/{turn.said.command} W1001")
    return turn.said.arguments[0].upper()


async def list_bills(turn: Turn) -> None:
    """Show the open bills first, then the latest others, each with its button."""
    found = await queries.list_bills(turn.session, person_id=turn.person_id)
    is_manager = Role.MANAGER in turn.speaker.roles
    held = await queries.list_held_bills(turn.session) if is_manager else []
    keys = [[bill_button(turn.texts, each, "bill")] for each in (*found, *held)]
    if turn.speaker.is_customer:
        keys.append([Button(turn.texts.plain("outlook.key"), press("go", "outlook"))])
    places = await accounts.list_places(turn.session, person_id=turn.person_id)
    if any(place.is_prepaid for place in places):
        keys.append([Button(turn.texts.plain("prepaid.key"), press("go", "balance"))])
    if found:
        keys.append([Button(turn.texts.plain("bills.statement"), press("statement"))])
    keys.append([back_home(turn.texts)])
    open_count = sum(each.bill.state is BillState.ISSUED for each in found)
    words = turn.texts.count("bills.open", open_count) if open_count else None
    none = turn.texts.get("bills.all_paid" if found else "bills.none")
    await turn.draw(words or none, keyboard=keys)


async def show_bill(turn: Turn) -> None:
    """Show the bill that was pressed, or whose number follows the command; else the list."""
    if not turn.said.data and not turn.said.arguments:
        await list_bills(turn)
        return
    await _show(turn, _number(turn))


async def _show(turn: Turn, number: str) -> None:
    view = await queries.get_bill(turn.session, number=number, person_id=_viewer(turn.speaker))
    story = await get_story(turn.session, bill=view.bill)
    is_own = turn.person_id in await _people(turn.session, view.bill)
    lines = story_lines(turn.texts, story, for_staff=not is_own)
    words = [describe_bill(turn.texts, view), *lines]
    back = Button(turn.texts.plain("bill.back"), press("go", "bills"))
    if view.bill.state is BillState.HELD:
        is_old = await charges_old_use(turn.session, bill=view.bill, now=turn.now)
        keys = _held_keys(turn.texts, view.bill, is_old=is_old)
    else:
        keys = _keys(turn.texts, view, story, roles=turn.speaker.roles, is_own=is_own)
    await turn.draw("\n".join(words), keyboard=[*keys, [back]])


async def _people(session: AsyncSession, bill: Bill) -> list[int]:
    """Return whose bill it is."""
    people = await people_of(session, agreement_ids=[bill.agreement_id])
    return people.get(bill.agreement_id, [])


def _held_keys(texts: Texts, bill: Bill, *, is_old: bool) -> list[list[Button]]:
    """Return what a manager decides on a bill that nobody has seen."""
    keys = [[Button(texts.plain("bill.release"), press("billfree", bill.number))]]
    if is_old:
        keys = [
            [Button(texts.plain("correction.old_off"), press("billold", bill.number))],
            [Button(texts.plain("correction.waive"), press("billwaive", bill.number))],
        ]
    again = Button(texts.plain("correction.rebill"), press("rebill", bill.number))
    return [*keys, [again, Button(texts.plain("bill.take_back"), press("billvoid", bill.number))]]


def _keys(
    texts: Texts,
    summary: BillSummary,
    story: BillStory,
    *,
    roles: frozenset[Role],
    is_own: bool = True,
) -> list[list[Button]]:
    bill, dispute = summary.bill, story.dispute
    why = Button(texts.plain("bill.why"), press("why", bill.number))
    document = Button(texts.plain("bill.document"), press("billdoc", bill.number))
    keys = [[why, document]]
    if bill.state is BillState.ISSUED and is_own:
        keys.insert(0, [Button(texts.plain("bill.pay"), press("pay", bill.number))])
    if dispute is not None:
        label = texts.plain("dispute.key", number=dispute.number)
        keys.append([Button(label, press("objection", dispute.number))])
    keys += _plan_keys(texts, summary, story)
    if bill.state is BillState.VOID:
        return keys
    if Role.MANAGER in roles:
        keys.append([Button(texts.plain("correction.key"), press("billfix", bill.number))])
    elif dispute is None:
        keys.append([Button(texts.plain("dispute.object"), press("object", bill.number))])
    return keys


def _plan_keys(texts: Texts, summary: BillSummary, story: BillStory) -> list[list[Button]]:
    keys, plan = [], story.plan
    if plan is not None:
        keys.append(
            [Button(texts.plain("plan.key", number=plan.number), press("plan", plan.number))]
        )
    is_free = plan is None or plan.state is PlanState.ENDED
    is_free |= plan is not None and plan.ended_at is not None and plan.paused_at is None
    if is_free and summary.left_minor > 0 and story.dispute is None and story.is_divisible:
        keys.append([Button(texts.plain("plan.begin"), press("parts", summary.bill.number))])
    return keys


async def why(turn: Turn) -> None:
    """Explain the bill that was pressed, or whose number follows the command; else the list."""
    if not turn.said.data and not turn.said.arguments:
        await list_bills(turn)
        return
    number = _number(turn)
    found = await explain_bill(turn.session, number=number, person_id=_viewer(turn.speaker))
    back = Button(turn.texts.plain("bill.show"), press("bill", number))
    await turn.draw(describe_explanation(turn.texts, found), keyboard=[[back]])


async def press_document(turn: Turn) -> None:
    """Send the document of the bill that was pressed."""
    number = _number(turn)
    await queries.get_summary(turn.session, number=number, person_id=_viewer(turn.speaker))
    await turn.send("bill.document", number=number)


async def show_receipt(turn: Turn) -> None:
    """Send the receipt whose number follows the command; without one, show the statement."""
    if not turn.said.arguments:
        await show_statement(turn)
        return
    number = _number(turn)
    await queries.get_receipt(turn.session, number=number, person_id=turn.person_id)
    await turn.send("payment.receipt", number=number)


async def show_statement(turn: Turn) -> None:
    """Show what was billed and paid for each service, in plain words."""
    texts = turn.texts
    parts: list[str] = []
    for place in await accounts.list_places(turn.session, person_id=turn.person_id):
        movements = await ledger.entries_of(turn.session, agreement_id=place.agreement_id)
        balance = movements[-1].balance_minor if movements else 0
        parts.append(
            texts.get(
                "statement.head",
                service=texts.plain(f"service.{place.service}"),
                address=place.address,
                balance=balance_words(texts, balance, texts.currency),
            )
        )
        parts += [statement_line(texts, line) for line in movements[-STATEMENT_LINES:]]
        parts.append("")
    words = texts.lines(parts).strip() or texts.get("bills.none")
    await turn.draw(words, keyboard=[[Button(texts.plain("bill.back"), press("go", "bills"))]])


async def release(turn: Turn) -> None:
    """Issue the held bill that a manager pressed, or whose number follows the command."""
    turn.require(Role.MANAGER)
    number = _number(turn)
    await corrections.release_held(
        turn.session, number=number, actor_id=turn.person_id, now=turn.now
    )
    await _show(turn, number)


async def take_back(turn: Turn) -> None:
    """Ask a manager why a bill is taken back."""
    turn.require(Role.MANAGER)
    number = _number(turn)
    found = await queries.get_summary(turn.session, number=number, person_id=None)
    if await say_if_void(turn, found.bill):
        return
    await turn.ask("bill.void_reason", number=number)
    await turn.say("bill.ask_void_reason", number=number)


async def receive_void_reason(turn: Turn) -> None:
    """Take a bill back for the reason that a manager typed."""
    turn.require(Role.MANAGER)
    number = turn.draft["number"]
    await corrections.void_bill(
        turn.session,
        number=number,
        reason=clean_line(turn.said.text, length_max=REASON_LENGTH_MAX),
        actor_id=turn.person_id,
        now=turn.now,
    )
    await turn.finish()
    await _show(turn, number)


async def _document(
    session: AsyncSession, reader: Reader, view: BillView, keyboard: Keyboard
) -> Outgoing:
    link = reader.pay_link(view.bill.number) if view.left_minor > 0 else ""
    operator = await accounts.get_operator(session)
    page = bill_page(reader.texts, operator, view, pay_link=link)
    return Outgoing(
        text=caption(reader.texts, view),
        keyboard=keyboard,
        document=File(name=f"{view.bill.number}.pdf", make=lambda: bill_pdf(page)),
    )


async def render_issued(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return a new bill with its document, unless it was taken back meanwhile."""
    view = await queries.get_bill(session, number=params["number"], person_id=_viewer(reader))
    if view.bill.state is BillState.VOID:
        return None
    mine = Button(reader.texts.plain("bill.mine"), press("go", "bills"))
    story = await get_story(session, bill=view.bill)
    keys = _keys(reader.texts, view, story, roles=frozenset())
    sent = await _document(session, reader, view, [*keys, [mine]])
    words = "\n".join([sent.text, *story_lines(reader.texts, story)])
    return replace(sent, text=words)


async def render_document(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return the document that a person asked for."""
    view = await queries.get_bill(session, number=params["number"], person_id=_viewer(reader))
    return await _document(session, reader, view, ())


async def render_voided(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return that a bill was taken back, and why."""
    found = await queries.get_summary(session, number=params["number"], person_id=_viewer(reader))
    words = reader.texts.get(
        "bill.voided",
        title=Markup(title(reader.texts, found)),
        days=reader.texts.days(found.bill.starts_date, found.bill.ends_date),
        reason=found.bill.void_reason or "",
    )
    return Outgoing(text=words)


async def render_receipt(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return a receipt with its document."""
    receipt = await queries.get_receipt(
        session, number=params["number"], person_id=reader.person_id
    )
    operator, balance = await accounts.get_operator(session), None
    page = receipt_page(reader.texts, operator, receipt)
    keys = [Button(reader.texts.plain("bill.mine"), press("go", "bills"))]
    if receipt.party.is_prepaid:
        keys.append(Button(reader.texts.plain("prepaid.key"), press("go", "balance")))
        ids = [receipt.party.agreement_id]
        found = await find_balances(session, agreement_ids=ids, now=reader.now)
        balance = receipt_words(reader.texts, operator, found[receipt.party.agreement_id])
    return Outgoing(
        text=describe_receipt(reader.texts, receipt, balance=balance),
        keyboard=[keys],
        document=File(name=f"{receipt.payment.number}.pdf", make=lambda: receipt_pdf(page)),
    )


MANAGERS = frozenset({Role.MANAGER})
COMMANDS: dict[str, Command] = {
    "bills": Command(run=list_bills, roles=MANAGERS, customers_only=True),
    "statement": Command(run=show_statement, customers_only=True),
    "bill": Command(run=show_bill, in_menu=False),
    "why": Command(run=why, in_menu=False),
    "receipt": Command(run=show_receipt, in_menu=False),
    "release": Command(run=release, roles=MANAGERS, in_menu=False),
    "void": Command(run=take_back, roles=MANAGERS, in_menu=False),
}
PRESSES: dict[str, Handle] = {
    "bill": show_bill,
    "why": why,
    "billdoc": press_document,
    "billfree": release,
    "billvoid": take_back,
    "statement": show_statement,
}
STEPS: dict[str, Handle] = {"bill.void_reason": receive_void_reason}
RENDERERS: dict[str, Render] = {
    "bill.issued": render_issued,
    "bill.document": render_document,
    "bill.voided": render_voided,
    "payment.receipt": render_receipt,
}
NUMBERS: dict[str, str] = {"W": "bill", "E": "bill", "P": "receipt"}

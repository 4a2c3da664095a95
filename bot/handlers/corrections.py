"""Conversation: managers put wrong bills right by a credit note, or decide on old use."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot.context import Command, Handle, Reader, Render, Turn, WhichNumber
from bot.documents.documents import credit_pdf
from bot.handlers.account import cancel_key
from bot.handlers.correction_pages import credit_page
from bot.handlers.correction_words import describe_credit
from bot.outgoing import Button, File, Outgoing, press, read_press
from bot.texts import clean_line
from core.accounts import service as accounts
from core.accounts.models import Role
from core.billing import correction_queries as stories
from core.billing import corrections, dispute_queries, queries
from core.billing.correction_models import DisputeState
from core.billing.dispute_queries import DisputeView
from core.billing.models import Bill, BillState
from core.money import Money

REASON_LENGTH_MAX = 200
MANAGERS = frozenset({Role.MANAGER})


def number_of(turn: Turn) -> str:
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


def to_bill(turn: Turn, number: str) -> Button:
    """Return the button that shows a bill."""
    return Button(turn.texts.plain("bill.show"), press("bill", number))


async def say_if_void(turn: Turn, bill: Bill) -> bool:
    """Tell in the message that was pressed that a bill was taken back before, if it was."""
    if bill.state is BillState.VOID:
        number = bill.number
        await turn.show("billing.bill_is_void", number=number, keyboard=[[to_bill(turn, number)]])
    return bill.state is BillState.VOID


async def choose_correction(turn: Turn) -> None:
    """Offer the ways to put a bill right."""
    turn.require(Role.MANAGER)
    number = number_of(turn)
    found = await queries.get_summary(turn.session, number=number, person_id=None)
    if await say_if_void(turn, found.bill):
        return
    texts = turn.texts
    await turn.show(
        "correction.choose",
        number=number,
        keyboard=[
            [Button(texts.plain("correction.credit"), press("credit", number))],
            [Button(texts.plain("correction.rebill"), press("rebill", number))],
            [Button(texts.plain("bill.take_back"), press("billvoid", number))],
            [to_bill(turn, number)],
        ],
    )


async def begin_credit(turn: Turn) -> None:
    """Ask how much is taken off a bill."""
    turn.require(Role.MANAGER)
    number = number_of(turn)
    found = await queries.get_summary(turn.session, number=number, person_id=None)
    if await say_if_void(turn, found.bill):
        return
    rest = found.bill.total_minor - found.bill.credited_minor
    await turn.ask("credit.amount", number=number)
    amount = turn.texts.money(rest, found.bill.currency)
    await turn.show(
        "credit.ask_amount",
        number=number,
        most=amount,
        keyboard=[
            [Button(turn.texts.plain("credit.whole", amount=amount), press("creditall", number))],
            [cancel_key(turn.texts)],
        ],
    )


async def press_whole(turn: Turn) -> None:
    """Take off all that is left of the bill."""
    turn.require(Role.MANAGER)
    await _ask_credit_reason(turn, number_of(turn), None)


async def receive_amount(turn: Turn) -> None:
    """Take the amount to take off."""
    turn.require(Role.MANAGER)
    number = turn.draft["number"]
    found = await queries.get_summary(turn.session, number=number, person_id=None)
    typed = turn.texts.parse_quantity(turn.said.text)
    minor = Money.exactly(typed, found.bill.currency).minor
    rest = found.bill.total_minor - found.bill.credited_minor
    if not 0 < minor <= rest:
        raise corrections.CreditTooLarge(number=number, left=Money(rest, found.bill.currency))
    await _ask_credit_reason(turn, number, minor)


async def _ask_credit_reason(turn: Turn, number: str, minor: int | None) -> None:
    await turn.ask("credit.reason", number=number, minor=minor)
    await turn.show("correction.ask_reason", number=number, keyboard=[[cancel_key(turn.texts)]])


async def receive_credit_reason(turn: Turn) -> None:
    """Take the reason; where somebody objects to the bill, ask whether this is the answer."""
    turn.require(Role.MANAGER)
    reason = clean_line(turn.said.text, length_max=REASON_LENGTH_MAX)
    if not await ask_if_answer(turn, "credit.answers", **{**turn.draft, "reason": reason}):
        await _credit(turn, reason=reason, answers=False)


async def press_credit_answers(turn: Turn) -> None:
    """Write the credit note, as the answer to the objection or not."""
    turn.require(Role.MANAGER)
    turn.expect("credit.answers")
    (answers,) = read_press(turn.said.data, int)
    await _credit(turn, reason=turn.draft["reason"], answers=bool(answers))


async def ask_if_answer(turn: Turn, step: str, **draft: Any) -> bool:  # noqa: ANN401 (kept as JSON)
    """Ask whether a correction answers the open objection to a bill; tell if there is one."""
    found = await queries.get_summary(turn.session, number=draft["number"], person_id=None)
    dispute = await dispute_queries.find_of_bill(turn.session, bill_id=found.bill.id)
    if dispute is None or dispute.state is not DisputeState.OPEN:
        return False
    await turn.ask(step, **draft)
    keys = [
        [Button(turn.texts.plain(f"correction.{name}", number=dispute.number), press(step, answer))]
        for answer, name in ((1, "answers"), (0, "answers_not"))
    ]
    await turn.show(
        "correction.ask_answers",
        number=dispute.number,
        bill=draft["number"],
        keyboard=[*keys, [cancel_key(turn.texts)]],
    )
    return True


async def ask_credit_again(turn: Turn) -> None:
    """Ask again by buttons whether this answers the objection."""
    turn.require(Role.MANAGER)
    if not await ask_if_answer(turn, "credit.answers", **turn.draft):
        await _credit(turn, reason=turn.draft["reason"], answers=False)


async def _credit(turn: Turn, *, reason: str, answers: bool) -> None:
    number = turn.draft["number"]
    credited = await corrections.credit_bill(
        turn.session,
        number=number,
        amount_minor=turn.draft["minor"],
        reason=reason,
        actor_id=turn.person_id,
        now=turn.now,
        answers=answers,
    )
    await turn.finish()
    amount = turn.texts.money(credited.amount_minor, credited.currency)
    document = Button(turn.texts.plain("bill.document"), press("creditdoc", credited.number))
    await turn.say(
        "credit.done",
        number=credited.number,
        amount=amount,
        bill=number,
        keyboard=[[document, to_bill(turn, number)]],
    )


async def press_credit_document(turn: Turn) -> None:
    """Send a credit note with its document."""
    await _send_credit(turn, number_of(turn))


async def show_credit(turn: Turn) -> None:
    """Send the credit note whose number follows the command."""
    await _send_credit(turn, number_of(turn))


async def _send_credit(turn: Turn, number: str) -> None:
    viewer = None if Role.MANAGER in turn.speaker.roles else turn.person_id
    await stories.get_credit(turn.session, number=number, person_id=viewer)
    await turn.send("bill.credited", credit=number)


async def ask_waiver(turn: Turn) -> None:
    """Ask why use is billed that is older than the limit."""
    turn.require(Role.MANAGER)
    number = number_of(turn)
    await turn.ask("bill.waiver", number=number)
    await turn.show("correction.ask_waiver", number=number, keyboard=[[cancel_key(turn.texts)]])


async def receive_waiver(turn: Turn) -> None:
    """Issue a held bill as it is, for the reason that was typed."""
    turn.require(Role.MANAGER)
    number = turn.draft["number"]
    await corrections.release_held(
        turn.session,
        number=number,
        actor_id=turn.person_id,
        now=turn.now,
        waiver=clean_line(turn.said.text, length_max=REASON_LENGTH_MAX),
    )
    await turn.finish()
    await turn.say("correction.released", number=number, keyboard=[[to_bill(turn, number)]])


async def take_old_off(turn: Turn) -> None:
    """Issue a held bill without what it charges for use older than the limit."""
    turn.require(Role.MANAGER)
    number = number_of(turn)
    await corrections.release_without_old(
        turn.session,
        number=number,
        reason=turn.texts.plain("credit.reason_old_use"),
        actor_id=turn.person_id,
        now=turn.now,
    )
    await turn.show("correction.released", number=number, keyboard=[[to_bill(turn, number)]])


def viewer_of(reader: Reader) -> int | None:
    """Return whose bills may be seen: a manager sees all."""
    return None if Role.MANAGER in reader.roles else reader.person_id


async def find_answered(
    session: AsyncSession, params: dict[str, Any], viewer_id: int | None
) -> DisputeView | None:
    """Return the objection that the correction of a message answered, if it did."""
    if not params.get("answered"):
        return None
    return await dispute_queries.get_dispute(
        session, number=params["answered"], person_id=viewer_id
    )


async def render_credited(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return a credit note with its document."""
    view = await stories.get_credit(session, number=params["credit"], person_id=viewer_of(reader))
    page = credit_page(reader.texts, await accounts.get_operator(session), view)
    number = view.summary.bill.number
    answered = await find_answered(session, params, viewer_of(reader))
    return Outgoing(
        text=describe_credit(reader.texts, view, answered),
        keyboard=[[Button(reader.texts.plain("bill.show"), press("bill", number))]],
        document=File(name=f"{view.note.number}.pdf", make=lambda: credit_pdf(page)),
    )


COMMANDS: dict[str, Command] = {
    "credit": Command(run=begin_credit, roles=MANAGERS, in_menu=False),
    "creditnote": Command(run=show_credit, in_menu=False),
}
PRESSES: dict[str, Handle] = {
    "billfix": choose_correction,
    "credit": begin_credit,
    "creditall": press_whole,
    "credit.answers": press_credit_answers,
    "creditdoc": press_credit_document,
    "billold": take_old_off,
    "billwaive": ask_waiver,
}
STEPS: dict[str, Handle] = {
    "credit.amount": receive_amount,
    "credit.reason": receive_credit_reason,
    "credit.answers": ask_credit_again,
    "bill.waiver": receive_waiver,
}
RENDERERS: dict[str, Render] = {"bill.credited": render_credited}
NUMBERS: dict[str, str] = {"C": "creditnote"}

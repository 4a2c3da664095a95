"""Conversation: managers say what was wrong with a bill, see what follows, and bill it again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot.context import Command, Handle, Reader, Render, Turn
from bot.documents.documents import bill_pdf
from bot.handlers.account import cancel_key
from bot.handlers.bill_pages import bill_page
from bot.handlers.correction_words import describe_preview, describe_replaced
from bot.handlers.corrections import (
    MANAGERS,
    REASON_LENGTH_MAX,
    ask_if_answer,
    find_answered,
    number_of,
    say_if_void,
    to_bill,
    viewer_of,
)
from bot.outgoing import Button, File, Outgoing, press, read_press
from bot.texts import Texts, clean_line
from core.accounts import service as accounts
from core.accounts.models import Role
from core.billing import correction_queries as stories
from core.billing import queries, rebilling
from core.billing.rebilling import Change
from core.billing.tariff_store import list_codes
from core.monitoring.correcting import check_correction
from core.monitoring.rows import Key

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


async def begin_rebill(turn: Turn) -> None:
    """Ask what was wrong with a bill that is made again."""
    turn.require(Role.MANAGER)
    number = number_of(turn)
    found = await queries.get_summary(turn.session, number=number, person_id=None)
    if await say_if_void(turn, found.bill):
        return
    texts = turn.texts
    keys = [
        [
            Button(
                texts.plain(
                    "rebill.reading",
                    serial=serial,
                    value=texts.quantity(value, found.party.service),
                    day=texts.day(key.taken_at),
                ),
                press("rebillread", number, *packed),
            )
        ]
        for key, packed, serial, value in await list_readings(turn.session, number)
    ]
    keys += [
        [Button(texts.plain(f"rebill.{what}"), press("rebillby", what, number))]
        for what in ("people", "tariff", "nothing")
    ]
    await turn.show("rebill.what", number=number, keyboard=[*keys, [to_bill(turn, number)]])


async def list_readings(
    session: AsyncSession, number: str
) -> list[tuple[Key, tuple[object, ...], str, Decimal]]:
    """Return the readings that can be put right: key, its form in a button, serial and value."""
    found = await stories.list_billed_readings(session, number=number)
    return [
        (
            key,
            (key.meter_id, key.name, (key.taken_at - EPOCH) // MICROSECOND),
            span.serial,
            span.opening.value if span.opening.at == key.taken_at else span.closing.value,
        )
        for key, span in found
    ]


async def press_reading(turn: Turn) -> None:
    """Ask for the right value of a reading."""
    turn.require(Role.MANAGER)
    number, *parts = read_press(turn.said.data, str, int, str, int)
    await _ask_value(turn, number, "reading", parts)


async def press_what(turn: Turn) -> None:
    """Ask for the right value of what was wrong, or for the reason at once."""
    turn.require(Role.MANAGER)
    what, number = read_press(turn.said.data, str, str)
    if what in {"people", "tariff"}:
        await _ask_value(turn, number, what, [])
    else:
        await _ask_reason(turn, number, {})


async def _ask_value(turn: Turn, number: str, what: str, parts: list[Any]) -> None:
    keys = []
    if what == "tariff":
        found = await queries.get_summary(turn.session, number=number, person_id=None)
        codes = await list_codes(turn.session)
        ours = sorted(code for code, kind in codes.items() if kind is found.party.service)
        keys = [[Button(code, press("rebilltar", code))] for code in ours]
    await turn.ask("rebill.value", number=number, what=what, parts=parts)
    await turn.show(f"rebill.ask_{what}", keyboard=[*keys, [cancel_key(turn.texts)]])


async def press_tariff(turn: Turn) -> None:
    """Take the tariff that was pressed."""
    turn.expect("rebill.value")
    (code,) = read_press(turn.said.data, str)
    await _take_value(turn, code)


async def receive_value(turn: Turn) -> None:
    """Take the value that was typed."""
    await _take_value(turn, turn.said.text)


async def _take_value(turn: Turn, typed: str) -> None:
    turn.require(Role.MANAGER)
    draft = turn.draft
    match draft["what"]:
        case "tariff":
            value = clean_line(typed, length_max=80)
        case "people":
            value = read_people(turn.texts, typed)
        case _:
            value = str(turn.texts.parse_quantity(typed))
    change = change_of({**draft, "value": value})
    if change.reading is not None:
        key, right = change.reading
        await check_correction(turn.session, key=key, value=right)
    changed = {"what": draft["what"], "parts": draft["parts"], "value": value}
    await _ask_reason(turn, draft["number"], changed)


async def _ask_reason(turn: Turn, number: str, changed: dict[str, Any]) -> None:
    await turn.ask("rebill.reason", number=number, **changed)
    await turn.show("correction.ask_reason", number=number, keyboard=[[cancel_key(turn.texts)]])


def read_people(texts: Texts, typed: str) -> str:
    """
    Return a typed number of people.

    Raises:
        NotANumber, TooManyPlaces: it is no number.
        NotAHousehold: nobody is seven tenths of a person.
    """
    people = texts.parse_quantity(typed)
    if people % 1:
        raise rebilling.NotAHousehold(most=rebilling.PEOPLE_MAX)
    return str(int(people))


def change_of(draft: dict[str, Any], *, keeps_credits: bool = True) -> Change:
    """Return what a manager said was wrong, from what was kept of it."""
    match draft.get("what"):
        case "people":
            change = Change(people=int(draft["value"]))
        case "tariff":
            change = Change(tariff_code=draft["value"])
        case "reading":
            meter_id, register, micros = draft["parts"]
            key = Key(meter_id, register, EPOCH + micros * MICROSECOND)
            change = Change(reading=(key, Decimal(draft["value"])))
        case _:
            change = Change()
    return replace(change, keeps_credits=keeps_credits, answers=draft.get("answers", False))


async def receive_reason(turn: Turn) -> None:
    """Take the reason; where somebody objects to the bill, ask whether this is the answer."""
    turn.require(Role.MANAGER)
    draft = {**turn.draft, "reason": clean_line(turn.said.text, length_max=REASON_LENGTH_MAX)}
    if not await ask_if_answer(turn, "rebill.answers", **draft):
        await _preview(turn, draft)


async def press_answers(turn: Turn) -> None:
    """Take whether this answers the objection."""
    turn.require(Role.MANAGER)
    turn.expect("rebill.answers")
    (answers,) = read_press(turn.said.data, int)
    await _preview(turn, {**turn.draft, "answers": bool(answers)})


async def ask_again(turn: Turn) -> None:
    """Ask again by buttons whether this answers the objection."""
    turn.require(Role.MANAGER)
    if not await ask_if_answer(turn, "rebill.answers", **turn.draft):
        await _preview(turn, turn.draft)


async def _preview(turn: Turn, draft: dict[str, Any]) -> None:
    """Show what billing again would do, to be confirmed."""
    found = await rebilling.preview_rebill(
        turn.session,
        number=draft["number"],
        change=change_of(draft),
        actor_id=turn.person_id,
        now=turn.now,
    )
    await turn.ask("rebill.confirm", **draft)
    keys = [[Button(turn.texts.plain("rebill.do"), press("rebillgo"))]]
    if any(pair.gifts for pair in found.pairs):
        keys.append([Button(turn.texts.plain("rebill.take_credits"), press("rebilltake"))])
    keys.append([cancel_key(turn.texts)])
    await turn.write(describe_preview(turn.texts, found), keyboard=keys)


async def receive_answer(turn: Turn) -> None:
    """Take a typed yes; anything else leaves the bill as it is."""
    word = clean_line(turn.said.text, length_max=20).casefold()
    if word in turn.texts.plain("word.yes").split("|"):
        await confirm(turn)
    else:
        await turn.finish()
        await turn.say("rebill.left", number=turn.draft["number"])


async def take_credits(turn: Turn) -> None:
    """Bill again, and take back what had been credited."""
    await confirm(turn, keeps_credits=False)


async def confirm(turn: Turn, *, keeps_credits: bool = True) -> None:
    """Bill again, as it was shown."""
    turn.require(Role.MANAGER)
    turn.expect("rebill.confirm")
    draft = turn.draft
    found = await rebilling.rebill(
        turn.session,
        number=draft["number"],
        change=change_of(draft, keeps_credits=keeps_credits),
        reason=draft["reason"],
        actor_id=turn.person_id,
        now=turn.now,
    )
    await turn.finish()
    keys = [[to_bill(turn, pair.new)] for pair in found.pairs[:1] if pair.new]
    numbers = ", ".join(pair.new for pair in found.pairs if pair.new)
    await turn.show("rebill.done", numbers=numbers, keyboard=keys)


async def render_rebilled(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return the one message about bills that were made again, with the first new document."""
    viewer = viewer_of(reader)
    pairs = await stories.list_replaced(session, numbers=params["numbers"], person_id=viewer)
    answered = await find_answered(session, params, viewer)
    news = [pair.new.bill.number for pair in pairs if pair.new]
    texts = reader.texts
    keys = [
        [Button(texts.plain("rebill.show", number=number), press("bill", number))]
        for number in news
    ]
    keys += [
        [Button(texts.plain("rebill.pay", number=number), press("pay", number))]
        for number in (pair.new.bill.number for pair in pairs if pair.new and pair.new.left_minor)
    ]
    document = None
    if news:
        view = await queries.get_bill(session, number=news[0], person_id=viewer)
        operator = await accounts.get_operator(session)
        page = bill_page(texts, operator, view, pay_link=reader.pay_link(news[0]))
        document = File(name=f"{news[0]}.pdf", make=lambda: bill_pdf(page))
    words = describe_replaced(texts, pairs, answered)
    return Outgoing(text=words, keyboard=keys, document=document)


COMMANDS: dict[str, Command] = {"rebill": Command(run=begin_rebill, roles=MANAGERS, in_menu=False)}
PRESSES: dict[str, Handle] = {
    "rebill": begin_rebill,
    "rebillread": press_reading,
    "rebillby": press_what,
    "rebilltar": press_tariff,
    "rebill.answers": press_answers,
    "rebillgo": confirm,
    "rebilltake": take_credits,
}
STEPS: dict[str, Handle] = {
    "rebill.value": receive_value,
    "rebill.reason": receive_reason,
    "rebill.answers": ask_again,
    "rebill.confirm": receive_answer,
}
RENDERERS: dict[str, Render] = {"bill.rebilled": render_rebilled}

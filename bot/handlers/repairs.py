"""Conversation: follow a repair, add to it, answer whether it is fixed; its messages."""

import re
import unicodedata
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot import repair_card
from bot.context import Command, Handle, Reader, Render, Turn
from bot.handlers.account import back_home
from bot.outgoing import Button, ButtonIsOld, Outgoing, press, read_press
from bot.texts import Texts, clean_line
from core.errors import DomainError
from core.repairs import queries
from core.repairs import service as repairs
from core.repairs.access import RepairNotFound
from core.repairs.journal import News
from core.repairs.queries import RepairLine, RepairView
from core.repairs.workflow import UNCLAIMED, Act, Party, State

WORDS_MAX = 1000
PHOTOS_SHOWN = 10
NUMBER = re.compile(r"[R\u0420]?([0-9]{4,9})")  # also the Cyrillic letter that looks the same
BY_COMMAND = {"confirm": Act.CONFIRM, "notfixed": Act.DENY, "withdraw": Act.CANCEL}


class WhichRepair(DomainError):
    """The command needs the number of a repair."""

    code = "repair.which"


def read_number(words: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """Return the repair's number with which the words of a command begin, and the rest."""
    if words:
        found = NUMBER.fullmatch(unicodedata.normalize("NFKC", words[0]).upper().lstrip("#"))
        if found is not None:
            return f"R{found[1]}", words[1:]
    return None, words


def require_number(turn: Turn) -> tuple[str, tuple[str, ...]]:
    """
    Return the number that follows a command, and the words after it.

    Raises:
        WhichRepair: there is none.
    """
    number, rest = read_number(turn.said.arguments)
    if number is None:
        raise WhichRepair(command=turn.said.command)
    return number, rest


def words_of(turn: Turn, text: str) -> str:
    """Return typed words as one line; with a photo there need not be any."""
    if not text.strip() and turn.said.photo_ref:
        return ""
    return clean_line(text, length_max=WORDS_MAX)


async def show_repair(turn: Turn, repair: int | str, *, note: str = "", **values: object) -> None:
    """Show a repair's card with all buttons of this person, below a note if there is one."""
    view = await queries.get_repair_for(
        turn.session, person_id=turn.person_id, repair=repair, now=turn.now
    )
    outgoing = repair_card.draw(view, turn.texts)
    text = f"{turn.texts.get(note, **values)}\n\n{outgoing.text}" if note else outgoing.text
    await turn.draw(text, keyboard=[*outgoing.keyboard, [back_home(turn.texts)]])


async def show_done(turn: Turn, done: repairs.Done) -> None:
    """Show where a repair stands after an act; one that was done before says so."""
    note = "" if done.changed else "repair.already"
    if turn.said.data:
        turn.toast(note or "repair.noted")
        note = ""
    await show_repair(turn, done.repair_id, note=note)


async def take_step(turn: Turn, act: Act, repair: int | str, **more: Any) -> repairs.Done:  # noqa: ANN401 (passed on as they are)
    """Do an act as the person who speaks."""
    return await repairs.take_step(
        turn.session, act=act, person_id=turn.person_id, repair=repair, now=turn.now, **more
    )


async def list_mine(turn: Turn) -> None:
    """Show the repairs at the customer's places, the open ones first."""
    lines = await queries.list_for_customer(turn.session, person_id=turn.person_id, now=turn.now)
    await show_list(turn, lines, title="repair.list_title", empty="repair.list_empty")


async def show_list(
    turn: Turn,
    lines: list[RepairLine],
    *,
    title: str,
    empty: str,
    more: list[Button] | None = None,
    **values: object,
) -> None:
    """Show repairs as a list, each with a button that opens it."""
    texts = turn.texts
    blocks = [texts.get(title if lines else empty, **values)]
    blocks += [repair_card.summary(line, texts) for line in lines]
    keys = [Button(line.number, press("repair", line.id)) for line in lines]
    rows = [keys[start : start + 3] for start in range(0, len(keys), 3)]
    last = [*([more] if more else []), [back_home(texts)]]
    await turn.draw("\n\n".join(blocks), keyboard=[*rows, *last])


async def open_repair(turn: Turn) -> None:
    """Show one repair by its typed number."""
    number, _ = require_number(turn)
    await show_repair(turn, number)


async def press_repair(turn: Turn) -> None:
    """Show the repair of a button, leaving any question about it."""
    (repair_id,) = read_press(turn.said.data, int)
    await turn.finish()
    await show_repair(turn, repair_id)


async def press_act(turn: Turn) -> None:
    """Do what a card's button says."""
    act, repair_id, version = read_press(turn.said.data, Act, int, int)
    if act in repair_card.FAMILY or act is Act.LAPSE:
        raise ButtonIsOld
    await _answer(turn, act, repair_id, version=version)


async def type_act(turn: Turn) -> None:
    """Take a customer's typed answer: fixed, not fixed, or withdrawn."""
    number, rest = require_number(turn)
    words = clean_line(" ".join(rest), length_max=WORDS_MAX) if rest else ""
    await _answer(turn, BY_COMMAND[turn.said.command], number, words=words)


async def _answer(
    turn: Turn,
    act: Act,
    repair: int | str,
    *,
    version: int | None = None,
    words: str = "",
) -> None:
    done = await take_step(turn, act, repair, version=version, words=words)
    if act is Act.DENY and done.changed and not words:
        await turn.ask("repair.words", repair_id=done.repair_id)
        await show_repair(turn, done.repair_id, note="repair.say_more", number=done.number)
    else:
        await show_done(turn, done)


async def press_words(turn: Turn) -> None:
    """Ask for words or a photo for a repair."""
    (repair_id,) = read_press(turn.said.data, int)
    await _ask_words(turn, repair_id)


async def _ask_words(turn: Turn, repair: int | str) -> None:
    view = await get_view(turn, repair)
    await turn.ask("repair.words", repair_id=view.id)
    keyboard = [[repair_card.back_to(turn.texts, view.id)]]
    await turn.show("repair.ask_words", keyboard=keyboard, number=view.number)


async def get_view(turn: Turn, repair: int | str) -> RepairView:
    """Return a repair as the person who speaks may see it."""
    return await queries.get_repair_for(
        turn.session, person_id=turn.person_id, repair=repair, now=turn.now
    )


async def receive_words(turn: Turn) -> None:
    """Add what was said or shown to the repair."""
    await _add(turn, turn.draft["repair_id"], turn.said.text)


async def type_words(turn: Turn) -> None:
    """Add the words after the number to a repair, or ask for them."""
    number, rest = require_number(turn)
    if rest:
        await _add(turn, number, " ".join(rest))
    else:
        await _ask_words(turn, number)


async def _add(turn: Turn, repair: int | str, text: str) -> None:
    done = await repairs.comment(
        turn.session,
        person_id=turn.person_id,
        repair=repair,
        text=words_of(turn, text),
        photo_ref=turn.said.photo_ref,
        now=turn.now,
    )
    await turn.finish()
    keyboard = [[repair_card.back_to(turn.texts, done.repair_id)]]
    await turn.say("repair.words_added", keyboard=keyboard, number=done.number)


async def press_history(turn: Turn) -> None:
    """Show the whole history of the button's repair."""
    (repair_id,) = read_press(turn.said.data, int)
    await _show_history(turn, repair_id)


async def type_history(turn: Turn) -> None:
    """Show the history of the repair whose number was typed."""
    number, _ = require_number(turn)
    await _show_history(turn, number)


async def _show_history(turn: Turn, repair: int | str) -> None:
    view = await get_view(turn, repair)
    row = [repair_card.back_to(turn.texts, view.id)]
    if any(happening.photo_ids for happening in view.history):
        row.insert(0, Button(turn.texts.plain("repair.do_photos"), press("rphotos", view.id)))
    await turn.draw(repair_card.history_text(view, turn.texts), keyboard=[row])


async def press_photos(turn: Turn) -> None:
    """Send the newest photos of the button's repair."""
    (repair_id,) = read_press(turn.said.data, int)
    await _send_photos(turn, repair_id)


async def type_photos(turn: Turn) -> None:
    """Send the newest photos of the repair whose number was typed."""
    number, _ = require_number(turn)
    await _send_photos(turn, number)


async def _send_photos(turn: Turn, repair: int | str) -> None:
    photos = await queries.get_photos_for(turn.session, person_id=turn.person_id, repair=repair)
    if not photos:
        await turn.say("repair.no_photos")
    for photo_id, _ in photos[:PHOTOS_SHOWN]:
        await turn.send("repair.photo", repair=repair, photo_id=photo_id)


async def render_photo(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return one photo of a repair, if the reader may still see it."""
    view = await _find_view(session, reader, params["repair"])
    if view is None:
        return None
    photos = dict(await queries.get_photos_for(session, person_id=reader.person_id, repair=view.id))
    row = next(row for row in view.history if params["photo_id"] in row.photo_ids)
    return Outgoing(
        text=reader.texts.get(
            "repair.photo_of",
            number=view.number,
            who=row.who or "",
            moment=reader.texts.moment(row.at),
        ),
        photo_ref=photos[params["photo_id"]],
    )


def render_card_for(parties: frozenset[Party]) -> Render:
    """Return what draws the living card for one kind of people."""

    async def render(
        session: AsyncSession, reader: Reader, params: dict[str, Any]
    ) -> Outgoing | None:
        view = await _find_view(session, reader, params["repair_id"])
        if view is None or not view.parties & parties:
            return None
        return repair_card.draw(view, reader.texts, parties=parties)

    return render


async def _find_view(session: AsyncSession, reader: Reader, repair: int | str) -> RepairView | None:
    try:
        return await queries.get_repair_for(
            session, person_id=reader.person_id, repair=repair, now=reader.now
        )
    except RepairNotFound:
        return None


async def render_news(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return what has happened in a sentence, unless a question in it has been answered since."""
    news = News(params["news"])
    line = await queries.get_line(session, repair_id=params["repair_id"], now=reader.now)
    asks = {
        News.FIXED: (line.state is State.FIXED, (Act.CONFIRM, Act.DENY)),
        News.NORMAL: (
            line.state in UNCLAIMED and line.normal_at is not None,
            (Act.CONFIRM,),
        ),
        News.OFFERED: (line.state in UNCLAIMED, (Act.CLAIM,)),
    }
    still_true, acts = asks.get(news, (True, ()))
    if not still_true:
        return None
    history = await queries.get_history(session, repair_id=line.id)
    row = next(row for row in history if row.event_id == params["event_id"])
    values = repair_card.news_values(line, row, reader.texts)
    keyboard = [[_news_key(reader.texts, act, line) for act in acts]] if acts else []
    if news is not News.TRANSFERRED:
        keyboard.append([Button(reader.texts.plain("repair.show"), press("repair", line.id))])
    return Outgoing(text=reader.texts.get(f"news.{news}", **values), keyboard=keyboard)


def _news_key(texts: Texts, act: Act, line: RepairLine) -> Button:
    label = "well" if act is Act.CONFIRM and line.state is not State.FIXED else act.value
    return Button(
        texts.plain(f"repair.do_{label}"), press("ract", act.value, line.id, line.version)
    )


NUMBERS = {"R": "repair"}
COMMANDS: dict[str, Command] = {
    "repairs": Command(run=list_mine, customers_only=True),
    "repair": Command(run=open_repair, in_menu=False),
    "confirm": Command(run=type_act, customers_only=True, in_menu=False),
    "notfixed": Command(run=type_act, customers_only=True, in_menu=False),
    "withdraw": Command(run=type_act, in_menu=False),
    "comment": Command(run=type_words, in_menu=False),
    "history": Command(run=type_history, in_menu=False),
    "photos": Command(run=type_photos, in_menu=False),
}
PRESSES: dict[str, Handle] = {
    "repair": press_repair,
    "ract": press_act,
    "rwords": press_words,
    "rhistory": press_history,
    "rphotos": press_photos,
}
STEPS: dict[str, Handle] = {
    "repair.words": receive_words,
}
RENDERERS: dict[str, Render] = {
    "repair.card": render_card_for(repair_card.CUSTOMER),
    "repair.card_manager": render_card_for(repair_card.MANAGER),
    "repair.news": render_news,
    "repair.photo": render_photo,
}

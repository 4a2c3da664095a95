"""Conversation: follow a repair, add to it, answer whether it is fixed; its messages."""

import re
import unicodedata
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot import repair_card
from bot.context import Command, Handle, Reader, Render, Turn
from bot.handlers.account import back_home
from bot.outgoing import Button, ButtonIsOld, Outgoing, press, read_press
from bot.texts import clean_line
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
MORE_PHOTOS = "repair.more_photos"  # whatever else is said next is not about the repair
MORE_WITHIN = timedelta(minutes=10)  # then a photo is about something new
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


def subject_of(turn: Turn) -> tuple[int | str, str]:
    """
    Return the repair of a button, or the one whose number follows a command, and the words after.

    Raises:
        WhichRepair: no number follows.
    """
    if turn.said.data:
        (repair_id,) = read_press(turn.said.data, int)
        return repair_id, ""
    number, rest = read_number(turn.said.arguments)
    if number is None:
        raise WhichRepair(command=turn.said.command)
    return number, " ".join(rest)


def line_of(text: str) -> str:
    """Return typed words, if there are any, as one line."""
    return clean_line(text, length_max=WORDS_MAX) if text else ""


def words_of(turn: Turn, text: str) -> str:
    """Return typed words as one line; with a photo there need not be any."""
    if not text.strip() and turn.said.photo_ref:
        return ""
    return clean_line(text, length_max=WORDS_MAX)


async def show_repair(turn: Turn, repair: int | str, *, note: str = "", **values: object) -> None:
    """Show a repair's card with all buttons of this person, below a note if there is one."""
    view = await get_view(turn, repair)
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
    """Show one repair, leaving any question about it."""
    repair, _ = subject_of(turn)
    await turn.finish()
    await show_repair(turn, repair)


async def press_act(turn: Turn) -> None:
    """Do what a card's button says."""
    act, repair_id, version = read_press(turn.said.data, Act, int, int)
    if act in repair_card.FAMILY or act is Act.LAPSE:
        raise ButtonIsOld
    await _answer(turn, act, repair_id, version=version)


async def type_act(turn: Turn) -> None:
    """Take a customer's typed answer: fixed, not fixed, or withdrawn."""
    number, words = subject_of(turn)
    await _answer(turn, BY_COMMAND[turn.said.command], number, words=line_of(words))


async def _answer(turn: Turn, act: Act, repair: int | str, *, words: str = "", **more: int) -> None:
    done = await take_step(turn, act, repair, words=words, **more)
    if act is Act.DENY and done.changed and not words:
        await turn.ask("repair.words", repair_id=done.repair_id)
        is_other = repair not in {done.repair_id, done.number}
        note = "repair.say_more_home" if is_other else "repair.say_more"
        await show_repair(turn, done.repair_id, note=note, number=done.number)
    else:
        await show_done(turn, done)


async def get_view(turn: Turn, repair: int | str) -> RepairView:
    """Return a repair as the person who speaks may see it."""
    return await queries.get_repair_for(
        turn.session, person_id=turn.person_id, repair=repair, now=turn.now
    )


async def write_words(turn: Turn) -> None:
    """Add the words after the number to a repair, or ask for words or a photo."""
    repair, words = subject_of(turn)
    if words:
        await add_words(turn, repair, words_of(turn, words), turn.said.photo_ref)
        return
    view = await get_view(turn, repair)
    await turn.ask("repair.words", repair_id=view.id)
    keyboard = [[repair_card.back_to(turn.texts, view.id)]]
    await turn.show("repair.ask_words", keyboard=keyboard, number=view.number)


async def receive_words(turn: Turn) -> None:
    """Add what was said or shown to the repair."""
    words = words_of(turn, turn.said.text)
    await add_words(turn, turn.draft["repair_id"], words, turn.said.photo_ref)


async def add_words(turn: Turn, repair: int | str, words: str, photo_ref: str) -> None:
    """Add words, a photo or both to a repair and say so."""
    done = await repairs.comment(
        turn.session,
        person_id=turn.person_id,
        repair=repair,
        text=words,
        photo_ref=photo_ref,
        now=turn.now,
    )
    await turn.finish()
    if photo_ref:
        await expect_more_photos(turn, done.repair_id)
    keyboard = [[repair_card.back_to(turn.texts, done.repair_id)]]
    await turn.show("repair.words_added", keyboard=keyboard, number=done.number)


async def expect_more_photos(turn: Turn, repair_id: int) -> None:
    """Let the photos that follow in the next minutes belong to the same repair."""
    until = (turn.now + MORE_WITHIN).isoformat()
    await turn.ask(MORE_PHOTOS, repair_id=repair_id, until=until)


def find_expecting(turn: Turn) -> int | None:
    """Return the repair to which a photo belongs that comes now, right after another one."""
    if turn.step != MORE_PHOTOS or turn.now > datetime.fromisoformat(turn.draft["until"]):
        return None
    repair_id: int = turn.draft["repair_id"]
    return repair_id


async def show_history(turn: Turn) -> None:
    """Show the whole history of a repair."""
    repair, _ = subject_of(turn)
    view = await get_view(turn, repair)
    row = [repair_card.back_to(turn.texts, view.id)]
    if any(happening.photo_ids for happening in view.history):
        row.insert(0, Button(turn.texts.plain("repair.do_photos"), press("rphotos", view.id)))
    await turn.draw(repair_card.history_text(view, turn.texts), keyboard=[row])


async def send_photos(turn: Turn) -> None:
    """Send the newest photos of a repair."""
    repair, _ = subject_of(turn)
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
    with suppress(RepairNotFound):
        return await queries.get_repair_for(
            session, person_id=reader.person_id, repair=repair, now=reader.now
        )
    return None


async def render_news(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return what has happened in a sentence, unless a question in it has been answered since."""
    news = News(params["news"])
    line = await queries.get_line(session, repair_id=params["repair_id"], now=reader.now)
    asks = {
        News.FIXED: (line.state is State.FIXED, () if line.is_off else (Act.CONFIRM, Act.DENY)),
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
    keyboard = [[repair_card.act_key(line, reader.texts, act) for act in acts]] if acts else []
    if news is not News.TRANSFERRED:
        keyboard.append([Button(reader.texts.plain("repair.show"), press("repair", line.id))])
    key = repair_card.news_key(line, row, news)
    return Outgoing(text=reader.texts.get(key, **values), keyboard=keyboard)


NUMBERS = {"R": "repair"}
COMMANDS: dict[str, Command] = {
    "repairs": Command(run=list_mine, customers_only=True),
    "repair": Command(run=open_repair, in_menu=False),
    "confirm": Command(run=type_act, customers_only=True, in_menu=False),
    "notfixed": Command(run=type_act, customers_only=True, in_menu=False),
    "withdraw": Command(run=type_act, in_menu=False),
    "comment": Command(run=write_words, in_menu=False),
    "history": Command(run=show_history, in_menu=False),
    "photos": Command(run=send_photos, in_menu=False),
}
PRESSES: dict[str, Handle] = {
    "repair": open_repair,
    "ract": press_act,
    "rwords": write_words,
    "rhistory": show_history,
    "rphotos": send_photos,
}
STEPS: dict[str, Handle] = {"repair.words": receive_words}
RENDERERS: dict[str, Render] = {
    "repair.card": render_card_for(repair_card.CUSTOMER),
    "repair.card_manager": render_card_for(repair_card.MANAGER),
    "repair.news": render_news,
    "repair.photo": render_photo,
}

"""Conversation: outage notices, written by managers and read by everybody they touch."""

from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot.context import Command, Handle, Reader, Render, Turn
from bot.handlers import outage_writing
from bot.handlers.account import back_home
from bot.handlers.outage_words import describe, end_keys, read_moment
from bot.moments import parse_moment
from bot.outgoing import Button, Keyboard, Outgoing, press, read_press
from bot.texts import Texts
from core.accounts.models import Role
from core.notices.models import PushSchedule
from core.outages import queries, service
from core.outages.models import OutageState
from core.outages.queries import OutageView

MANAGERS = frozenset({Role.MANAGER})


async def list_notices(turn: Turn) -> None:
    """Show the notices that touch a customer, or all of them to a manager."""
    is_manager = Role.MANAGER in turn.speaker.roles
    found = await queries.list_current(
        turn.session, person_id=None if is_manager else turn.person_id
    )
    keys: list[list[Button]] = [
        [Button(_title(turn.texts, outage), press("outage", outage.number))] for outage in found
    ]
    if is_manager:
        keys.append([Button(turn.texts.plain("outage.new"), press("go", "outage"))])
    keys.append([back_home(turn.texts)])
    await turn.show("outage.list" if found else "outage.none", keyboard=keys)


async def write_or_show(turn: Turn) -> None:
    """Show the notice whose number follows the command; without one a manager begins one."""
    if turn.said.arguments:
        await _show(turn, turn.said.arguments[0].upper())
    else:
        await outage_writing.begin(turn)


async def press_notice(turn: Turn) -> None:
    """Show the notice that was pressed."""
    (number,) = read_press(turn.said.data, str)
    await _show(turn, number)


async def _show(turn: Turn, number: str) -> None:
    outage = await queries.get_outage(turn.session, number=number)
    if Role.MANAGER not in turn.speaker.roles:
        await turn.draw(describe(turn.texts, outage), keyboard=[[_back_to_list(turn.texts)]])
        return
    reach = await queries.get_reach(turn.session, outage_id=outage.id)
    words = turn.texts.get(
        "outage.reach",
        people=reach.people,
        sent=reach.sent,
        waiting=reach.waiting,
        failed=reach.failed,
    )
    await turn.draw(
        f"{describe(turn.texts, outage)}\n\n{words}",
        keyboard=[*_manager_keys(turn.texts, outage), [_back_to_list(turn.texts)]],
    )


async def press_change(turn: Turn) -> None:
    """Ask for the new end of a notice."""
    turn.require(Role.MANAGER)
    number, version = read_press(turn.said.data, str, int)
    await _ask_new_end(turn, number, version)


async def _ask_new_end(turn: Turn, number: str, version: int | None) -> None:
    outage = await queries.get_outage(turn.session, number=number)
    await turn.ask("outage.new_end", number=number, version=version)
    await turn.show(
        "outage.ask_new_end",
        keyboard=end_keys(turn, "outnewend", since=outage.ends_at),
        number=number,
        ends=turn.texts.moment(outage.ends_at),
    )


async def receive_new_end(turn: Turn) -> None:
    """Take the new end; everybody's message is edited and says so."""
    turn.expect("outage.new_end")
    turn.require(Role.MANAGER)
    draft = turn.draft
    await _change(turn, draft["number"], draft["version"], read_moment(turn, since=turn.now))
    await turn.finish()


async def change_by_word(turn: Turn) -> None:
    """Change the end of the notice whose number follows, to the time after it or one asked for."""
    if not turn.said.arguments:
        await list_notices(turn)
        return
    number, *typed = turn.said.arguments
    if not typed:
        await _ask_new_end(turn, number.upper(), None)
        return
    ends_at = parse_moment(" ".join(typed), texts=turn.texts, now=turn.now)
    await _change(turn, number.upper(), None, ends_at)


async def _change(turn: Turn, number: str, version: int | None, ends_at: datetime) -> None:
    changed = await service.change(
        turn.session,
        number=number,
        version=version,
        ends_at=ends_at,
        reason=None,
        actor_id=turn.person_id,
        now=turn.now,
    )
    ends = turn.texts.moment(changed.ends_at)
    await turn.show("outage.changed", number=number, ends=ends)


async def press_end(turn: Turn) -> None:
    """End the notice that was pressed, after one more press."""
    number, version, sure = read_press(turn.said.data, str, int, int)
    turn.require(Role.MANAGER)
    if sure:
        await _end(turn, number, version)
        return
    yes = Button(turn.texts.plain("outage.end_sure"), press("outend", number, version, 1))
    back = Button(turn.texts.plain("outage.back"), press("outage", number))
    await turn.show("outage.ask_sure", keyboard=[[yes], [back]], number=number)


async def end_by_word(turn: Turn) -> None:
    """End the notice whose number follows the command."""
    if turn.said.arguments:
        await _end(turn, turn.said.arguments[0].upper(), None)
    else:
        await list_notices(turn)


async def _end(turn: Turn, number: str, version: int | None) -> None:
    await service.end(
        turn.session, number=number, version=version, actor_id=turn.person_id, now=turn.now
    )
    await turn.show("outage.ended", number=number, keyboard=[[_back_to_list(turn.texts)]])


def _title(texts: Texts, outage: OutageView) -> str:
    return texts.plain(
        "outage.row",
        number=outage.number,
        service=texts.plain(f"service.{outage.service}"),
        area=outage.area_name,
        starts=texts.moment(outage.starts_at),
    )


def _manager_keys(texts: Texts, outage: OutageView) -> list[list[Button]]:
    if outage.state is not OutageState.ANNOUNCED:
        return []
    return [
        [
            Button(
                texts.plain("outage.change_end"), press("outchange", outage.number, outage.version)
            ),
            Button(texts.plain("outage.end"), press("outend", outage.number, outage.version, 0)),
        ]
    ]


def _back_to_list(texts: Texts) -> Button:
    return Button(texts.plain("outage.to_list"), press("go", "outages"))


async def render_card(session: AsyncSession, reader: Reader, params: dict[str, Any]) -> Outgoing:
    """Return a notice as it stands now."""
    outage = await queries.get_view(session, outage_id=params["outage"])
    keys: Keyboard = ()
    if Role.MANAGER in reader.roles:
        keys = _manager_keys(reader.texts, outage)
    return Outgoing(text=describe(reader.texts, outage), keyboard=keys)


async def render_news(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return the short word about a change, unless a newer change has overtaken it."""
    outage = await queries.get_view(session, outage_id=params["outage"])
    if outage.version != params["version"]:
        return None
    texts = reader.texts
    words = texts.get(
        f"outage.news_{params['news']}",
        number=outage.number,
        service=texts.plain(f"service.{outage.service}"),
        area=outage.area_name,
        reason=outage.reason,
        ends=texts.moment(outage.ends_at),
    )
    return Outgoing(text=words)


async def render_overrun(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return the warning that a promised end has passed, while that is still so."""
    outage = await queries.get_outage(session, number=params["number"])
    if outage.state is not OutageState.ANNOUNCED or outage.ends_at > reader.now:
        return None
    words = reader.texts.get(
        "outage.overrun", number=outage.number, ends=reader.texts.moment(outage.ends_at)
    )
    return Outgoing(text=words, keyboard=_manager_keys(reader.texts, outage))


async def render_push(session: AsyncSession, reader: Reader, params: dict[str, Any]) -> Outgoing:
    """Return a scheduled text in the person's language, or in the nearest there is."""
    schedule = await session.get_one(PushSchedule, params["schedule"])
    written = schedule.texts
    nearest = ("zh_CN", "en") if reader.texts.locale == "zh_TW" else ("en", "zh_CN")
    chosen = next(
        (written[code] for code in (reader.texts.locale, *nearest) if code in written),
        next(iter(written.values())),
    )
    return Outgoing(text=reader.texts.get("push.text", text=chosen))


COMMANDS: dict[str, Command] = {
    "outages": Command(run=list_notices),
    "outage": Command(run=write_or_show, in_menu=False),
    "endoutage": Command(run=end_by_word, roles=MANAGERS, in_menu=False),
    "moveoutage": Command(run=change_by_word, roles=MANAGERS, in_menu=False),
}
PRESSES: dict[str, Handle] = {
    "outage": press_notice,
    "outchange": press_change,
    "outend": press_end,
    "outnewend": receive_new_end,
    **outage_writing.PRESSES,
}
STEPS: dict[str, Handle] = {"outage.new_end": receive_new_end, **outage_writing.STEPS}
RENDERERS: dict[str, Render] = {
    "outage.card": render_card,
    "outage.news": render_news,
    "outage.overrun": render_overrun,
    "push.text": render_push,
}
NUMBERS: dict[str, str] = {"N": "outage"}

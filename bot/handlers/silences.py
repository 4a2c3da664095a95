"""Conversation: gateways that fall silent, told to managers until one of them takes it."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot.context import Command, Handle, Reader, Render, Turn
from bot.handlers.account import back_home
from bot.outgoing import Button, Keyboard, Outgoing, press, read_press
from bot.texts import Texts
from core.accounts.models import Role
from core.monitoring import gateway_silence
from core.monitoring.gateway_silence import SilenceView


async def list_silences(turn: Turn) -> None:
    """Show the gateways that are silent now; `take` after the command takes care of all."""
    turn.require(Role.MANAGER)
    views = await gateway_silence.list_silences(turn.session)
    if turn.said.arguments == ("take",):
        views = [await _take(turn, view.silence.id) for view in views]
    words = [_words(turn.texts, view) for view in views] or [turn.texts.get("silence.none")]
    keys = [row for view in views for row in _keys(turn.texts, view)]
    await turn.draw("\n\n".join(words), keyboard=[*keys, [back_home(turn.texts)]])


async def press_take(turn: Turn) -> None:
    """Take care of the silence that was pressed."""
    (silence_id,) = read_press(turn.said.data, int)
    view = await _take(turn, silence_id)
    await turn.draw(_words(turn.texts, view))


async def _take(turn: Turn, silence_id: int) -> SilenceView:
    return await gateway_silence.take_silence(
        turn.session, silence_id=silence_id, person_id=turn.person_id, now=turn.now
    )


def _words(texts: Texts, view: SilenceView) -> str:
    """Return a silence as it stands: whose, since when, who takes care of it, when it ended."""
    silence = view.silence
    is_whole = silence.silent == silence.meters
    kind = "all" if view.name is None else "whole" if is_whole else "part"
    lines = [
        texts.count(
            f"silence.{kind}",
            silence.silent,
            name=view.name or "",
            meters=silence.meters,
            since=texts.moment(silence.began_at),
        )
    ]
    if silence.taken_at is not None:
        at = texts.moment(silence.taken_at)
        lines.append(texts.get("silence.taken", name=view.taken_by or "", at=at))
    if silence.ended_at is not None:
        lines.append(texts.get("silence.ended", at=texts.moment(silence.ended_at)))
    return texts.lines(lines)


def _keys(texts: Texts, view: SilenceView) -> Keyboard:
    if view.silence.taken_at is not None or view.silence.ended_at is not None:
        return []
    return [[Button(texts.plain("silence.do_take"), press("silence", view.silence.id))]]


async def render_card(session: AsyncSession, reader: Reader, params: dict[str, Any]) -> Outgoing:
    """Return a silence as it stands, to be taken by one press."""
    view = await gateway_silence.get_silence(session, silence_id=params["silence"])
    return Outgoing(text=_words(reader.texts, view), keyboard=_keys(reader.texts, view))


async def render_again(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return the reminder that nobody takes care, unless somebody does by now or it is over."""
    view = await gateway_silence.get_silence(session, silence_id=params["silence"])
    keys = _keys(reader.texts, view)
    if not keys:
        return None
    words = [reader.texts.get("silence.again"), _words(reader.texts, view)]
    return Outgoing(text=reader.texts.lines(words), keyboard=keys)


async def render_over(session: AsyncSession, reader: Reader, params: dict[str, Any]) -> Outgoing:
    """Return that data comes again."""
    view = await gateway_silence.get_silence(session, silence_id=params["silence"])
    key = "silence.over_all" if view.name is None else "silence.over"
    since = reader.texts.moment(view.silence.began_at)
    return Outgoing(text=reader.texts.get(key, name=view.name or "", since=since))


COMMANDS: dict[str, Command] = {
    "silence": Command(run=list_silences, roles=frozenset({Role.MANAGER}), in_menu=False)
}
PRESSES: dict[str, Handle] = {"silence": press_take}
STEPS: dict[str, Handle] = {}
RENDERERS: dict[str, Render] = {
    "silence.gateway": render_card,
    "silence.again": render_again,
    "silence.over": render_over,
}

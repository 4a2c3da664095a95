"""Conversation: a suspected leak, told to the people at home, and their answer."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot.context import Command, Handle, Reader, Render, Turn
from bot.outgoing import Button, Outgoing, press, read_press
from bot.repair_card import mine_key
from bot.texts import Texts
from core.monitoring import leaks
from core.monitoring.leak_rules import LeakKind
from core.monitoring.models import Leak, LeakAnswer
from core.repairs.leaks import answer_leak
from core.repairs.workflow import ENDED

LITRES = 1000


async def press_answer(turn: Turn) -> None:
    """Take the answer that was pressed; help and absence file a repair."""
    leak_id, answer = read_press(turn.said.data, int, LeakAnswer)
    repair = await answer_leak(
        turn.session, leak_id=leak_id, person_id=turn.person_id, answer=answer, now=turn.now
    )
    texts, keys, words = turn.texts, [], []
    if answer is LeakAnswer.MINE:
        leak, _ = await leaks.get_leak(turn.session, leak_id=leak_id)
        is_away = leak.kind is LeakKind.WHILE_AWAY
        words.append(texts.get("leak.noted_mine_away" if is_away else "leak.noted_mine"))
    if repair is not None:
        key = f"leak.noted_{answer}"
        if answer is LeakAnswer.MINE:
            key = "leak.closed" if repair.state in ENDED else "leak.told"
        else:
            keys.append([mine_key(texts, leak_id)])
        words.append(texts.get(key, number=repair.number))
        keys.insert(0, [Button(texts.plain("repair.show"), press("repair", repair.id))])
    await turn.draw(texts.lines(words), keyboard=keys)


async def render_found(session: AsyncSession, reader: Reader, params: dict[str, Any]) -> Outgoing:
    """Return what was found; people at home can answer, managers are told where."""
    leak, address = await leaks.get_leak(session, leak_id=params["leak"])
    texts = reader.texts
    values = {"address": address, "since": texts.moment(leak.began_at)}
    if leak.kind is LeakKind.WHILE_AWAY:
        values["litres"] = texts.number(Decimal(params["used"]) * LITRES, places_max=1)
        values["until"] = texts.moment(datetime.fromisoformat(params["until"]))
    else:
        values["rate"] = texts.number(leak.rate * LITRES, places_max=0)
        values["day"] = texts.quantity(leak.rate * 24, "water", places_max=1)
    words = texts.get(f"leak.{leak.kind}", **values)
    is_at_home = await leaks.is_at_home(session, leak=leak, person_id=reader.person_id)
    if leak.ended_at is not None or not is_at_home:
        return Outgoing(text=words)
    if leak.kind is LeakKind.BURST:
        words = f"{words}\n{texts.get('leak.close')}"
    return Outgoing(text=f"{words}\n\n{texts.get('leak.ask')}", keyboard=_keys(texts, leak))


def _keys(texts: Texts, leak: Leak) -> list[list[Button]]:
    return [
        [Button(texts.plain(f"leak.do_{answer}"), press("leak", leak.id, answer))]
        for answer in LeakAnswer
    ]


async def render_over(session: AsyncSession, reader: Reader, params: dict[str, Any]) -> Outgoing:
    """Return that it has stopped."""
    leak, address = await leaks.get_leak(session, leak_id=params["leak"])
    key = "leak.over_away" if leak.kind is LeakKind.WHILE_AWAY else "leak.over"
    return Outgoing(text=reader.texts.get(key, address=address))


COMMANDS: dict[str, Command] = {}
PRESSES: dict[str, Handle] = {"leak": press_answer}
STEPS: dict[str, Handle] = {}
RENDERERS: dict[str, Render] = {"leak.found": render_found, "leak.over": render_over}

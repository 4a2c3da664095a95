"""Conversation: managers decide on readings that wait: right, wrong, or to be corrected."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot.context import Command, Handle, Reader, Render, Turn
from bot.handlers.account import back_home, cancel_key
from bot.outgoing import Button, ButtonIsOld, Outgoing, press, read_press
from bot.texts import Texts, clean_line
from core.accounts.models import Role
from core.billing import redeciding
from core.monitoring import held
from core.monitoring.held import Decision, HeldReading
from core.monitoring.photos import list_photos
from core.monitoring.rows import Key
from core.monitoring.service import TOTAL, ReadingGoesBackwards, TooManyDigits
from core.monitoring.standstills import StillMeter, list_standstills

SHOWN = 6
REASON_LENGTH_MAX = 200
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def _data(reading: HeldReading) -> tuple[object, ...]:
    return reading.meter_id, reading.register, (reading.taken_at - EPOCH) // MICROSECOND


def _key(meter_id: int, register: str, micros: int) -> Key:
    try:
        return Key(meter_id, register, EPOCH + micros * MICROSECOND)
    except OverflowError:
        raise ButtonIsOld from None


async def list_held(turn: Turn) -> None:
    """Show the first readings that wait for a decision, and how many there are."""
    turn.require(Role.MANAGER)
    found, total = await held.list_held(turn.session, limit=SHOWN)
    texts = turn.texts
    decided = await held.list_decided(turn.session, now=turn.now, limit=SHOWN)
    keys = []
    for each in (*found, *decided):
        label = f"{each.serial}: {texts.quantity(each.value, each.service)}"
        if each in decided:
            label = texts.plain("held.key_take_back", reading=label)
        keys.append([Button(label, press("held", *_data(each)))])
    title = texts.count("held.title", total) if found else texts.get("held.none")
    lines = [title, *await _still_words(turn)]
    if decided:
        lines += ["", texts.get("held.lately")]
    await turn.draw("\n".join(lines), keyboard=[*keys, [back_home(texts)]])


async def _still_words(turn: Turn) -> list[str]:
    """Return the note about meters that stand still, if any does."""
    found, total = await list_standstills(turn.session, limit=SHOWN)
    if not found:
        return []
    texts = turn.texts
    return ["", texts.count("still.title", total), *(_still_line(texts, each) for each in found)]


def _still_line(texts: Texts, meter: StillMeter) -> str:
    """Return which meter stands still, since when, and what it usually counts."""
    return texts.get(
        "still.line",
        serial=meter.serial,
        address=meter.address,
        value=texts.quantity(meter.value, meter.service),
        since=texts.day(meter.since),
        usual=texts.quantity(meter.usual, meter.service),
    )


def name_meter(reading: HeldReading) -> str:
    """Return the meter of a reading, with the register if it has several."""
    if reading.register == TOTAL:
        return reading.serial
    return f"{reading.serial} ({reading.register})"


async def press_reading(turn: Turn) -> None:
    """Show a reading that waits or was accepted, with what was accepted before it."""
    turn.require(Role.MANAGER)
    key = _key(*read_press(turn.said.data, int, str, int))
    reading, before = await held.get_held(turn.session, key=key, or_decided=True)
    texts = turn.texts
    lines = [
        texts.get(
            f"held.{reading.status}",
            serial=name_meter(reading),
            address=reading.address,
            value=texts.quantity(reading.value, reading.service),
            at=texts.moment(reading.taken_at),
        )
    ]
    if before is not None:
        value = texts.quantity(before.value, reading.service)
        lines.append(texts.get("held.before", value=value, at=texts.moment(before.taken_at)))
    keys = [
        [Button(texts.plain(f"held.do_{each}"), press("heldby", each, *_data(reading)))]
        for each in Decision.about(reading.status)
    ]
    meant = await held.find_meant(turn.session, reading=reading, before=before)
    if meant is not None:
        value = texts.quantity(meant, reading.service)
        lines.append(texts.get("held.unit", value=value))
        label = texts.plain("held.do_convert", value=value)
        keys.insert(0, [Button(label, press("heldunit", *_data(reading)))])
    back = Button(texts.plain("held.to_list"), press("go", "held"))
    await turn.draw("\n".join(lines), keyboard=[*keys, [back]])
    for photo_id in await list_photos(turn.session, key=key):
        await turn.send("reading.photo", photo_id=photo_id)


async def press_unit(turn: Turn) -> None:
    """Correct a reading to the number that it was meant to be."""
    turn.require(Role.MANAGER)
    key = _key(*read_press(turn.said.data, int, str, int))
    reading, before = await held.get_held(turn.session, key=key, or_decided=True)
    meant = await held.find_meant(turn.session, reading=reading, before=before)
    if meant is None:
        raise ButtonIsOld
    await _decide(turn, key, Decision.CORRECT, meant, turn.texts.plain("held.reason_unit"))


async def press_decision(turn: Turn) -> None:
    """Ask for the right number, or for the reason."""
    turn.require(Role.MANAGER)
    decision, *parts = read_press(turn.said.data, Decision, int, str, int)
    key = _key(*parts)
    reading, _ = await held.get_held(turn.session, key=key, or_decided=True)
    value = reading.value if decision is Decision.ACCEPT else None
    await redeciding.check_decision(turn.session, key=key, value=value)
    if decision is Decision.CORRECT:
        await turn.ask("held.value", parts=parts)
        await turn.show("held.ask_value", keyboard=[[cancel_key(turn.texts)]])
    else:
        await _ask_reason(turn, decision, parts, None)


async def receive_value(turn: Turn) -> None:
    """Take the right number if the meter can have shown it, and ask for the reason."""
    turn.require(Role.MANAGER)
    value, parts = turn.texts.parse_quantity(turn.said.text), turn.draft["parts"]
    await redeciding.check_decision(turn.session, key=_key(*parts), value=value)
    await _ask_reason(turn, Decision.CORRECT, parts, value)


async def _ask_reason(
    turn: Turn, decision: Decision, parts: list[Any], value: Decimal | None
) -> None:
    typed = None if value is None else str(value)
    await turn.ask("held.reason", decision=decision, parts=parts, value=typed)
    await turn.show("held.ask_reason", keyboard=[[cancel_key(turn.texts)]])


async def receive_reason(turn: Turn) -> None:
    """Decide, for the reason that was typed; ask for the number again if it fits no more."""
    turn.require(Role.MANAGER)
    draft = turn.draft
    reason = clean_line(turn.said.text, length_max=REASON_LENGTH_MAX)
    value = None if draft["value"] is None else Decimal(draft["value"])
    try:
        await _decide(turn, _key(*draft["parts"]), Decision(draft["decision"]), value, reason)
    except (TooManyDigits, ReadingGoesBackwards) as refusal:
        texts = turn.texts
        values = {name: texts.value(each) for name, each in refusal.params.items()}
        await turn.ask("held.value", parts=draft["parts"])
        why = texts.get("refused", reason=texts.plain(refusal.code, **values))
        await turn.write(why, keyboard=[[cancel_key(texts)]])


async def _decide(
    turn: Turn, key: Key, decision: Decision, value: Decimal | None, reason: str
) -> None:
    await redeciding.decide_reading(
        turn.session,
        key=key,
        decision=decision,
        value=value,
        reason=reason,
        person_id=turn.person_id,
        now=turn.now,
    )
    await turn.finish()
    back = Button(turn.texts.plain("held.to_list"), press("go", "held"))
    await turn.say("held.decided", keyboard=[[back]])


async def render_waiting(
    session: AsyncSession, reader: Reader, _params: dict[str, Any]
) -> Outgoing | None:
    """Return how many readings wait, unless none does any more."""
    _, total = await held.list_held(session, limit=1)
    return _waiting(reader.texts, total) if total else None


def _waiting(texts: Texts, total: int) -> Outgoing:
    key = Button(texts.plain("held.to_list"), press("go", "held"))
    return Outgoing(text=texts.count("held.title", total), keyboard=[[key]])


COMMANDS: dict[str, Command] = {"held": Command(run=list_held, roles=frozenset({Role.MANAGER}))}
PRESSES: dict[str, Handle] = {
    "held": press_reading,
    "heldby": press_decision,
    "heldunit": press_unit,
}
STEPS: dict[str, Handle] = {"held.value": receive_value, "held.reason": receive_reason}
RENDERERS: dict[str, Render] = {"held.waiting": render_waiting}

"""Conversation: a customer is away and wants to be told of any use of water until a day."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot.context import Command, Handle, Reader, Render, Turn
from bot.handlers.account import back_home
from bot.handlers.leaks import LITRES
from bot.handlers.usage import METERS_SHOWN, Mine, find_mine
from bot.handlers.usage_pictures import meter_key
from bot.moments import parse_day
from bot.outgoing import Button, Keyboard, Outgoing, press, read_press
from bot.texts import Texts
from core.accounts.models import Service
from core.monitoring import service, vacations
from core.monitoring.vacations import Watched
from core.periods import local_day

DAYS_OFFERED = 8
KEYS_IN_ROW = 2


async def begin_away(turn: Turn) -> None:
    """Ask which meter and until when, or take both from the words after the command."""
    mine = await find_mine(turn, kind=Service.WATER)
    words = list(turn.said.arguments)
    named = [each for each in mine if words and each[1].serial.casefold() == words[0].casefold()]
    if named:
        mine, words = named, words[1:]
    if len(mine) > 1:
        keys = [[meter_key(turn.texts, place, "away", m.id)] for place, m in mine[:METERS_SHOWN]]
        await turn.ask("away.meter", meters=[meter.id for _, meter in mine[:METERS_SHOWN]])
        await turn.show("vacation.which", keyboard=[*keys, [back_home(turn.texts)]])
    elif words:
        await _watch(turn, mine[0], _read_day(turn, " ".join(words)))
    else:
        await _ask(turn, mine[0])


async def press_meter(turn: Turn) -> None:
    """Ask until when the meter that was pressed is to be watched."""
    (meter_id,) = read_press(turn.said.data, int)
    await _ask(turn, await _find(turn, meter_id))


async def receive_meter(turn: Turn) -> None:
    """Ask until when the meter whose position was typed is to be watched."""
    meter_id = await turn.pick(turn.draft["meters"])
    if meter_id is not None:
        await _ask(turn, await _find(turn, meter_id))


async def press_day(turn: Turn) -> None:
    """Watch until the day that was pressed."""
    meter_id, day = read_press(turn.said.data, int, date.fromisoformat)
    await _watch(turn, await _find(turn, meter_id), day)


async def receive_day(turn: Turn) -> None:
    """Watch until the day that was typed."""
    day = _read_day(turn, turn.said.text)
    await _watch(turn, await _find(turn, turn.draft["meter_id"]), day)


async def press_end(turn: Turn) -> None:
    """End a watch before its day."""
    (vacation_id,) = read_press(turn.said.data, int)
    meter, watched = await vacations.end_vacation(
        turn.session, person_id=turn.person_id, vacation_id=vacation_id, now=turn.now
    )
    place, _ = await _find(turn, meter.id)
    words = turn.texts.get("vacation.over", address=place.address)
    await turn.finish()
    await turn.draw(turn.texts.lines([words, *describe(turn.texts, watched)]))


def _read_day(turn: Turn, typed: str) -> date:
    return parse_day(typed, texts=turn.texts, now=turn.now)


async def _find(turn: Turn, meter_id: int) -> Mine:
    for mine in await find_mine(turn, kind=Service.WATER):
        if mine[1].id == meter_id:
            return mine
    raise service.MeterNotFound


async def _ask(turn: Turn, mine: Mine) -> None:
    place, meter = mine
    running = await vacations.find_vacation(
        turn.session, person_id=turn.person_id, meter_id=meter.id
    )
    key, values, keys = "vacation.ask", {}, _day_keys(turn, meter.id)
    if running is not None:
        key, values = "vacation.running", {"day": turn.texts.weekday(running.until_date)}
        keys = [[_end_key(turn.texts, running.id)], *keys]
    await turn.ask("away.day", meter_id=meter.id)
    await turn.show(key, keyboard=keys, address=place.address, **values)


def _day_keys(turn: Turn, meter_id: int) -> list[list[Button]]:
    today = local_day(turn.now, zone=turn.texts.zone)
    days = (today + timedelta(days=i) for i in range(DAYS_OFFERED))
    keys = (Button(turn.texts.weekday(day), press("awayday", meter_id, day)) for day in days)
    rows = [list(islice(keys, KEYS_IN_ROW)) for _ in range(DAYS_OFFERED // KEYS_IN_ROW)]
    return [*rows, [back_home(turn.texts)]]


def _end_key(texts: Texts, vacation_id: int) -> Button:
    return Button(texts.plain("vacation.key_end"), press("awayend", vacation_id))


async def _watch(turn: Turn, mine: Mine, until: date) -> None:
    place, meter = mine
    vacation, watched = await vacations.begin_vacation(
        turn.session, person_id=turn.person_id, meter_id=meter.id, until=until, now=turn.now
    )
    await turn.finish()
    day = turn.texts.weekday(until)
    words = [turn.texts.get("vacation.begun", address=place.address, day=day)]
    if watched.is_silent:
        words.append(_describe_silence(turn.texts, watched))
    keys: Keyboard = [[_end_key(turn.texts, vacation.id)], [back_home(turn.texts)]]
    await turn.draw(turn.texts.lines(words), keyboard=keys)


def describe(texts: Texts, watched: Watched) -> list[str]:
    """Return what was seen in words; of a silent meter never that nothing was used."""
    lines = []
    if watched.used:
        litres = texts.number(watched.used * LITRES, places_max=1)
        lines.append(texts.get("vacation.used", litres=litres))
    elif not watched.is_silent:
        lines.append(texts.get("vacation.unheard" if watched.used is None else "vacation.nothing"))
    if watched.is_silent:
        lines.append(_describe_silence(texts, watched))
    return lines


def _describe_silence(texts: Texts, watched: Watched) -> str:
    if watched.heard_at is None:
        return texts.get("vacation.never_heard")
    return texts.get("vacation.silent_since", at=texts.moment(watched.heard_at))


async def render_word(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return the word of a silent meter, or of the end; nothing when it is not theirs any more."""
    mine = await service.list_meters_of(session, person_id=reader.person_id)
    place = next((place for place, meter in mine if meter.id == params["meter_id"]), None)
    if place is None:
        return None
    watched = Watched(
        used=None if params["used"] is None else Decimal(params["used"]),
        heard_at=params["heard_at"] and datetime.fromisoformat(params["heard_at"]),
        is_silent=params["is_silent"],
    )
    key = "vacation.over" if params["is_over"] else "vacation.goes_on"
    words = reader.texts.get(key, address=place.address)
    return Outgoing(text=reader.texts.lines([words, *describe(reader.texts, watched)]))


COMMANDS: dict[str, Command] = {"away": Command(run=begin_away, customers_only=True)}
PRESSES: dict[str, Handle] = {"away": press_meter, "awayday": press_day, "awayend": press_end}
STEPS: dict[str, Handle] = {"away.meter": receive_meter, "away.day": receive_day}
RENDERERS: dict[str, Render] = {"vacation.silent": render_word, "vacation.over": render_word}

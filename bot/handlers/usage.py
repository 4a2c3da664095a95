"""Conversation: a customer's meters, use, pressure and voltage, and the readings they type."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial

from bot.context import Command, Handle, Render, Turn
from bot.handlers.account import back_home, cancel, cancel_key
from bot.handlers.dials import keep_photos
from bot.handlers.disputes import reading_key
from bot.handlers.usage_pictures import (
    SPANS,
    TODAY,
    describe_quality,
    heading,
    meter_key,
    render_quality,
    render_usage,
)
from bot.outgoing import Button, ButtonIsOld, press, read_press
from bot.texts import Texts, clean_line
from core.accounts.models import Service
from core.accounts.service import Place
from core.errors import DomainError
from core.monitoring import quality, service, usage
from core.monitoring.models import Source
from core.monitoring.photos import PHOTOS_MAX
from core.monitoring.ranges import MeterFacts
from core.monitoring.rows import Key

METERS_SHOWN = 8
SERVICE_OF_COMMAND = {"pressure": Service.WATER, "voltage": Service.ELECTRICITY}

Mine = tuple[Place, MeterFacts]


class SpanNotKnown(DomainError):
    """What follows the command is neither a span nor the number of a meter."""

    code = "usage.span_not_known"


class NoMeter(service.MeterNotFound):
    """The person has no meter, or none of this kind."""

    code = "meter.none"


async def show_meters(turn: Turn) -> None:
    """Show each meter with what it shows, and its pressure or voltage in plain words."""
    mine = await find_mine(turn)
    shown = await usage.list_registers(
        turn.session, meter_ids=[meter.id for _, meter in mine], at=turn.now
    )
    parts = []
    for place, meter in mine[:METERS_SHOWN]:
        lines = [heading(turn.texts, place), turn.texts.get("meter.serial", serial=meter.serial)]
        lines += [
            _shown(
                turn.texts,
                "meter.reading_estimated" if value.source is Source.ESTIMATE else "meter.reading",
                value,
                place.service,
            )
            for value in shown
            if value.meter_id == meter.id
        ]
        now = await quality.current_quality(turn.session, meter=meter, now=turn.now)
        parts.append("\n".join([*lines, describe_quality(turn.texts, now)]))
    keys = [
        [
            Button(turn.texts.plain("usage.key"), press("go", "usage")),
            Button(turn.texts.plain("reading.key"), press("go", "reading")),
        ],
        [
            Button(turn.texts.plain(f"quality.key_{name}"), press("go", name))
            for name, kind in SERVICE_OF_COMMAND.items()
            if any(place.service is kind for place, _ in mine)
        ],
        [back_home(turn.texts)],
    ]
    await turn.draw("\n\n".join(parts), keyboard=keys)


async def show_usage(turn: Turn) -> None:
    """Send the picture of a meter's use; its serial and a span can follow the command."""
    mine = await find_mine(turn)
    serials = {meter.serial.casefold() for _, meter in mine}
    typed = [word.casefold() for word in turn.said.arguments]
    serial = next((word for word in typed if word in serials), "")
    span = _read_span(turn.texts, " ".join(word for word in typed if word != serial))
    (_, meter), *_ = await find_mine(turn, serial=serial)
    await turn.send("usage.chart", meter_id=meter.id, span=span)


def _read_span(texts: Texts, typed: str) -> str:
    """Return the span that was typed, the usual one for nothing."""
    if not typed:
        return "month"
    for span in (TODAY, *SPANS):
        if typed in texts.plain(f"usage.words_{span}").split("|"):
            return span
    if any(sign.isdecimal() for sign in typed):
        raise service.MeterNotFound
    raise SpanNotKnown(typed=typed)


async def press_usage(turn: Turn) -> None:
    """Send the picture that was pressed."""
    meter_id, span = read_press(turn.said.data, int, str)
    if span not in {TODAY, *SPANS}:
        raise ButtonIsOld
    await _meter(turn, meter_id)
    await turn.send("usage.chart", meter_id=meter_id, span=span)


async def show_quality(turn: Turn, *, kind: Service) -> None:
    """Send the pressure or voltage of now and of the last day."""
    serial = turn.said.arguments[0] if turn.said.arguments else ""
    (_, meter), *_ = await find_mine(turn, serial=serial, kind=kind)
    await turn.send("quality.chart", meter_id=meter.id)


async def press_quality(turn: Turn) -> None:
    """Send the pressure or voltage of the meter that was pressed."""
    (meter_id,) = read_press(turn.said.data, int)
    await _meter(turn, meter_id)
    await turn.send("quality.chart", meter_id=meter_id)


async def _meter(turn: Turn, meter_id: int) -> MeterFacts:
    return await service.find_meter_of(turn.session, person_id=turn.person_id, meter_id=meter_id)


async def begin_reading(turn: Turn) -> None:
    """Ask which meter was read, and what it shows; both can follow the command."""
    serial, *typed = turn.said.arguments or ("",)
    mine = await find_mine(turn, serial=serial)
    if len(mine) > 1:
        keys = [
            [meter_key(turn.texts, place, "read", meter.id)] for place, meter in mine[:METERS_SHOWN]
        ]
        await turn.ask("reading.meter", meters=[meter.id for _, meter in mine[:METERS_SHOWN]])
        await turn.show("reading.which", keyboard=[*keys, [back_home(turn.texts)]])
    elif typed:
        await _record(turn, mine[0][1], turn.texts.parse_quantity(" ".join(typed)))
    else:
        await _ask(turn, mine[0][1])


async def press_meter(turn: Turn) -> None:
    """Ask what the meter that was pressed shows."""
    (meter_id,) = read_press(turn.said.data, int)
    await _ask(turn, await _meter(turn, meter_id))


async def receive_meter(turn: Turn) -> None:
    """Ask what the meter shows whose position in the list was typed."""
    meter_id = await turn.pick(turn.draft["meters"])
    if meter_id is not None:
        await _ask(turn, await _meter(turn, meter_id))


async def _ask(turn: Turn, meter: MeterFacts) -> None:
    latest = await service.find_latest_reading(
        turn.session, meter_id=meter.id, at=turn.now, is_real=True
    )
    await turn.ask("reading.value", meter_id=meter.id)
    parts = [turn.texts.get("reading.ask", serial=meter.serial)]
    if latest is not None:
        parts.append(_shown(turn.texts, "reading.latest", latest, meter.service))
    await turn.draw("\n".join(parts), keyboard=[[cancel_key(turn.texts)]])


def _shown(texts: Texts, key: str, reading: service.RegisterValue, kind: Service) -> str:
    value = texts.quantity(reading.value, kind)
    return texts.get(key, value=value, at=texts.moment(reading.taken_at))


async def receive_value(turn: Turn) -> None:
    """Take the number that was typed; a photo without a number is kept until it comes."""
    draft = turn.draft
    photo_refs = [*draft.get("photo_refs", []), *filter(None, [turn.said.photo_ref])][-PHOTOS_MAX:]
    if turn.said.photo_ref and not turn.said.text:
        await turn.ask("reading.value", meter_id=draft["meter_id"], photo_refs=photo_refs)
        await turn.say("reading.ask_number", keyboard=[[cancel_key(turn.texts)]])
        return
    value = turn.texts.parse_quantity(turn.said.text)
    meter = await _meter(turn, draft["meter_id"])
    await _record(turn, meter, value, photo_refs=photo_refs)


async def receive_answer(turn: Turn) -> None:
    """Take a typed yes, no or better number as the answer whether an unusual reading is right."""
    word = clean_line(turn.said.text, length_max=40).casefold()
    if word in turn.texts.plain("word.yes").split("|"):
        await confirm(turn)
    elif word in turn.texts.plain("word.no").split("|"):
        await cancel(turn)
    else:
        await receive_value(turn)


async def confirm(turn: Turn) -> None:
    """Record the unusual reading that this chat was asked about."""
    turn.expect("reading.confirm")
    await _record(
        turn,
        await _meter(turn, turn.draft["meter_id"]),
        Decimal(turn.draft["value"]),
        taken_at=datetime.fromisoformat(turn.draft["taken_at"]),
        photo_refs=turn.draft["photo_refs"],
        confirmed=True,
    )


async def take_meant(turn: Turn) -> None:
    """Record the number that was probably meant, as this chat was asked."""
    turn.expect("reading.confirm")
    draft = turn.draft
    if draft["meant"] is None:
        raise ButtonIsOld
    await _record(
        turn,
        await _meter(turn, draft["meter_id"]),
        Decimal(draft["meant"]),
        taken_at=datetime.fromisoformat(draft["taken_at"]),
        photo_refs=draft["photo_refs"],
    )


async def _record(
    turn: Turn,
    meter: MeterFacts,
    value: Decimal,
    *,
    taken_at: datetime | None = None,
    photo_refs: Sequence[str] = (),
    confirmed: bool = False,
) -> None:
    """Record a reading, or ask first when it is unusual."""
    try:
        recorded = await service.record_reading(
            turn.session,
            person_id=turn.person_id,
            meter_id=meter.id,
            value=value,
            taken_at=taken_at or turn.now,
            source=Source.CUSTOMER,
            confirmed=confirmed,
            now=turn.now,
        )
    except service.ReadingUnusual as unusual:
        await _ask_if_right(turn, meter, value, unusual, photo_refs)
        return
    await turn.finish()
    await keep_photos(turn, Key(meter.id, service.TOTAL, recorded.taken_at), photo_refs)
    keys = [
        [Button(turn.texts.plain("usage.key"), press("use", meter.id, "month"))],
        [back_home(turn.texts)],
    ]
    if not recorded.is_held:
        keys.insert(1, [reading_key(turn.texts, Key(meter.id, service.TOTAL, recorded.taken_at))])
    values = {"value": turn.texts.quantity(value, meter.service), "serial": meter.serial}
    key = "reading.held" if recorded.is_held else "reading.first"
    before = recorded.previous
    if not recorded.is_held and recorded.use is None and before is not None:
        key = "reading.below_estimate"
        values["estimate"] = turn.texts.quantity(before.value, meter.service)
    if not recorded.is_held and recorded.use is not None and before is not None:
        key = "reading.recorded"
        values["use"] = turn.texts.quantity(recorded.use, meter.service)
        values["since"] = turn.texts.moment(before.taken_at)
    words = [turn.texts.get(key, **values)]
    if not photo_refs:
        words.append(turn.texts.get("reading.photo_wanted"))
    await turn.draw("\n".join(words), keyboard=keys)


async def _ask_if_right(
    turn: Turn,
    meter: MeterFacts,
    value: Decimal,
    unusual: service.ReadingUnusual,
    photo_refs: Sequence[str],
) -> None:
    await turn.ask(
        "reading.confirm",
        meter_id=meter.id,
        value=str(value),
        taken_at=turn.now.isoformat(),
        photo_refs=list(photo_refs),
        meant=None if unusual.meant is None else str(unusual.meant),
    )
    yes = Button(turn.texts.plain("reading.key_right"), press("readyes"))
    again = Button(turn.texts.plain("reading.key_again"), press("read", meter.id))
    keys = [[yes], [again], [cancel_key(turn.texts)]]
    if unusual.meant is not None:
        meant = turn.texts.quantity(unusual.meant, meter.service)
        label = turn.texts.plain("reading.key_meant", value=meant)
        keys.insert(0, [Button(label, press("readmeant"))])
    words = turn.texts.count(
        "reading.unusual",
        int(unusual.factor),
        value=turn.texts.quantity(value, meter.service),
        use=turn.texts.quantity(unusual.use, meter.service),
        factor=turn.texts.number(unusual.factor),
    )
    await turn.draw(words, keyboard=keys)


async def find_mine(turn: Turn, *, serial: str = "", kind: Service | None = None) -> list[Mine]:
    """
    Return the person's meters, the one with this serial only, or those of one service.

    Raises:
        NoMeter: there is none.
        MeterNotFound: none has this serial.
    """
    mine = [
        item
        for item in await service.list_meters_of(turn.session, person_id=turn.person_id)
        if kind in {None, item[0].service}
    ]
    if not mine:
        raise NoMeter
    if serial:
        mine = [item for item in mine if item[1].serial.casefold() == serial.casefold()]
        if not mine:
            raise service.MeterNotFound
    return mine


COMMANDS: dict[str, Command] = {
    "meters": Command(run=show_meters, customers_only=True),
    "usage": Command(run=show_usage, customers_only=True),
    "pressure": Command(run=partial(show_quality, kind=Service.WATER), customers_only=True),
    "voltage": Command(run=partial(show_quality, kind=Service.ELECTRICITY), customers_only=True),
    "reading": Command(run=begin_reading, customers_only=True),
}
PRESSES: dict[str, Handle] = {
    "use": press_usage,
    "quality": press_quality,
    "read": press_meter,
    "readyes": confirm,
    "readmeant": take_meant,
}
STEPS: dict[str, Handle] = {
    "reading.meter": receive_meter,
    "reading.value": receive_value,
    "reading.confirm": receive_answer,
}
RENDERERS: dict[str, Render] = {"usage.chart": render_usage, "quality.chart": render_quality}

"""Conversation: a customer's meters, use, pressure and voltage, and the readings they type."""

from datetime import datetime
from decimal import Decimal

from bot.context import Command, Handle, Render, Turn
from bot.handlers.account import back_home, cancel_key
from bot.handlers.usage_pictures import (
    SPANS,
    describe_quality,
    render_quality,
    render_usage,
)
from bot.outgoing import Button, ButtonIsOld, press, read_press
from bot.texts import Texts, clean_line
from core.accounts.models import Service
from core.accounts.service import Place
from core.monitoring import quality, service, usage
from core.monitoring.models import Source
from core.monitoring.ranges import MeterFacts

METERS_SHOWN = 8
SERVICE_OF_COMMAND = {"pressure": Service.WATER, "voltage": Service.ELECTRICITY}

Mine = tuple[Place, MeterFacts]


class NoMeter(service.MeterNotFound):
    """The person has no meter, or none of this kind."""

    code = "meter.none"


async def show_meters(turn: Turn) -> None:
    """Show each meter with what it shows, and its pressure or voltage in plain words."""
    mine = await _mine(turn)
    shown = await usage.list_registers(
        turn.session, meter_ids=[meter.id for _, meter in mine], at=turn.now
    )
    parts = []
    for place, meter in mine[:METERS_SHOWN]:
        lines = [_heading(turn.texts, place), turn.texts.get("meter.serial", serial=meter.serial)]
        lines += [
            turn.texts.get(
                "meter.reading",
                value=turn.texts.quantity(value.value, place.service),
                at=turn.texts.moment(value.taken_at),
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
    words = [word.casefold() for word in turn.said.arguments]
    span = next((word for word in words if word in SPANS), "month")
    serial = next((word for word in words if word not in SPANS), "")
    (_, meter), *_ = await _mine(turn, serial=serial)
    await turn.send("usage.chart", meter_id=meter.id, span=span)


async def press_usage(turn: Turn) -> None:
    """Send the picture that was pressed."""
    meter_id, span = read_press(turn.said.data, int, str)
    if span not in SPANS:
        raise ButtonIsOld
    await service.find_meter_of(turn.session, person_id=turn.person_id, meter_id=meter_id)
    await turn.send("usage.chart", meter_id=meter_id, span=span)


async def show_pressure(turn: Turn) -> None:
    """Send the water pressure of now and of the last day."""
    await _show_quality(turn, Service.WATER)


async def show_voltage(turn: Turn) -> None:
    """Send the voltage of now and of the last day."""
    await _show_quality(turn, Service.ELECTRICITY)


async def _show_quality(turn: Turn, kind: Service) -> None:
    serial = turn.said.arguments[0] if turn.said.arguments else ""
    (_, meter), *_ = await _mine(turn, serial=serial, kind=kind)
    await turn.send("quality.chart", meter_id=meter.id)


async def press_quality(turn: Turn) -> None:
    """Send the pressure or voltage of the meter that was pressed."""
    (meter_id,) = read_press(turn.said.data, int)
    await service.find_meter_of(turn.session, person_id=turn.person_id, meter_id=meter_id)
    await turn.send("quality.chart", meter_id=meter_id)


async def begin_reading(turn: Turn) -> None:
    """Ask which meter was read, and what it shows; both can follow the command."""
    serial, *typed = turn.said.arguments or ("",)
    mine = await _mine(turn, serial=serial)
    if len(mine) > 1:
        keys = [
            [Button(_label(turn.texts, place), press("read", meter.id))]
            for place, meter in mine[:METERS_SHOWN]
        ]
        await turn.show("reading.which", keyboard=[*keys, [back_home(turn.texts)]])
    elif typed:
        await _record(turn, mine[0][1], turn.texts.parse_quantity(" ".join(typed)))
    else:
        await _ask(turn, mine[0][1])


async def press_meter(turn: Turn) -> None:
    """Ask what the meter that was pressed shows."""
    (meter_id,) = read_press(turn.said.data, int)
    await _ask(
        turn,
        await service.find_meter_of(turn.session, person_id=turn.person_id, meter_id=meter_id),
    )


async def _ask(turn: Turn, meter: MeterFacts) -> None:
    latest = await service.find_latest_reading(turn.session, meter_id=meter.id, at=turn.now)
    await turn.ask("reading.value", meter_id=meter.id)
    parts = [turn.texts.get("reading.ask", serial=meter.serial)]
    if latest is not None:
        parts.append(
            turn.texts.get(
                "reading.latest",
                value=turn.texts.quantity(latest.value, meter.service),
                at=turn.texts.moment(latest.taken_at),
            )
        )
    await turn.draw("\n".join(parts), keyboard=[[cancel_key(turn.texts)]])


async def receive_value(turn: Turn) -> None:
    """Take the number that was typed."""
    meter = await service.find_meter_of(
        turn.session, person_id=turn.person_id, meter_id=turn.draft["meter_id"]
    )
    await _record(turn, meter, turn.texts.parse_quantity(turn.said.text))


async def receive_answer(turn: Turn) -> None:
    """Take a typed yes, or a better number, to the question whether an unusual reading is right."""
    word = clean_line(turn.said.text, length_max=40).casefold()
    if word in turn.texts.plain("word.yes").split("|"):
        await _confirm(turn)
    else:
        await receive_value(turn)


async def press_confirm(turn: Turn) -> None:
    """Record the unusual reading that this chat was asked about."""
    read_press(turn.said.data)
    turn.expect("reading.confirm")
    await _confirm(turn)


async def _confirm(turn: Turn) -> None:
    meter = await service.find_meter_of(
        turn.session, person_id=turn.person_id, meter_id=turn.draft["meter_id"]
    )
    await _record(
        turn,
        meter,
        Decimal(turn.draft["value"]),
        taken_at=datetime.fromisoformat(turn.draft["taken_at"]),
        confirmed=True,
    )


async def _record(
    turn: Turn,
    meter: MeterFacts,
    value: Decimal,
    *,
    taken_at: datetime | None = None,
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
        await _ask_if_right(turn, meter, value, unusual)
        return
    await turn.finish()
    words = {"value": turn.texts.quantity(value, meter.service), "serial": meter.serial}
    keys = [
        [Button(turn.texts.plain("usage.key"), press("use", meter.id, "month"))],
        [back_home(turn.texts)],
    ]
    if recorded.use is None or recorded.previous is None:
        await turn.show("reading.first", keyboard=keys, **words)
        return
    await turn.show(
        "reading.recorded",
        keyboard=keys,
        use=turn.texts.quantity(recorded.use, meter.service),
        since=turn.texts.moment(recorded.previous.taken_at),
        **words,
    )


async def _ask_if_right(
    turn: Turn, meter: MeterFacts, value: Decimal, unusual: service.ReadingUnusual
) -> None:
    await turn.ask(
        "reading.confirm",
        meter_id=meter.id,
        value=str(value),
        taken_at=turn.now.isoformat(),
    )
    yes = Button(turn.texts.plain("reading.key_right"), press("readyes"))
    again = Button(turn.texts.plain("reading.key_again"), press("read", meter.id))
    await turn.show(
        "reading.unusual",
        keyboard=[[yes], [again], [cancel_key(turn.texts)]],
        **{name: turn.texts.value(known) for name, known in unusual.params.items()},
    )


async def _mine(turn: Turn, *, serial: str = "", kind: Service | None = None) -> list[Mine]:
    """
    Return the person's meters, the one with this serial only, or those of one service.

    Raises:
        NoMeter: there is none.
        MeterNotFound: none has this serial.
    """
    mine = await service.list_meters_of(turn.session, person_id=turn.person_id)
    if kind is not None:
        mine = [(place, meter) for place, meter in mine if place.service is kind]
    if not mine:
        raise NoMeter
    if serial:
        mine = [item for item in mine if item[1].serial.casefold() == serial.casefold()]
        if not mine:
            raise service.MeterNotFound
    return mine


def _heading(texts: Texts, place: Place) -> str:
    return texts.get(f"meter.heading_{place.service}", address=place.address)


def _label(texts: Texts, place: Place) -> str:
    return texts.plain(f"meter.label_{place.service}", address=place.address)


COMMANDS: dict[str, Command] = {
    "meters": Command(run=show_meters, customers_only=True),
    "usage": Command(run=show_usage, customers_only=True),
    "pressure": Command(run=show_pressure, customers_only=True),
    "voltage": Command(run=show_voltage, customers_only=True),
    "reading": Command(run=begin_reading, customers_only=True),
}
PRESSES: dict[str, Handle] = {
    "use": press_usage,
    "quality": press_quality,
    "read": press_meter,
    "readyes": press_confirm,
}
STEPS: dict[str, Handle] = {"reading.value": receive_value, "reading.confirm": receive_answer}
RENDERERS: dict[str, Render] = {"usage.chart": render_usage, "quality.chart": render_quality}

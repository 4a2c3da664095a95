"""Conversation: staff say that a meter was replaced; nothing is stored before the summary."""

from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot.context import Command, Handle, Reader, Render, Turn
from bot.handlers.account import back_home, cancel_key
from bot.outgoing import Button, Outgoing, press, read_press
from bot.texts import Texts, clean_line
from core.accounts.models import Role, Service
from core.monitoring import exchange, exchange_checks, service
from core.monitoring.exchange import Exchange, Exchanged
from core.monitoring.exchange_checks import Final
from core.monitoring.models import Source
from core.monitoring.ranges import MeterFacts

STAFF = (Role.TECHNICIAN, Role.MANAGER)
Draft = dict[str, Any]


async def begin(turn: Turn) -> None:
    """Ask which meter was replaced; its number can follow the command."""
    if turn.said.arguments:
        await _take_old(turn, " ".join(turn.said.arguments))
        return
    await turn.ask("exchange.old")
    await turn.show("exchange.ask_old", keyboard=[[cancel_key(turn.texts)]])


async def receive_old(turn: Turn) -> None:
    """Take the number of the meter that was removed."""
    await _take_old(turn, turn.said.text)


async def _take_old(turn: Turn, typed: str) -> None:
    turn.require(*STAFF)
    serial = clean_line(typed, length_max=exchange_checks.SERIAL_LENGTH_MAX)
    meter = await exchange_checks.find_working_meter(turn.session, serial=serial)
    names = await exchange_checks.list_names(turn.session, meter_id=meter.id, at=turn.now)
    await _go_on(turn, {"meter_id": meter.id, "names": names, "finals": {}, "initials": {}})


def _missing(draft: Draft, which: str) -> str | None:
    return next((name for name in draft["names"] if name not in draft[which]), None)


async def _go_on(turn: Turn, draft: Draft) -> None:
    """Ask for the first thing that is still missing, or show the summary."""
    meter = await service.find_meter(turn.session, meter_id=draft["meter_id"])
    cancel = cancel_key(turn.texts)
    if (register := _missing(draft, "finals")) is not None:
        await turn.ask("exchange.final", **draft)
        await turn.draw(await _final_question(turn, meter, register), keyboard=[[cancel]])
    elif "serial" not in draft:
        await turn.ask("exchange.serial", **draft)
        await turn.show("exchange.ask_serial", keyboard=[[cancel]])
    elif "digits" not in draft:
        await turn.ask("exchange.digits", **draft)
        same = turn.texts.count("exchange.same_digits", meter.digits)
        if meter.digits < 0:
            same = turn.texts.plain("exchange.same_bits", number=-meter.digits)
        keys = [[Button(same, press("swapdigits", meter.digits))], [cancel]]
        await turn.show("exchange.ask_digits", keyboard=keys, serial=draft["serial"])
    elif (register := _missing(draft, "initials")) is not None:
        await turn.ask("exchange.initial", **draft)
        keys = [[Button(turn.texts.plain("exchange.zero"), press("swapzero"))], [cancel]]
        named = _name(draft["serial"], register)
        await turn.show("exchange.ask_initial", keyboard=keys, meter=named)
    else:
        await _sum_up(turn, meter, draft)


async def _final_question(turn: Turn, meter: MeterFacts, register: str) -> str:
    before = await service.find_latest_reading(
        turn.session, meter_id=meter.id, register=register, at=turn.now, is_real=True
    )
    texts = turn.texts
    parts = [texts.get("exchange.ask_final", meter=_name(meter.serial, register))]
    if before is not None:
        value = texts.quantity(before.value, meter.service)
        parts.append(texts.get("reading.latest", value=value, at=texts.moment(before.taken_at)))
    return "\n".join(parts)


async def receive_final(turn: Turn) -> None:
    """Take what a register of the old meter showed last."""
    turn.require(*STAFF)
    draft = turn.draft
    register = _missing(draft, "finals")
    assert register is not None  # noqa: S101 (the step says so)
    value = turn.texts.parse_quantity(turn.said.text)
    meter = await service.find_meter(turn.session, meter_id=draft["meter_id"])
    await _read_final(turn, meter, register, value)
    await _go_on(turn, {**draft, "finals": {**draft["finals"], register: str(value)}})


async def _read_final(turn: Turn, meter: MeterFacts, register: str, value: Decimal) -> Final:
    return await exchange_checks.check_final(
        turn.session, meter=meter, register=register, value=value, at=turn.now, now=turn.now
    )


async def receive_serial(turn: Turn) -> None:
    """Take the number of the new meter."""
    turn.require(*STAFF)
    serial = clean_line(turn.said.text, length_max=exchange_checks.SERIAL_LENGTH_MAX + 1)
    await exchange_checks.check_serial(turn.session, serial)
    await _go_on(turn, {**turn.draft, "serial": serial})


async def receive_digits(turn: Turn) -> None:
    """Take how many digits the new meter has, pressed or typed."""
    turn.require(*STAFF)
    turn.expect("exchange.digits")
    if turn.said.data:
        (digits,) = read_press(turn.said.data, int)
    else:
        typed = turn.texts.parse_quantity(turn.said.text)
        digits = int(typed) if typed == int(typed) else 0
    exchange_checks.check_new_digits(digits)
    await _go_on(turn, {**turn.draft, "digits": digits})


async def receive_initial(turn: Turn) -> None:
    """Take what a register of the new meter shows now, pressed or typed."""
    turn.require(*STAFF)
    turn.expect("exchange.initial")
    draft = turn.draft
    register = _missing(draft, "initials")
    assert register is not None  # noqa: S101 (the step says so)
    value = Decimal(0) if turn.said.data else turn.texts.parse_quantity(turn.said.text)
    exchange_checks.check_digits(value, digits=draft["digits"])
    await _go_on(turn, {**draft, "initials": {**draft["initials"], register: str(value)}})


async def _sum_up(turn: Turn, meter: MeterFacts, draft: Draft) -> None:
    """Show all that was said and what it means, and ask whether it is right."""
    texts = turn.texts
    address = await exchange.get_address(turn.session, meter=meter)
    lines = [texts.get("exchange.summary"), texts.get("exchange.place", address=address)]
    for register, typed in draft["finals"].items():
        final = await _read_final(turn, meter, register, Decimal(typed))
        lines.append(
            _shown(texts, "exchange.was", meter.service, _name(meter.serial, register), final.value)
        )
        if final.use is not None:
            assert final.before is not None  # noqa: S101 (the use is since then)
            used, since = texts.quantity(final.use, meter.service), final.before.taken_at
            lines.append(texts.get("exchange.used", used=used, since=texts.moment(since)))
        if final.factor is not None:
            shown = texts.number(final.factor)
            lines.append(texts.count("exchange.unusual", int(final.factor), factor=shown))
    for register, typed in draft["initials"].items():
        named = _name(draft["serial"], register)
        lines.append(_shown(texts, "exchange.is", meter.service, named, Decimal(typed)))
    if draft["digits"] < 0:
        lines.append(texts.get("exchange.bits", number=-draft["digits"]))
    else:
        lines.append(texts.count("exchange.digits", draft["digits"]))
    if meter.multiplier != 1:
        lines.append(texts.get("exchange.times", times=texts.number(meter.multiplier)))
    lines.append(texts.get("exchange.ask_right"))
    await turn.ask("exchange.confirm", **draft)
    yes = Button(texts.plain("exchange.key_right"), press("swapyes"))
    await turn.draw("\n".join(lines), keyboard=[[yes], [cancel_key(texts)]])


def _shown(texts: Texts, key: str, kind: Service, meter: str, value: Decimal) -> str:
    return texts.get(key, meter=meter, value=texts.quantity(value, kind))


def _name(serial: str, register: str) -> str:
    """Return a meter's number, with the register if it has more than the usual one."""
    return serial if register == service.TOTAL else f"{serial} ({register})"


async def receive_answer(turn: Turn) -> None:
    """Take a typed yes to the summary; anything else shows it again."""
    word = clean_line(turn.said.text, length_max=40).casefold()
    if word in turn.texts.plain("word.yes").split("|"):
        await confirm(turn)
    else:
        await _go_on(turn, turn.draft)


async def confirm(turn: Turn) -> None:
    """Store the exchange that the summary showed."""
    turn.require(*STAFF)
    turn.expect("exchange.confirm")
    draft = turn.draft
    is_technician = Role.TECHNICIAN in turn.speaker.roles
    done = await exchange.exchange_meter(
        turn.session,
        wanted=Exchange(
            meter_id=draft["meter_id"],
            finals={name: Decimal(typed) for name, typed in draft["finals"].items()},
            serial=draft["serial"],
            digits=draft["digits"],
            initials={name: Decimal(typed) for name, typed in draft["initials"].items()},
        ),
        at=turn.now,
        person_id=turn.person_id,
        source=Source.TECHNICIAN if is_technician else Source.STAFF,
        now=turn.now,
    )
    await turn.finish()
    await turn.show(
        "exchange.done",
        keyboard=[[back_home(turn.texts)]],
        old=done.old.serial,
        new=done.new.serial,
    )


async def render_exchanged(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing:
    """Return that a meter was replaced, with what both of them showed."""
    done = await exchange.get_exchange(session, meter_id=params["meter_id"])
    texts = reader.texts
    lines = [
        texts.get(
            f"exchange.told_{done.new.service}",
            address=done.address,
            at=texts.moment(done.at),
        ),
        *_values(texts, done),
        texts.get("exchange.told_bill"),
    ]
    return Outgoing(text="\n".join(lines))


def _values(texts: Texts, done: Exchanged) -> list[str]:
    both = (("exchange.was", done.old, done.finals), ("exchange.is", done.new, done.initials))
    return [
        _shown(texts, key, meter.service, _name(meter.serial, register), value)
        for key, meter, values in both
        for register, value in values.items()
    ]


COMMANDS: dict[str, Command] = {"replace": Command(run=begin, roles=frozenset(STAFF))}
PRESSES: dict[str, Handle] = {
    "swapdigits": receive_digits,
    "swapzero": receive_initial,
    "swapyes": confirm,
}
STEPS: dict[str, Handle] = {
    "exchange.old": receive_old,
    "exchange.final": receive_final,
    "exchange.serial": receive_serial,
    "exchange.digits": receive_digits,
    "exchange.initial": receive_initial,
    "exchange.confirm": receive_answer,
}
RENDERERS: dict[str, Render] = {"meter.exchanged": render_exchanged}

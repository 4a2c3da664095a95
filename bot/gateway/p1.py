"""DSMR P1 telegrams of Dutch, Belgian, Luxembourg, Swedish and Hungarian home meters. Pure."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Final

from bot.gateway.decode import Measured, Refusal
from bot.gateway.units import UNITS, What, convert
from core.monitoring.ingest import Reason

_WHOLE: Final = re.compile(rb"(/.*!)([0-9A-F]{4})\s*", re.DOTALL)
_LINE: Final = re.compile(r"(\d+-\d+:\d+\.\d+\.\d+)((?:\([^()]*\))+)")
_VALUE: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\*(\w+)")
_MOMENT: Final = re.compile(r"\d{12}[SW]")
# Central European time in summer and winter, the only clock of these meters.
_ZONES: Final = {"S": timezone(timedelta(hours=2)), "W": timezone(timedelta(hours=1))}
_REGISTERS: Final = {"1-0:1.8.0": "total", "1-0:1.8.1": "t1", "1-0:1.8.2": "t2"}
_PHASES: Final = {"1-0:32.7.0": "a", "1-0:52.7.0": "b", "1-0:72.7.0": "c"}
_BREAKER: Final = {"0": "open", "1": "closed"}
# Kinds of M-Bus meters (EN 13757-3): warm water, water, hot water, cold water.
_WATER: Final = frozenset({6, 7, 21, 22})
_POLYNOMIAL: Final = 0xA001

Lines = dict[str, tuple[str, ...]]


def read_telegram(raw: bytes) -> tuple[Measured, ...] | Refusal:
    """Return what a telegram tells of its electricity meter and of the water meters behind it."""
    lines = read_lines(raw)
    if lines is None:
        return Refusal(Reason.BROKEN)
    taken_at = read_moment(lines.get("0-0:1.0.0", ("",))[0])
    if taken_at is None:
        return Refusal(Reason.NOT_A_TIME)
    found = (*_electricity(lines, taken_at=taken_at), *_water(lines))
    return found or Refusal(Reason.NOTHING_MEASURED)


def read_lines(raw: bytes) -> Lines | None:
    """Return a telegram's values by their codes; nothing if it is not whole."""
    whole = _WHOLE.fullmatch(raw)
    if whole is None or _crc(whole[1]) != int(whole[2], 16):
        return None
    matches = [_LINE.fullmatch(line) for line in whole[1].decode("latin-1").splitlines()]
    return {match[1]: tuple(match[2][1:-1].split(")(")) for match in matches if match}


def read_moment(text: str) -> datetime | None:
    """Return a moment written as YYMMDDhhmmss and S or W."""
    if not _MOMENT.fullmatch(text):
        return None
    try:
        local = datetime.strptime(text[:-1] + "+0000", "%y%m%d%H%M%S%z")
    except ValueError:
        return None
    return local.replace(tzinfo=_ZONES[text[-1]]).astimezone(UTC)


def _electricity(lines: Lines, *, taken_at: datetime) -> Iterator[Measured]:
    device = _name(lines.get("0-0:96.1.1", ("",))[0])
    if not device:
        return
    for code, register in _REGISTERS.items():
        if (value := _number(lines, code, What.ENERGY)) is not None:
            yield Measured(device, (), What.ENERGY, register, value, taken_at)
    for code, phase in _PHASES.items():
        if (value := _number(lines, code, What.VOLTAGE)) is not None:
            yield Measured(device, (("phase", phase),), What.VOLTAGE, "", value, taken_at)
    if (state := _BREAKER.get(lines.get("0-0:96.3.10", ("",))[0])) is not None:
        yield Measured(device, (), What.RELAY, "", state, taken_at)


def _water(lines: Lines) -> Iterator[Measured]:
    for channel in range(1, 5):
        kind = lines.get(f"0-{channel}:24.1.0", ("",))[0]
        names = (lines.get(f"0-{channel}:96.1.{part}", ("",))[0] for part in (0, 1))
        device = _name(next(filter(None, names), ""))
        code = f"0-{channel}:24.2.1"
        taken_at = read_moment(lines.get(code, ("",))[0])
        value = _number(lines, code, What.VOLUME)
        is_water = kind.isdecimal() and int(kind) in _WATER
        if is_water and device and taken_at is not None and value is not None:
            yield Measured(device, (), What.VOLUME, "total", value, taken_at)


def _number(lines: Lines, code: str, what: What) -> Decimal | None:
    match = _VALUE.fullmatch(lines.get(code, ("",))[-1])
    factor = UNITS[what].get(match[2]) if match else None
    return None if match is None or factor is None else convert(Decimal(match[1]), factor=factor)


def _name(text: str) -> str:
    """Return the number printed on the meter; it is sent as the codes of its characters."""
    try:
        plain = bytes.fromhex(text).decode("ascii")
    except ValueError:
        return text
    return plain if plain.isprintable() else text


def _crc(content: bytes) -> int:
    crc = 0
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc

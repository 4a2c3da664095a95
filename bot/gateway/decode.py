"""From a message to what it measured, by a profile. Pure: the same bytes give the same values."""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from bot.gateway.profile import (
    ANY,
    LABELS,
    WRITTEN,
    Clock,
    Conditions,
    Message,
    Packed,
    Profile,
    Reading,
    fill,
)
from bot.gateway.units import POSSIBLE, UNITS, What, convert
from core.monitoring.ingest import Reason

DEVICE_LENGTH_MAX: Final = 64
DIGITS_MAX: Final = 30
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NOT_MEASURED: Final = frozenset({"", "nan"})
NUMBER: Final = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?")
WITH_UNIT: Final = re.compile(rf"({NUMBER.pattern}) ?(\S.{{0,15}})")
INTEGER: Final = re.compile(r"[0-9]{1,15}")
SECONDS_DIGITS_MAX: Final = 15


class Measured(NamedTuple):
    """
    One value of one device; `labels` tell channel, phase or object where a device has several.

    Units: of a number kWh, m³, V, kPa (or counts, before the meter's multiplier).
    """

    device: str
    labels: tuple[tuple[str, str], ...]
    what: What
    register: str
    value: Decimal | str
    taken_at: datetime

    @property
    def address(self) -> str:
        """What a meter is assigned by: the device, and its channel if it has several."""
        channel = dict(self.labels).get("channel")
        return self.device if channel is None else f"{self.device}/{channel}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing is taken from a message."""

    code: Reason


class _Unreadable(Exception):
    """The message is refused; the next one goes on."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class _Scope(NamedTuple):
    """Where paths are looked up: a part of the message first, then all of it."""

    record: object
    root: object
    stars: tuple[str, ...]
    holes: Mapping[str, str]

    def find(self, path: str) -> object:
        """Return what is at a path: `a.b`, `$1` for a starred key, `{name}` of the topic."""
        if path.startswith("$"):
            index = int(path[1:]) - 1
            return self.stars[index] if index < len(self.stars) else None
        if path.startswith("{"):
            return self.holes.get(path[1:-1])
        found = _dig(self.record, path)
        return _dig(self.root, path) if found is None else found

    def meets(self, conditions: Conditions) -> bool:
        """Return whether each path has one of its values."""
        return all(_text(self.find(path)) in values for path, values in conditions.items())


def decode(
    profile: Profile, topic: str, payload: bytes, *, received_at: datetime
) -> tuple[Measured, ...] | Refusal:
    """Return everything that a message tells, or why nothing of it can be used."""
    try:
        return tuple(_decode(profile, topic, payload, received_at=received_at))
    except _Unreadable as problem:
        return Refusal(problem.reason)


def _decode(
    profile: Profile, topic: str, payload: bytes, *, received_at: datetime
) -> list[Measured]:
    kinds = [
        (message, match.groupdict())
        for message in profile.message
        if (match := message.pattern.fullmatch(topic))
    ]
    if not kinds:
        raise _Unreadable(Reason.UNKNOWN_TOPIC)
    for message, holes in kinds:
        root = _content(message, payload)
        whole = _Scope(root, root, (), holes)
        if whole.meets(message.when) and all(whole.find(path) is not None for path in message.has):
            found = _read_message(profile, message, whole, received_at=received_at)
            if found:
                return found
            break
    raise _Unreadable(Reason.NOTHING_MEASURED)


def _content(message: Message, payload: bytes) -> object:
    try:
        text = payload.decode()
        content: object = text.strip() if message.text else read_json(text)
        for packed in message.packed:
            content = _unpack(content, packed)
    except (ValueError, RecursionError):
        raise _Unreadable(Reason.NOT_JSON) from None
    return content


def find_answer(profile: Profile, topic: str, payload: bytes) -> tuple[str, str] | None:
    """Return the topic and payload that answer a question, if this is one."""
    for answer in profile.answer:
        match = answer.pattern.fullmatch(topic)
        if match is None:
            continue
        try:
            root = read_json(payload.decode())
        except (ValueError, RecursionError):
            continue
        if _Scope(root, root, (), match.groupdict()).meets(answer.when):
            return fill(answer.to, match.groupdict()), answer.payload
    return None


def read_json(text: str) -> object:
    """Return JSON with exact numbers; what JSON has no number for stays a word."""
    content: object = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=str)
    return content


def _unpack(content: object, packed: Packed) -> object:
    *above, last = packed.at.split(".")
    holder = _dig(content, ".".join(above))
    inner = holder.get(last) if isinstance(holder, dict) else None
    if isinstance(holder, dict) and isinstance(inner, str):
        raw = base64.b64decode(inner, validate=True).decode() if "base64" in packed.form else inner
        holder[last] = read_json(raw)
    return content


def _dig(value: object, path: str) -> object:
    for key in path.split(".") if path else ():
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def _spread(
    value: object, keys: Sequence[str], stars: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], object]]:
    """Yield the parts at a path whose stars stand for every key or place."""
    if not keys:
        yield stars, value
    elif keys[0] != ANY:
        yield from _spread(_dig(value, keys[0]), keys[1:], stars)
    else:
        inside = value.items() if isinstance(value, dict) else ()
        for name, part in enumerate(value) if isinstance(value, list) else inside:
            yield from _spread(part, keys[1:], (*stars, str(name)))


def _read_message(
    profile: Profile, message: Message, whole: _Scope, *, received_at: datetime
) -> list[Measured]:
    found: list[Measured] = []
    for stars, record in _spread(whole.root, message.each.split(".") if message.each else ()):
        scope = _Scope(record, whole.root, stars, whole.holes)
        read = [
            (labels, field, value)
            for labels, index in _channels(message, scope)
            for field in message.read
            if scope.meets(field.when) and (value := _read(field, scope, index)) is not None
        ]
        if not read:
            continue
        device = _device(message, scope)
        taken_at = _moment(message.time, scope, profile=profile, received_at=received_at)
        found += [
            Measured(
                device,
                (*labels, *field.labels.items()),
                field.what,
                field.register_name if field.what in {What.ENERGY, What.VOLUME} else "",
                value,
                taken_at,
            )
            for labels, field, value in read
        ]
    return found


def _channels(
    message: Message, scope: _Scope
) -> Iterator[tuple[tuple[tuple[str, str], ...], int | None]]:
    """Yield the labels of each meter in the message, and its place in lists, if it has one."""
    labels = tuple((name, text) for name, text in scope.holes.items() if name in LABELS)
    values = scope.find(message.channels.at) if message.channels else None
    if message.channels is None or not isinstance(values, list):
        yield labels, None
        return
    for index in range(len(values)):
        yield (*labels, ("channel", str(message.channels.first + index))), index


def _device(message: Message, scope: _Scope) -> str:
    device = scope.holes.get("device") or _text(scope.find(message.device))
    if not 0 < len(device) <= DEVICE_LENGTH_MAX or not device.isprintable():
        raise _Unreadable(Reason.NO_METER)
    return device


def _read(field: Reading, scope: _Scope, index: int | None) -> Decimal | str | None:
    raw = scope.find(field.at)
    if isinstance(raw, list) and index is not None:
        raw = raw[index] if index < len(raw) else None
    if raw is None or (isinstance(raw, str) and raw.lower() in NOT_MEASURED):
        return None
    if field.what in UNITS:
        return _quantity(field, raw)
    text = _text(raw)
    if text in field.ignore:
        return None
    return field.words.get(text, field.words.get(ANY)) if field.words else text


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | Decimal) else ""


def _quantity(field: Reading, raw: object) -> Decimal | None:
    unit = field.unit
    if unit == WRITTEN:
        match = WITH_UNIT.fullmatch(raw) if isinstance(raw, str) else None
        if match is None:
            raise _Unreadable(Reason.NOT_A_NUMBER)
        raw, unit = match.groups()
    if isinstance(raw, str) and NUMBER.fullmatch(raw):
        raw = Decimal(raw)
    if not isinstance(raw, Decimal):
        raise _Unreadable(Reason.NOT_A_NUMBER)
    if raw in field.ignored:
        return None
    if len(raw.as_tuple().digits) > DIGITS_MAX or not -DIGITS_MAX <= raw.adjusted() < DIGITS_MAX:
        raise _Unreadable(Reason.IMPOSSIBLE)
    factor = field.factor_from(unit)
    if factor is None:
        raise _Unreadable(Reason.UNKNOWN_UNIT)
    value = convert(raw, factor=factor)
    least, most = POSSIBLE[field.what]
    if not least <= value <= most:
        raise _Unreadable(Reason.IMPOSSIBLE)
    return value


def _moment(
    clock: Clock | None, scope: _Scope, *, profile: Profile, received_at: datetime
) -> datetime:
    if clock is None:
        return received_at
    raw = scope.find(clock.at)
    try:
        if isinstance(raw, str) and INTEGER.fullmatch(raw):
            raw = Decimal(raw)
        if isinstance(raw, Decimal) and raw.adjusted() < SECONDS_DIGITS_MAX:
            scale = 10**6 if clock.unit == "s" else 1000
            return EPOCH + timedelta(microseconds=int(raw * scale))
        moment = datetime.fromisoformat(str(raw))
        if moment.tzinfo is None:
            # In the hour that a clock shows twice, it is the one nearer to the arrival.
            both = [moment.replace(tzinfo=profile.zone, fold=fold) for fold in (0, 1)]
            moment = min(both, key=lambda each: abs(each - received_at))
        return moment.astimezone(UTC)
    except (ValueError, OverflowError, ArithmeticError):
        raise _Unreadable(Reason.NOT_A_TIME) from None

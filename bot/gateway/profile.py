"""Profiles: files that say how a maker's messages are read, checked when they are loaded."""

import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from bot.gateway.units import UNITS, What

SHIPPED: Final = Path(__file__).parent / "profiles"
WRITTEN: Final = "written"  # the unit stands behind the number
ANY: Final = "*"
LABELS: Final = ("channel", "phase", "object")
HOLE: Final = re.compile(r"\{([a-z]+)\}")
_TOPIC_PART: Final = re.compile(r"\+|(?:[^+#{}]|\{[a-z]+\})+")
_SAFE: Final = re.compile(r'[^/+#"\\\x00-\x1f]+')
_TRUTH: Final = frozenset({"true", "false"})
WORDS: Final = {
    What.RELAY: frozenset({"open", "closed"}),
    What.VALVE: frozenset({"open", "closed", "opening", "closing"}),
    What.ONLINE: _TRUTH,
    What.REPLY: _TRUTH,
    What.ACKNOWLEDGED: _TRUTH,
}


def fill(text: str, known: Mapping[str, str]) -> str:
    """Return a text with what stands for its {name}s."""
    return HOLE.sub(lambda hole: known[hole[1]], text)


class WrongProfile(Exception):
    """A profile cannot be used; the text says which file, which key and what is allowed."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _knows_its_keys(cls, content: object) -> object:
        allowed = {field.alias or name for name, field in cls.model_fields.items()}
        unknown = sorted(content.keys() - allowed) if isinstance(content, dict) else []
        if unknown:
            raise ValueError(f"unknown key {unknown[0]!r}; allowed: {', '.join(sorted(allowed))}")
        return content


Conditions = dict[str, list[str]]


class Clock(_Strict):
    """Where a message tells its time; numbers are seconds or milliseconds since 1970."""

    at: str
    unit: Literal["s", "ms"] = "s"


class Channels(_Strict):
    """A list that tells how many meters one device has, numbered from `first`."""

    at: str
    first: int = 0


class Packed(_Strict):
    """A text inside the message that is JSON itself."""

    at: str
    form: Literal["json", "base64 json"] = "json"


class Reading(_Strict):
    """One thing to be read: a number with its unit, or a word with its meaning."""

    what: What
    at: str
    unit: str = ""
    factor: Decimal = Decimal(1)
    register_name: str = Field(default="total", alias="register", pattern=r"^[a-z0-9_]{1,32}$")
    labels: dict[Literal["channel", "phase", "object"], str] = {}
    words: dict[str, str] = {}
    ignore: list[str] = []
    when: Conditions = {}

    @model_validator(mode="after")
    def _fits(self) -> "Reading":
        if self.what in UNITS:
            allowed = (*UNITS[self.what], WRITTEN)
            if self.unit not in allowed:
                raise ValueError(f"unit of {self.what} is one of: {', '.join(allowed)}")
            if self.factor <= 0:
                raise ValueError("factor is more than 0")
            _ = self.ignored
        elif self.unit:
            raise ValueError(f"{self.what} has words and no unit")
        elif self.what in WORDS and not set(self.words.values()) <= WORDS[self.what]:
            raise ValueError(f"words of {self.what}: {', '.join(sorted(WORDS[self.what]))}")
        return self

    @cached_property
    def ignored(self) -> frozenset[Decimal]:
        """The numbers that are no measurement."""
        try:
            return frozenset(map(Decimal, self.ignore))
        except InvalidOperation:
            raise ValueError("ignore of a number: numbers, as text") from None

    def factor_from(self, unit: str) -> Fraction | None:
        """Return how many of our units one of this unit is; nothing if it is not known."""
        found = UNITS[self.what].get(unit)
        return None if found is None else found * Fraction(self.factor)


class _Heard(_Strict):
    """What is known by its topic and content."""

    topic: str = ""
    when: Conditions = {}

    @model_validator(mode="after")
    def _has_levels(self) -> Self:
        if not all(_TOPIC_PART.fullmatch(part) for part in self.topic.split("/") if self.topic):
            raise ValueError("topic: levels of text, {name} or +, no #")
        return self

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The topics of this kind, with a group for every {name}."""
        escaped = HOLE.sub(r"\0\1\0", self.topic).split("\0")
        parts = [
            f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part).replace(r"\+", "[^/]+")
            for index, part in enumerate(escaped)
        ]
        return re.compile("".join(parts))

    @property
    def subscription(self) -> str:
        """The topic filter for the broker."""
        return "/".join("+" if "{" in part else part for part in self.topic.split("/"))


class Message(_Heard):
    """One kind of message: by which topic or content it is known, and what is read from it."""

    device: str = ""
    has: list[str] = []
    text: bool = False
    packed: list[Packed] = []
    each: str = ""
    channels: Channels | None = None
    time: Clock | None = None
    read: Annotated[list[Reading], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits(self) -> "Message":
        if bool(self.device) == ("{device}" in self.topic):
            raise ValueError("the device id is either {device} in the topic, or at `device`")
        return self


class Answer(_Heard):
    """A question that a gateway's program insists on, and the answer that it always gets."""

    to: str
    payload: str

    @model_validator(mode="after")
    def _fits(self) -> "Answer":
        if not set(HOLE.findall(self.to)) <= set(HOLE.findall(self.topic)):
            raise ValueError("to: only {name}s of the topic")
        return self


class Command(_Strict):
    """How a switch is told to give supply (`connect`) or to take it (`cut`)."""

    topic: str
    connect: str
    cut: str
    names: dict[str, str] = {}  # what stands for a {name} that the meter's address does not tell
    retained: Literal[False] = False  # a broker would repeat it after every restart

    @model_validator(mode="after")
    def _fits(self) -> "Command":
        known = {"device", "number", *self.names}
        unknown = sorted(self._holes - known)
        if unknown:
            known_names = ", ".join(sorted(known))
            raise ValueError(f"{{{unknown[0]}}} is none of: {known_names}; others go in `names`")
        if "{device}" not in self.topic and not all(
            "{device}" in each for each in (self.connect, self.cut)
        ):
            raise ValueError("{device} is in the topic, or in connect and cut")
        if self.connect == self.cut:
            raise ValueError("connect and cut differ")
        return self

    @property
    def _holes(self) -> set[str]:
        return {
            name for each in (self.topic, self.connect, self.cut) for name in HOLE.findall(each)
        }

    def write(self, payload: str, *, address: str, number: int) -> tuple[str, str]:
        """
        Return topic and payload for a meter; `number` names the command to its gateway.

        Raises:
            ValueError: the meter's address would lead to another device, or nowhere.
        """
        device, _, channel = address.partition("/")
        if not all(_SAFE.fullmatch(text) for text in (device, channel or "0")):
            raise ValueError(f"{address}: no {{device}} or {{channel}}")
        if channel and "channel" not in self._holes:
            raise ValueError(f"{address}: the command knows no {{channel}}")
        told = {"channel": channel} if channel else {}
        known = {**self.names, **told, "device": device, "number": str(number)}
        return fill(self.topic, known), fill(payload, known)


def _zone(name: object) -> ZoneInfo:
    try:
        return ZoneInfo(str(name))
    except (OSError, ValueError, KeyError):
        raise ValueError("zone is an IANA name such as Asia/Shanghai") from None


class Profile(_Strict):
    """Everything about one maker."""

    name: str = Field(pattern=r"^[a-z0-9_]{1,32}$")
    title: str
    transport: Literal["mqtt", "http"]
    zone: Annotated[ZoneInfo, BeforeValidator(_zone)]
    nominal_voltage: Decimal = Decimal(220)
    message: Annotated[list[Message], Field(min_length=1)]
    answer: list[Answer] = []
    commands: dict[Literal["relay", "valve"], Command] = {}

    @model_validator(mode="after")
    def _fits(self) -> "Profile":
        is_mqtt = self.transport == "mqtt"
        if any(bool(message.topic) is not is_mqtt for message in self.message):
            raise ValueError("every message has a topic if the transport is mqtt, none if http")
        if (self.commands or self.answer) and not is_mqtt:
            raise ValueError("commands and answers: mqtt only")
        return self

    @property
    def subscriptions(self) -> set[str]:
        """The topic filters for the broker."""
        return {heard.subscription for heard in (*self.message, *self.answer)}

    def has_clock(self, topic: str) -> bool:
        """Return whether messages of this topic tell their time."""
        kinds = [each for each in self.message if each.pattern.fullmatch(topic)]
        return all(each.time is not None for each in kinds)

    def asks(self, topic: str) -> bool:
        """Return whether messages of this topic are questions."""
        return any(each.pattern.fullmatch(topic) for each in self.answer)

    def knows(self, topic: str) -> bool:
        """Return whether messages of this topic are read or answered."""
        return self.asks(topic) or any(each.pattern.fullmatch(topic) for each in self.message)


def read_profile(path: Path, *, timezone: str) -> Profile:
    """
    Return the profile in a file; times without a zone are in its own or else this time zone.

    Raises:
        WrongProfile: it cannot be used.
    """
    try:
        content: dict[str, Any] = tomllib.loads(
            path.read_text(encoding="utf-8"), parse_float=Decimal
        )
        return Profile.model_validate({"zone": timezone, "name": path.stem} | content)
    except ValidationError as wrong:
        lines = [_explained(error) for error in wrong.errors()]
        raise WrongProfile("\n".join([f"{path}:", *lines])) from None
    except OSError as wrong:
        raise WrongProfile(f"{path}: {wrong.strerror}") from wrong
    except ValueError as wrong:
        raise WrongProfile(f"{path}: {wrong}") from None


def _explained(error: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"])
    return f"  {place or 'the file'}: {error['msg'].removeprefix('Value error, ')}"


@cache
def load_profiles(directory: str = "", *, timezone: str) -> Mapping[str, Profile]:
    """
    Return the shipped profiles and those in another directory, which win, by name.

    Raises:
        WrongProfile: one of them cannot be used.
    """
    places = (SHIPPED, Path(directory)) if directory else (SHIPPED,)
    paths = [path for place in places for path in sorted(place.glob("*.toml"))]
    found = [read_profile(path, timezone=timezone) for path in paths]
    return MappingProxyType({profile.name: profile for profile in found})

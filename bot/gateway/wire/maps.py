"""Where a kind of Modbus device keeps its values and its switch, and what they mean. Pure."""

import math
import struct
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Annotated, Final, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bot.gateway.wire.frames import Refused
from bot.gateway.wire.units import convert
from core.accounts.models import Supply
from core.monitoring.service import TOTAL

REGISTERS_MAX: Final = 125  # that one question may ask for
WORDS: Final = {"u16": 1, "i16": 1, "u32": 2, "i32": 2, "float32": 2}
FLOAT_MAX: Final = 1e12
DIGITS_OF_FLOAT32: Final = 9  # always enough to find the same number again
Address = Annotated[int, Field(ge=0, le=0xFFFF)]


class Described(BaseModel):
    """A part of a file; what it does not know is a mistake, and no secret is in its errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Value(Described):
    """
    A number in registers; its unit says whether it is a register that counts or a quantity.

    Units: `address` from 0, as on the wire; `scale` is how many `unit` a count is.
    """

    address: Address
    table: Literal["holding", "input"] = "holding"
    type: Literal["u16", "i16", "u32", "i32", "float32"]
    low_word_first: bool = False
    scale: Decimal = Decimal(1)
    unit: Literal["kWh", "Wh", "m3", "l", "V", "kPa", "MPa", "bar"]
    name: Annotated[str, Field(alias="register", pattern=r"^[^\x00-\x1f]{1,64}$")] = TOTAL

    @property
    def end(self) -> int:
        """The address after the last."""
        return self.address + WORDS[self.type]

    def decode(self, words: Sequence[int]) -> Decimal:
        """
        Return the exact value of its registers in our unit.

        Raises:
            Refused: they hold no number, or more than any meter shows.
        """
        ordered = reversed(words) if self.low_word_first else words
        raw = b"".join(word.to_bytes(2) for word in ordered)
        if self.type == "float32":
            number = shorten(raw)
        else:
            number = Decimal(int.from_bytes(raw, signed=self.type.startswith("i")))
        return convert(number * self.scale, unit=self.unit)


class Point(Described):
    """A coil, contact or register that is one number when supply is on, another when it is off."""

    table: Literal["coil", "discrete", "holding", "input"]
    address: Address
    connected: int
    cut: int

    @model_validator(mode="after")
    def _has_two_states(self) -> Self:
        is_bit = self.table in {"coil", "discrete"}
        if self.connected == self.cut or (is_bit and {self.connected, self.cut} != {0, 1}):
            raise ValueError("connected and cut must differ, and be 0 and 1 where there is one bit")
        return self

    def name(self, found: int) -> Supply:
        """Return the state that a number stands for."""
        states = {self.connected: Supply.CONNECTED, self.cut: Supply.CUT}
        return states.get(found, Supply.UNKNOWN)


class Command(Point):
    """What is written to move the switch."""

    table: Literal["coil", "holding"]


class Switch(Described):
    """How supply is switched, and where it shows how the switch stands."""

    command: Command
    state: Point


class DeviceMap(Described):
    """
    What a kind of device has to show.

    Registers up to `gap` apart are asked for together; some devices refuse to be asked for those
    between.
    """

    values: Annotated[list[Value], Field(alias="value", min_length=1)]
    switch: Switch | None = None
    gap: Annotated[int, Field(ge=0, le=REGISTERS_MAX)] = 0


class Span(NamedTuple):
    """Registers to be read at once, and the values in them."""

    table: str
    start: int
    end: int
    values: tuple[Value, ...]


def plan_spans(values: Iterable[Value], *, gap: int) -> list[Span]:
    """Return as few questions as all values need."""
    spans: list[Span] = []
    for value in sorted(values, key=lambda value: (value.table, value.address)):
        last = spans[-1] if spans else None
        if (
            last is not None
            and last.table == value.table
            and value.address <= last.end + gap
            and value.end <= last.start + REGISTERS_MAX
        ):
            end = max(last.end, value.end)
            spans[-1] = last._replace(end=end, values=(*last.values, value))
        else:
            spans.append(Span(value.table, value.address, value.end, (value,)))
    return spans


def shorten(raw: bytes) -> Decimal:
    """
    Return the shortest decimal that is stored as this float32.

    Raises:
        Refused: it is no number, or more than any meter shows.
    """
    (number,) = struct.unpack(">f", raw)
    if not math.fabs(number) < FLOAT_MAX:  # nor is what is no number
        raise Refused("impossible")
    texts = (f"{number:.{digits}g}" for digits in range(1, DIGITS_OF_FLOAT32 + 1))
    return Decimal(next(text for text in texts if struct.pack(">f", float(text)) == raw))

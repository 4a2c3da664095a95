"""
CJ/T 188, the wire protocol of Chinese water meters and their valves: questions and answers. Pure.

The edition of 2018 sends the identifier of a question low byte first, that of 2004 high byte
first; the identifier of the valve is sent high byte first by both.

Source:
    CJ/T 188-2004 and CJ/T 188-2018.
"""

from decimal import Decimal
from typing import Final, NamedTuple

from bot.gateway.wire.frames import START, NotYet, Refused, find_frames, pack, seal, unpack
from core.accounts.models import Supply

HEAD: Final = 11
COLD_WATER: Final = 0x10
READ, WRITE = 0x01, 0x04
ANSWERED, FAILED = 0x80, 0xC0
METER_DATA: Final = bytes((0x90, 0x1F))
VALVE: Final = bytes((0xA0, 0x17))
OPEN, CLOSE = 0x55, 0x99
UNITS: Final = {0x2C: "m3", 0x29: "l"}
PLACES: Final = 2
# The register of now and that of the settlement day, the meter's clock, the status word.
VOLUME, CLOCK, STATUS = 5, 7, 2
METER_DATA_SIZE: Final = 2 * VOLUME + CLOCK + STATUS
VALVE_STATES: Final = {0b00: Supply.CONNECTED, 0b01: Supply.CUT}


class Shown(NamedTuple):
    """What a meter shows; a valve with a fault is in no known state."""

    volume: Decimal
    unit: str
    valve: Supply


def ask(address: str, *, number: int, is_low_first: bool = False, kind: int = COLD_WATER) -> bytes:
    """Return the question for a meter's data; the answer repeats its running `number`."""
    identifier = METER_DATA[::-1] if is_low_first else METER_DATA
    return _frame(address, READ, identifier + bytes((number,)), kind=kind)


def command(address: str, *, opens: bool, number: int, kind: int = COLD_WATER) -> bytes:
    """Return the command that opens or closes the valve."""
    content = VALVE + bytes((number, OPEN if opens else CLOSE))
    return _frame(address, WRITE, content, kind=kind)


def read_meter(
    heard: bytes, *, address: str, number: int, kind: int = COLD_WATER, is_high: bool = False
) -> Shown:
    """
    Return what the meter shows, from what was heard; `is_high`: where the valve's bits are.

    Raises:
        NotYet: the answer is not there, or not whole.
        Refused: the meter has refused, or it shows no water.
    """
    content = _find_answer(heard, (kind, address, READ), METER_DATA, number=number)
    if len(content) != METER_DATA_SIZE:
        raise Refused("length")
    unit = UNITS.get(content[VOLUME - 1])
    if unit is None:
        raise Refused("unit")
    volume = unpack(content[: VOLUME - 1], places=PLACES)
    return Shown(volume, unit, _name_valve(content[-STATUS], is_high=is_high))


def read_acceptance(
    heard: bytes, *, address: str, number: int, kind: int = COLD_WATER, is_high: bool = False
) -> Supply:
    """
    Return how the valve stood when the meter accepted a command; it proves no movement.

    Raises:
        NotYet, Refused: as `read_meter`.
    """
    content = _find_answer(heard, (kind, address, WRITE), VALVE, number=number)
    if len(content) != STATUS:
        raise Refused("length")
    return _name_valve(content[0], is_high=is_high)


def _frame(address: str, control: int, content: bytes, *, kind: int) -> bytes:
    return seal(bytes((START, kind, *pack(address), control, len(content))) + content)


def _find_answer(
    heard: bytes, asked: tuple[int, str, int], identifier: bytes, *, number: int
) -> bytes:
    """Return what stands in the answer after the identifier and the number."""
    kind, address, control = asked
    bodies, reason = find_frames(heard, head=HEAD)
    begins = {order + bytes((number,)) for order in (identifier, identifier[::-1])}
    for body in bodies:
        answered, content = body[HEAD - 2], body[HEAD:]
        if not answered & ANSWERED:
            continue  # some bridges give back what was sent
        if body[1 : HEAD - 2] != bytes((kind, *pack(address))):
            reason = "other_meter"
        elif answered == control | FAILED and content[:1] == bytes((number,)):
            raise Refused(f"error_{content[1:].hex()}")
        elif answered == control | ANSWERED and content[:3] in begins:
            return content[3:]
        else:
            reason = "other_answer"
    raise NotYet(reason)


def _name_valve(status: int, *, is_high: bool) -> Supply:
    return VALVE_STATES.get(status >> 6 if is_high else status & 0b11, Supply.UNKNOWN)

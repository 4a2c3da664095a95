"""
DL/T 645-2007, the wire protocol of Chinese electricity meters: questions and answers. Pure.

Our own: the library `dlt645` frames exactly, but turns values into floats, drops damaged frames
without a word and has no relay command. Its server is what the tests of this module talk to.

Source:
    DL/T 645-2007; relay command 1CH and status word 3 as in its appendix of 2010.
"""

from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from typing import Final, NamedTuple

from bot.gateway.wire.frames import START, NotYet, Refused, find_frames, pack, seal, unpack
from core.accounts.models import Supply

HEAD: Final = 10
SECOND_START: Final = 7
READ, RELAY = 0x11, 0x1C
ANSWERED, FAILED = 0x80, 0xC0
RELAY_IS_OPEN, TOLD_TO_OPEN = 1 << 4, 1 << 6
ERRORS: Final = (
    "other",
    "no_such_item",
    "password",
    "speed",
    "year_zones",
    "day_slots",
    "tariffs",
)


class Item(NamedTuple):
    """Something that can be read: its identifier, its bytes and decimal places."""

    code: int
    size: int
    places: int

    @property
    def wire(self) -> bytes:
        """The identifier as it is sent."""
        return self.code.to_bytes(4, "little")


ENERGY: Final = Item(0x00010000, 4, 2)  # kWh
VOLTAGES: Final = tuple(Item(0x02010000 | phase << 8, 2, 1) for phase in (1, 2, 3))  # V
STATUS: Final = Item(0x04000503, 2, 0)


class Action(IntEnum):
    """What a relay is told; after `ALLOW` a person has to press the button on the meter."""

    TRIP = 0x1A
    ALLOW = 0x1B
    CLOSE = 0x1C
    KEEP_ON = 0x3A
    END_KEEP_ON = 0x3B


def ask(address: str, item: Item) -> bytes:
    """Return the question for an item."""
    return _frame(address, READ, item.wire)


def command(
    address: str, action: Action, *, password: bytes, operator: bytes, until: datetime
) -> bytes:
    """
    Return a command to the relay; the meter refuses it when its own clock is past `until`.

    Units:
        `password` (its level first), `operator`: four bytes each, in the order of the wire.
        `until`: in the zone of the meter's clock.
    """
    body = password + operator + bytes((action, 0)) + pack(f"{until:%y%m%d%H%M%S}")
    return _frame(address, RELAY, body)


def read_number(heard: bytes, *, address: str, item: Item) -> Decimal:
    """
    Return the exact number of an item in what was heard.

    Raises:
        NotYet: the answer is not there, or not whole.
        Refused: the meter has refused, or there is no such number in its answer.
    """
    return unpack(_find_item(heard, address=address, item=item), places=item.places)


def read_relay(heard: bytes, *, address: str, shows_command: bool = True) -> Supply:
    """
    Return the state of the relay in the status word that was heard.

    An open relay that is told to be closed waits for the button; not every meter tells.

    Raises:
        NotYet, Refused: as `read_number`.
    """
    word = int.from_bytes(_find_item(heard, address=address, item=STATUS), "little")
    if not word & RELAY_IS_OPEN:
        return Supply.CONNECTED
    return Supply.READY if shows_command and not word & TOLD_TO_OPEN else Supply.CUT


def read_acceptance(heard: bytes, *, address: str) -> None:
    """
    Return when the meter has accepted a command to its relay; it proves no movement.

    Raises:
        NotYet: it has not answered.
        Refused: it will not do it; a meter that is kept on refuses to trip.
    """
    _find_answer(heard, address=address, control=RELAY)


def _frame(address: str, control: int, content: bytes) -> bytes:
    head = bytes((START, *pack(address), START, control, len(content)))
    return seal(head + bytes((byte + 0x33) & 0xFF for byte in content))


def _find_item(heard: bytes, *, address: str, item: Item) -> bytes:
    value = _find_answer(heard, address=address, control=READ, begins=item.wire)
    if len(value) != item.size:
        raise Refused("length")
    return value


def _find_answer(heard: bytes, *, address: str, control: int, begins: bytes = b"") -> bytes:
    """Return what stands in the answer after what it begins with."""
    bodies, reason = find_frames(heard, head=HEAD, second=SECOND_START)
    for body in bodies:
        content = bytes((byte - 0x33) & 0xFF for byte in body[HEAD:])
        if not body[HEAD - 2] & ANSWERED:
            continue  # some bridges give back what was sent
        if body[1:SECOND_START] != pack(address):
            reason = "other_meter"
        elif body[HEAD - 2] == control | FAILED:
            raise Refused(_name_error(content))
        elif body[HEAD - 2] == control | ANSWERED and content.startswith(begins):
            return content[len(begins) :]
        else:
            reason = "other_answer"
    raise NotYet(reason)


def _name_error(content: bytes) -> str:
    if len(content) == 1:
        named = [name for bit, name in enumerate(ERRORS) if content[0] >> bit & 1]
        if named:
            return "+".join(named)
    return f"error_{content.hex()}"

"""What the two serial protocols share: frames with a sum, packed decimals, refusals. Pure."""

from decimal import Decimal

START, END = 0x68, 0x16
SILENCE = "silence"


class Refused(Exception):
    """A meter gave no value; `reason` says why in one word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotYet(Refused):
    """Nothing that answers the question has come so far; more may."""


def seal(body: bytes) -> bytes:
    """Return a frame: its body, the sum over it, and the end."""
    return body + bytes((sum(body) & 0xFF, END))


def find_frames(heard: bytes, *, head: int, second: int = 0) -> tuple[list[bytes], str]:
    """
    Return the bodies of all whole frames in what was heard, and why there is not one more.

    Whatever stands before, between and after them is skipped. `head` counts the bytes before the
    data, of which the last says how many follow; at `second` the start is repeated.
    """
    bodies: list[bytes] = []
    is_damaged = is_begun = False
    start = heard.find(START)
    while start >= 0:
        following = start + 1
        here = heard[start:]
        if len(here) < head:
            is_begun = True
        elif here[second] == START:
            body = here[: head + here[head - 1]]
            if here.startswith(seal(body)):
                bodies.append(body)
                following = start + len(body) + 2
            elif len(here) < len(body) + 2 or len(body) < head + here[head - 1]:
                is_begun = True
            else:
                is_damaged = True
        start = heard.find(START, following)
    return bodies, "checksum" if is_damaged else "incomplete" if is_begun else SILENCE


def pack(digits: str) -> bytes:
    """Return hexadecimal digits as bytes, the last two first, as both protocols send them."""
    return bytes.fromhex(digits)[::-1]


def unpack(packed: bytes, *, places: int) -> Decimal:
    """
    Return the exact decimal in packed digits, the lowest byte first.

    Raises:
        Refused: these are not all decimal digits; meters send FF where they have no value.
    """
    digits = packed[::-1].hex()
    if not digits.isdecimal():
        raise Refused("not_decimal")
    return Decimal(digits).scaleb(-places)

"""What the service says, before a channel says it: text, buttons, files, invoices."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import DomainError

CALLBACK_BYTES_MAX = 64
NUMBER_MAX = 2**63 - 1


class ButtonIsOld(DomainError):
    """The button belongs to something that has moved on, or was never ours."""

    code = "button.old"


@dataclass(frozen=True, slots=True)
class Button:
    """An inline button: pressing it sends `data` back, which is a hint and never an authority."""

    text: str
    data: str


Keyboard = Sequence[Sequence[Button]]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that is made when it is sent, outside any transaction."""

    name: str
    make: Callable[[], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """A request to pay in the chat, line by line. Units: `prices` in the currency's minor unit."""

    title: str
    description: str
    payload: str
    currency: str
    prices: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """
    One message; `text` is HTML with its values escaped, and the caption of a file.

    With `commands` (names and lines of the person's own menu) nothing is said at all.
    """

    text: str
    keyboard: Keyboard = ()
    photo: File | None = None
    document: File | None = None
    invoice: Invoice | None = None
    photo_ref: str | None = None
    commands: Sequence[tuple[str, str]] | None = None
    reply_keys: Sequence[Sequence[dict[str, Any]]] | None = None


def press(family: str, *parts: object) -> str:
    """
    Return the data of a button: a handler's family and what it needs, joined by colons.

    Raises:
        ValueError: the data is longer than Telegram takes.
    """
    data = ":".join((family, *(str(part) for part in parts)))
    if len(data.encode()) > CALLBACK_BYTES_MAX:
        raise ValueError(f"button data is too long: {data!r}")
    return data


def read_press(data: str, *kinds: Callable[[str], Any]) -> tuple[Any, ...]:
    """
    Return the parts of a button's data after its family, each read as the kind given.

    Raises:
        ButtonIsOld: the number of parts or their form is not what the handler expects.
    """
    parts = data.split(":")[1:]
    if len(parts) != len(kinds):
        raise ButtonIsOld
    try:
        found = tuple(kind(part) for kind, part in zip(kinds, parts, strict=True))
    except ValueError:
        raise ButtonIsOld from None
    if any(isinstance(part, int) and abs(part) > NUMBER_MAX for part in found):
        raise ButtonIsOld
    return found


def keyboard_to_json(keyboard: Keyboard) -> list[list[dict[str, str]]]:
    """Return a keyboard in the form in which it is stored."""
    return [[{"text": button.text, "data": button.data} for button in row] for row in keyboard]


def keyboard_from_json(stored: Sequence[Sequence[dict[str, str]]]) -> list[list[Button]]:
    """Return a keyboard from its stored form."""
    return [[Button(button["text"], button["data"]) for button in row] for row in stored]

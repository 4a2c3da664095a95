"""Long texts as several messages that Telegram takes. Pure functions only."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html import escape, unescape

from bot.outgoing import Outgoing

TEXT_MAX = 4096
CAPTION_MAX = 1024
_TAG = re.compile(r"</?(?:b|i|s|code)>")


def split(outgoing: Outgoing) -> list[Outgoing]:
    """Return messages that Telegram takes: cut at line ends, a file first, the buttons last."""
    has_file = bool(outgoing.document or outgoing.photo or outgoing.photo_ref)
    if _units(outgoing.text) <= (CAPTION_MAX if has_file else TEXT_MAX):
        return [outgoing]
    words = Outgoing(text=outgoing.text, keyboard=outgoing.keyboard, reply_keys=outgoing.reply_keys)
    file = [replace(outgoing, text="", keyboard=(), reply_keys=None)] if has_file else []
    *first, last = split_text(outgoing.text)
    return [*file, *(Outgoing(text=part) for part in first), replace(words, text=last)]


def split_text(html: str, *, length_max: int = TEXT_MAX) -> list[str]:
    """
    Cut HTML at line ends into parts of `length_max` UTF-16 units; none of them is blank.

    No tag of ours spans lines, so every part is whole. A line that is too long itself loses its
    tags and is cut where it must be.
    """
    parts: list[str] = []
    current: list[str] = []
    size = 0
    for whole in html.split("\n"):
        for line in _fitting(whole, length_max):
            units = _units(line) + 1
            if current and size + units > length_max:
                parts.append("\n".join(current))
                current, size = [], 0
            current.append(line)
            size += units
    parts.append("\n".join(current))
    return [part for part in parts if part.strip()] or [html]


def _fitting(line: str, length_max: int) -> Iterator[str]:
    """Yield a line, or its pieces when it is longer than one message."""
    if _units(line) <= length_max:
        yield line
        return
    piece, size = "", 0
    for character in unescape(_TAG.sub("", line)):
        safe = escape(character, quote=False)
        if size + _units(safe) > length_max:
            yield piece
            piece, size = "", 0
        piece += safe
        size += _units(safe)
    yield piece


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2

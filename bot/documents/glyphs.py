"""Which characters our fonts can draw, and what stands in for the others."""

import struct
import unicodedata
from functools import cache
from itertools import chain
from pathlib import Path

import pylopdf_fonts_zh_cn

FONT_FAMILIES = ("Noto Sans SC", "DejaVu Sans Mono")
GETA = "〓"  # the printer's sign for "a character belongs here that we do not have"

# DejaVu Sans Mono lies inside typst, where its table cannot be read. These are the parts we need
# of it: the letters of our neighbours' names and their money. The tests draw every one.
_DEJAVU_RANGES = (
    (0x0100, 0x017F),  # Latin of central Europe and Turkey
    (0x02BC, 0x02BC),  # the apostrophe of Ukrainian names
    (0x0400, 0x045F),  # Cyrillic beyond Russian
    (0x0490, 0x049B),
    (0x04A2, 0x04A5),
    (0x04AE, 0x04B1),
    (0x0621, 0x063A),  # Arabic
    (0x0640, 0x064A),
    (0x0660, 0x0669),
    (0x1EA0, 0x1EF9),  # Vietnamese
    (0x20A0, 0x20B5),  # currencies
    (0x20B8, 0x20BA),
    (0x20BD, 0x20BD),
    (0x22C5, 0x22C5),  # the dot in a kilowatt-hour
)
# Controls, joiners, surrogates, private and unassigned characters have no picture of their own.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Co", "Cn"})


def printable(text: str) -> str:
    """
    Return the text as our fonts can draw it, on one line.

    White space of any kind becomes plain or no-break space. Invisible characters that steer
    direction, joining or variants are dropped; whatever has no glyph becomes 〓, so that a gap
    is seen and never silent.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        map(_drawn, unicodedata.normalize("NFC", text) if missing_glyphs(text) else text)
    )


def missing_glyphs(text: str) -> set[str]:
    """Return the characters of the text that leave a gap on paper."""
    return {character for character in text if _drawn(character) == GETA and character != GETA}


@cache
def _drawn(character: str) -> str:
    category = unicodedata.category(character)
    if character.isspace():
        return "\u00a0" if "<noBreak>" in unicodedata.decomposition(character) else " "
    if category == "Cf" or _is_variation_selector(character):
        return ""
    if category not in _UNPRINTABLE and ord(character) in _drawable():
        return character
    return GETA


def _is_variation_selector(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


@cache
def _drawable() -> frozenset[int]:
    own = chain.from_iterable(range(first, last + 1) for first, last in _DEJAVU_RANGES)
    return frozenset(own) | read_codepoints(pylopdf_fonts_zh_cn.sans_path())


def read_codepoints(font: Path) -> frozenset[int]:
    """
    Return every code point that an OpenType font maps to a glyph.

    Source:
        OpenType 1.9.1, "cmap": subtable format 12, segmented coverage of all of Unicode.

    Raises:
        ValueError: the font has no such subtable.
    """
    content = font.read_bytes()
    (tables,) = struct.unpack_from(">4xH", content)
    directory = (struct.unpack_from(">4s4xI", content, 12 + 16 * index) for index in range(tables))
    cmap = dict(directory)[b"cmap"]
    (subtables,) = struct.unpack_from(">2xH", content, cmap)
    for index in range(subtables):
        (offset,) = struct.unpack_from(">4xI", content, cmap + 4 + 8 * index)
        if struct.unpack_from(">H", content, cmap + offset) == (12,):
            return frozenset(_segmented(content, cmap + offset))
    raise ValueError(f"no format 12 character map in {font.name}")


def _segmented(content: bytes, start: int) -> chain[int]:
    (groups,) = struct.unpack_from(">12xI", content, start)
    spans = struct.iter_unpack(">II4x", content[start + 16 : start + 16 + 12 * groups])
    return chain.from_iterable(range(first, last + 1) for first, last in spans)

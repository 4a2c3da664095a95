"""Typst, set up once for every page and picture. Safe in threads; work for the processor only."""

import json
import re
import warnings
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path

import pylopdf_fonts_zh_cn
import typst

from bot.documents.glyphs import FONT_FAMILIES, printable

# No word and no number is so long: a run without a place to break would leave its column.
# Chinese breaks anywhere. Shorter runs stay untouched, so that a number can be copied.
_ENDLESS_RUN = re.compile(r"[!-,.-\u2e7f]{33,}")
_ZERO_WIDTH_SPACE = "\u200b"
_TEMPLATES = Path(__file__).parent / "templates"


def typeset_pdf(template: str, content: Mapping[str, object]) -> bytes:
    """Return the content, set by a template, as an archivable and accessible PDF."""
    document, found = typst.compile_with_warnings(
        _TEMPLATES / template,
        root=_TEMPLATES,
        font_paths=_fonts(),
        sys_inputs=_inputs(content),
        format="pdf",
        # For the archive and for screen readers; both also refuse a character without a glyph.
        pdf_standards=["a-2a", "ua-1"],
    )
    _pass_on(found)
    return document


def typeset_png(template: str, content: Mapping[str, object], *, ppi: int) -> list[bytes]:
    """Return the content, set by a template, as one picture per page."""
    pages, found = typst.compile_with_warnings(
        _TEMPLATES / template,
        root=_TEMPLATES,
        font_paths=_fonts(),
        sys_inputs=_inputs(content),
        format="png",
        ppi=ppi,
    )
    _pass_on(found)
    return [pages] if isinstance(pages, bytes) else pages


@cache
def _fonts() -> typst.Fonts:
    return typst.Fonts(
        include_system_fonts=False, font_paths=[pylopdf_fonts_zh_cn.sans_path().parent]
    )


def _inputs(content: Mapping[str, object]) -> dict[str, str]:
    return {"data": json.dumps(_plain({**content, "fonts": FONT_FAMILIES}), allow_nan=False)}


def _plain(value: object) -> object:
    match value:
        case str():
            return _ENDLESS_RUN.sub(_breakable, printable(value))
        case bytes():
            return value.decode()  # a picture, to be left as it is
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case Decimal():
            return float(value)  # a share of a height: only drawn, never printed
        case _:
            return value


def _breakable(run: re.Match[str]) -> str:
    return re.sub(r".{12}", rf"\g<0>{_ZERO_WIDTH_SPACE}", run[0])


def _pass_on(found: list[typst.TypstWarning]) -> None:
    for warning in found:
        warnings.warn(warning, stacklevel=3)

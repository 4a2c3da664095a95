"""Which characters can be drawn, and what happens to the others."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pylopdf_fonts_zh_cn
import pytest
from babel.dates import format_date
from babel.numbers import format_currency
from babel.units import format_unit
from hypothesis import given
from hypothesis import strategies as st

from bot.documents.documents import receipt_pdf
from bot.documents.glyphs import (
    _DEJAVU_RANGES,
    GETA,
    missing_glyphs,
    printable,
    read_codepoints,
)
from tests.documents.samples import receipt


class TestMissingGlyphs:
    def test_finds_the_characters_that_leave_a_gap(self):
        assert missing_glyphs("欧阳𠮷 😀") == {"𠮷", "😀"}

    def test_is_empty_for_rare_names_that_the_font_has(self):
        assert missing_glyphs("㛃䶮骉喆堃燚𬱖𫘧甪𣲗") == set()

    def test_is_empty_for_the_letters_of_neighbours(self):
        assert missing_glyphs("Łukasz Şahin Nguyễn Олексій Ґалаґан ҚАЗАҚ محمد ₽ ₴ ₸ ₹") == set()

    @pytest.mark.parametrize("encoding", ["gb2312", "big5"])
    def test_is_empty_for_every_character_of_the_usual_chinese(self, encoding):
        everything = ""
        for first in range(0xA4, 0xFA):
            for second in (*range(0x40, 0x7F), *range(0xA1, 0xFF)):
                everything += bytes((first, second)).decode(encoding, "ignore")

        assert len(everything) > 6000
        assert missing_glyphs(everything) == set()

    @pytest.mark.parametrize("language", ["zh_CN", "zh_TW", "en", "ru"])
    def test_is_empty_for_what_babel_writes(self, language):
        amount = Decimal("-1234567.89")
        written = [
            *(format_currency(amount, code, locale=language) for code in ("CNY", "TWD", "RUB")),
            *(format_currency(amount, code, locale=language) for code in ("USD", "EUR", "KZT")),
            *(
                format_unit(amount, unit, length=length, locale=language)
                for unit in ("energy-kilowatt-hour", "volume-cubic-meter", "electric-volt")
                for length in ("short", "long", "narrow")
            ),
            *(format_date(date(2026, month, 3), "full", language) for month in range(1, 13)),
        ]

        assert missing_glyphs("".join(written)) == set()


class TestPrintable:
    @pytest.mark.parametrize(
        ("text", "drawn"),
        [
            ("plain", "plain"),
            ("欧阳𠮷", "欧阳〓"),
            ("two\nlines\tand\u3000more", "two lines and more"),
            ("1\u202f234", "1\u00a0234"),
            ("a\u202eb\u200dc\ufeffd\u00ade", "abcde"),
            ("nul\x00 lone\ud800 own\ue000", "nul〓 lone〓 own〓"),
            ("葛\U000e0100", "葛"),
            ("❤\ufe0f", "〓"),
            ("Cafe\u0301", "Cafe\u0301"),
            ("И\u0306 🙂", "Й 〓"),
        ],
    )
    def test_keeps_what_can_be_seen_and_marks_what_cannot(self, text, drawn):
        assert printable(text) == drawn

    @given(st.text())
    def test_never_leaves_a_character_without_a_glyph(self, text):
        assert missing_glyphs(printable(text)) == set()

    @given(st.text())
    def test_changes_nothing_the_second_time(self, text):
        assert printable(printable(text)) == printable(text)

    def test_trusts_the_second_typeface_only_with_what_it_draws(self):
        """The archival standard refuses a page with a character that has no glyph."""
        letters = [chr(code) for first, last in _DEJAVU_RANGES for code in range(first, last + 1)]
        notes = tuple(" ".join(letters[start : start + 200]) for start in range(0, 600, 200))
        assert len(letters) < 600
        assert GETA not in printable("".join(notes))

        page = receipt_pdf(replace(receipt("en", "water", is_settled=True), notes=notes))

        assert page.startswith(b"%PDF")


class TestReadCodepoints:
    def test_knows_the_font_that_is_installed(self):
        codepoints = read_codepoints(pylopdf_fonts_zh_cn.sans_path())

        assert len(codepoints) == 30_890
        assert {ord("水"), ord("电"), 0x2B627} <= codepoints
        assert 0x20BB7 not in codepoints

    def test_refuses_a_font_without_the_full_table(self, tmp_path: Path):
        font = tmp_path / "old.otf"
        directory = b"OTTO\0\1" + bytes(6) + b"cmap" + bytes(4) + (28).to_bytes(4) + bytes(4)
        font.write_bytes(directory + b"\0\0\0\1" + b"\0\3\0\1\0\0\0\x0c" + b"\0\4")

        with pytest.raises(ValueError, match="no format 12"):
            read_codepoints(font)

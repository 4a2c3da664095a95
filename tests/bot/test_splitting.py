"""Long texts reach the phone whole, in messages that Telegram takes; no value becomes markup."""

import re
from html import unescape
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.outgoing import Button, File, Outgoing
from bot.playground.entities import message_text
from bot.playground.markup import units
from bot.splitting import CAPTION_MAX, TEXT_MAX, split, split_text
from bot.texts import LOCALES, Texts
from tests.test_catalogs import sentences

TEXTS = Texts("en", timezone="Asia/Shanghai", currency="CNY")
# What Telegram's server itself changes in any text: control and format signs, and trimmed ends.
PLAIN = st.characters(exclude_categories=["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs", "Mn"])
LINES = st.lists(
    st.one_of(
        st.text(st.sampled_from("ab <>&\"'水\U0001f4a7"), max_size=60),
        st.builds(lambda c, n: f"<b>{c * n}</b>", st.sampled_from("a水\U0001f4a7"), st.just(700)),
        st.builds(lambda n: "&amp;" * n, st.integers(1, 2000)),
        st.just(""),
    ),
    max_size=40,
)


def visible(html: str) -> str:
    return unescape(re.sub(r"</?b>", "", html))


class TestSplitText:
    @given(LINES)
    @example(["x" * 5000])
    @example(["", "", "x"])
    @example([" " * 9000])
    def test_loses_nothing_and_fits(self, lines: list[str]) -> None:
        html = "\n".join(line if line.endswith("</b>") else escaped(line) for line in lines)

        parts = split_text(html)

        assert all(units(part) <= TEXT_MAX for part in parts) or not html.strip()
        assert re.sub(r"\s", "", visible("".join(parts))) == re.sub(r"\s", "", visible(html))
        for part in parts:
            assert part.count("<b>") == part.count("</b>")
            assert len(parts) == 1 or part.strip()

    @given(st.integers(1, 60), st.integers(100, 200))
    def test_cuts_at_line_ends_and_not_before_it_must(self, width: int, count: int) -> None:
        parts = split_text("\n".join(["水" * width] * count), length_max=1000)

        assert "\n".join(parts) == "\n".join(["水" * width] * count)
        assert all(units(one) + 1 + width + 1 > 1000 for one, _ in pairwise(parts))


class TestSplit:
    def test_keeps_the_buttons_for_the_last_part(self) -> None:
        long = Outgoing(text="\n".join(["x" * 99] * 100), keyboard=[[Button("Pay", "pay:1")]])

        *first, last = split(long)

        assert len(first) == 2
        assert not any(part.keyboard for part in first)
        assert last.keyboard == long.keyboard

    def test_leaves_a_text_that_fits_alone(self) -> None:
        fits = Outgoing(text="x" * TEXT_MAX)

        assert split(fits) == [fits]

    def test_sends_a_file_before_words_that_are_too_long_for_its_caption(self) -> None:
        file = File(name="a.pdf", make=bytes)
        long = Outgoing(
            text="\n".join(["x" * 99] * 20), document=file, keyboard=[[Button("Pay", "pay:1")]]
        )

        first, last = split(long)

        assert (first.document, first.text, first.keyboard) == (file, "", ())
        assert (last.document, last.text, last.keyboard) == (None, long.text, long.keyboard)
        assert units(first.text) <= CAPTION_MAX


def escaped(value: str) -> str:
    return TEXTS.get("push.text", text=value)


class TestGet:
    @given(st.text(PLAIN, min_size=1, max_size=300))
    @example("<b>bold</b> &amp; &lt; &#60; <a href='x'>")
    @example("{0} {name} %s %(x)s \\ ` * _ ~ | [x](y)")
    def test_gives_any_value_to_the_phone_as_it_was_typed(self, value: str) -> None:
        html = TEXTS.get("outage.why", reason=value)

        shown = message_text(html, parse_mode="HTML")

        assert value in shown["text"]
        kinds = {entity["type"] for entity in shown.get("entities", [])}
        assert not kinds & {"bold", "italic", "code", "text_link", "pre"} - kinds_without_value()


def kinds_without_value() -> set[str]:
    shown = message_text(TEXTS.get("outage.why", reason="x"), parse_mode="HTML")
    return {entity["type"] for entity in shown.get("entities", [])}


class TestCatalogs:
    @pytest.mark.parametrize("locale", LOCALES)
    def test_close_every_tag_in_its_line(self, locale: str) -> None:
        for key, forms in sentences(locale).items():
            for line in "\n".join(forms).splitlines():
                open_tags: list[str] = []
                for closing, name in re.findall(r"<(/?)(\w+)>", line):
                    if closing:
                        assert open_tags.pop() == name, (key, line)
                    else:
                        open_tags.append(name)
                assert not open_tags, (key, line)

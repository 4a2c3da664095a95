"""Texts: markup, its errors, and entities counted in UTF-16 units."""

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.playground.entities import format_text, message_text
from bot.playground.refusals import Refusal

ERRORS = {
    ("HTML", "水<p>x"): 'Unsupported start tag "p" at byte offset 3',
    ("HTML", "a < b"): 'Unsupported start tag "" at byte offset 2',
    ("HTML", "1<b"): "Unclosed start tag at byte offset 1",
    ("HTML", '<a href="x'): "Unclosed start tag at byte offset 0",
    ("HTML", "<a href="): 'Unclosed start tag "a" at byte offset 0',
    ("HTML", "<a href=x/>y</a>"): "Unexpected end of name token at byte offset 8",
    ("HTML", "x</b>"): "Unexpected end tag at byte offset 1",
    ("HTML", "<b>x</b"): "Unclosed end tag at byte offset 4",
    ("HTML", "<b>x</i>"): 'Unmatched end tag at byte offset 4, expected "</b>", found "</i>"',
    ("HTML", "<i><b>x"): 'Can\'t find end tag corresponding to start tag "b"',
    ("HTML", '<a ="x">y</a>'): 'Empty attribute name in the tag "a" at byte offset 0',
    ("HTML", "<span>x</span>"): 'Tag "span" must have class "tg-spoiler" at byte offset 0',
    ("MarkdownV2", "1.5"): "Character '.' is reserved and must be escaped with the preceding '\\'",
    ("MarkdownV2", "水*x"): "Can't find end of Bold entity at byte offset 3",
    ("MarkdownV2", "__x"): "Can't find end of Underline entity at byte offset 0",
    ("MarkdownV2", "```py\nx"): "Can't find end of PreCode entity at byte offset 0",
    ("MarkdownV2", "[x](a.cn"): "Can't find end of a URL at byte offset 4",
    ("Markdown", "a_b"): "Can't find end of the entity starting at byte offset 1",
}
MARKED = {
    ("HTML", "👍<b>水</b>"): ("👍水", [("bold", 2, 1)]),
    ("HTML", "<b>a<i>👍</i></b>"): ("a👍", [("bold", 0, 3), ("italic", 1, 2)]),
    ("HTML", "&lt;&amp;&#x6c34;&nbsp;&"): ("<&水&nbsp;&", []),
    ("HTML", "  <b> x </b> "): (" x", [("bold", 0, 2)]),
    ("HTML", '<a href="https://a.cn/?q=1&amp;r=2">b</a>'): ("b", [("text_link", 0, 1)]),
    ("HTML", '<a href="nowhere">b</a>'): ("b", []),
    ("HTML", '<pre><code class="language-py">x</code></pre>'): ("x", [("pre", 0, 1)]),
    ("HTML", "<code><b>x</b></code>"): ("x", [("code", 0, 1)]),
    ("HTML", "<blockquote expandable>x</blockquote>"): ("x", [("expandable_blockquote", 0, 1)]),
    ("HTML", '<SPAN class="tg-spoiler">x</SPAN>'): ("x", [("spoiler", 0, 1)]),
    ("MarkdownV2", "*水* _i_ __u__ ~s~ ||p||"): (
        "水 i u s p",
        [("bold", 0, 1), ("italic", 2, 1), ("underline", 4, 1), ("strikethrough", 6, 1),
         ("spoiler", 8, 1)],
    ),
    ("MarkdownV2", r"1\.5 `a.b` [x](a.cn/\))"): (
        "1.5 a.b x",
        [("code", 4, 3), ("text_link", 8, 1)],
    ),
    ("MarkdownV2", ">a\n>b\nc"): ("a\nb\nc", [("blockquote", 0, 3)]),
    ("MarkdownV2", "```py\nx\n```"): ("x", [("pre", 0, 1)]),
    ("Markdown", "*b* _i_ `c` [x](a.cn)"): (
        "b i c x",
        [("bold", 0, 1), ("italic", 2, 1), ("code", 4, 1), ("text_link", 6, 1)],
    ),
    ("", "👍 /pay@water_bot @wang_wu #水费 $CNY"): (
        "👍 /pay@water_bot @wang_wu #水费 $CNY",
        [("bot_command", 3, 14), ("mention", 18, 8), ("hashtag", 27, 3), ("cashtag", 31, 4)],
    ),
    ("", "see https://a.cn/x?y=1. or a@b.org, b.com, not http://localhost/x or 3.5"): (
        "see https://a.cn/x?y=1. or a@b.org, b.com, not http://localhost/x or 3.5",
        [("url", 4, 18), ("email", 27, 7), ("url", 36, 5)],
    ),
    ("", "and/or 1/2 a/b"): ("and/or 1/2 a/b", []),
}  # fmt: skip


class TestFormatText:
    @pytest.mark.parametrize(("given", "words"), ERRORS.items())
    def test_refuses_broken_markup(self, given: tuple[str, str], words: str) -> None:
        mode, text = given
        with pytest.raises(Refusal) as caught:
            format_text(text, parse_mode=mode)
        assert caught.value.description == f"Bad Request: can't parse entities: {words}"

    @pytest.mark.parametrize(("given", "expected"), MARKED.items())
    def test_finds_entities(
        self, given: tuple[str, str], expected: tuple[str, list[tuple[str, int, int]]]
    ) -> None:
        mode, source = given
        text, entities = format_text(source, parse_mode=mode)
        assert (text, [(e["type"], e["offset"], e["length"]) for e in entities]) == expected

    @given(st.text(st.characters(codec="utf-8")).filter(str.strip))
    def test_reads_any_escaped_text_as_it_was(self, text: str) -> None:
        assert format_text(html.escape(text), parse_mode="HTML") == format_text(text)

    @given(
        st.text(st.characters(codec="utf-8"), max_size=60), st.sampled_from(["MarkdownV2", "HTML"])
    )
    def test_keeps_every_entity_inside_the_text(self, text: str, mode: str) -> None:
        try:
            shown, entities = format_text(
                f"<b>{text}</b>" if mode == "HTML" else text, parse_mode=mode
            )
        except Refusal:
            return
        length = len(shown.encode("utf-16-le")) // 2
        for entity in entities:
            assert 0 <= entity["offset"] < entity["offset"] + entity["length"] <= length

    def test_takes_entities_as_given_and_refuses_those_beyond_the_end(self) -> None:
        bold = {"type": "bold", "offset": 3, "length": 2}
        assert format_text("👍 水水", entities=[bold]) == ("👍 水水", [bold])
        with pytest.raises(Refusal, match="ends after the end of the text"):
            format_text("水", entities=[bold])

    def test_counts_a_hundred_entities(self) -> None:
        _, entities = format_text("#a " * 101)
        assert len(entities) == 100


class TestMessageText:
    def test_measures_the_text_after_parsing(self) -> None:
        longest = "<b>" + "水" * 4096 + "</b>"
        assert len(message_text(longest, parse_mode="HTML")["text"]) == 4096

"""The Bot API's two kinds of Markdown, with the errors they give."""

import re
from typing import Final

from bot.playground.markup import Draft, link_address
from bot.playground.refusals import Refusal

RESERVED: Final = "_*[]()~`>#+-=|{}.!"
# Openings in the order in which they are looked for, with their ends.
MARKS: Final = (
    ("```", "pre", "```"),
    ("||", "spoiler", "||"),
    ("__", "underline", "__"),
    ("![", "custom_emoji", "]"),
    ("_", "italic", "_"),
    ("*", "bold", "*"),
    ("~", "strikethrough", "~"),
    ("`", "code", "`"),
    ("[", "text_link", "]"),
)
ENDS: Final = {kind: end for _, kind, end in MARKS}
NAMES: Final = {"text_link": "TextUrl", "custom_emoji": "CustomEmoji"}


def parse_markdown(source: str) -> Draft:
    """Read the legacy Markdown."""
    draft = Draft(source)
    at = 0
    while at < len(source):
        mark = source[at]
        if mark == "\\" and source[at + 1 : at + 2] in set("_*`["):
            draft.add(source[at + 1])
            at += 2
        elif mark not in "_*`[":
            draft.add(mark)
            at += 1
        else:
            at = _legacy_entity(draft, at)
    return draft


def _legacy_entity(draft: Draft, at: int) -> int:
    source, mark = draft.source, draft.source[at]
    mark = "```" if source.startswith("```", at) else mark
    end_mark = "]" if mark == "[" else mark
    start, language = at + len(mark), ""
    if mark == "```":
        start, language = _language(source, start)
    end = source.find(end_mark, start)
    if end < 0:
        raise draft.fail("Can't find end of the entity starting", at)
    kind = {"_": "italic", "*": "bold", "`": "code", "```": "pre", "[": "text_link"}[mark]
    draft.open(kind, at)
    draft.add(source[start:end])
    argument, after = language, end + len(end_mark)
    if mark == "[":
        url = source[start:end]
        if source.startswith("(", after):
            close = source.find(")", after)
            close = len(source) if close < 0 else close
            url, after = source[after + 1 : close], close + 1
        argument = link_address(url)
    draft.close(kind, argument)
    return after


def _language(source: str, start: int) -> tuple[int, str]:
    """Read the language after three back-quotes, and skip one line break."""
    match = re.compile(r"([^\s`]+)(?=\s)").match(source, start)
    end = match.end() if match else start
    line = re.compile(r"\r\n|\n\r|\n|\r").match(source, end)
    return (line.end() if line else end), (match[1] if match else "")


def parse_markdown_v2(source: str) -> Draft:
    """Read MarkdownV2."""
    draft = Draft(source)
    at = 0
    while at < len(source):
        mark = source[at]
        top = draft.stack[-1].kind if draft.stack else ""
        escaped = source[at + 1 : at + 2]
        if mark == "\\" and "\0" < escaped <= "~":
            draft.add(escaped)
            at += 2
        elif mark == "\n" and any(opened.kind == "blockquote" for opened in draft.stack):
            at = _quote_line_end(draft, at)
        elif mark not in ("`" if top in {"code", "pre"} else RESERVED):
            draft.add(mark)
            at += 1
        elif top in ENDS and _ends(source, at, top):
            at = _end_mark(draft, at)
        else:
            at = _start_mark(draft, at)
    if any(opened.kind == "blockquote" for opened in draft.stack):
        _end_quote(draft, len(source))
    if draft.stack:
        raise _no_end(draft)
    return draft


def _ends(source: str, at: int, kind: str) -> bool:
    if kind == "italic" and source.startswith("__", at):
        return False
    return source.startswith(ENDS[kind], at)


def _start_mark(draft: Draft, at: int) -> int:
    source = draft.source
    for mark, kind, _ in MARKS:
        if source.startswith(mark, at):
            start, argument = at + len(mark), ""
            if kind == "pre":
                start, argument = _language(source, start)
            draft.open(kind, at, argument)
            return start
    if source[at] == ">" and (not draft.characters or draft.characters[-1] == "\n"):
        if not any(opened.kind == "blockquote" for opened in draft.stack):
            draft.open("blockquote", at)
        return at + 1
    raise Refusal(
        f"can't parse entities: Character '{source[at]}' is reserved "
        "and must be escaped with the preceding '\\'"
    )


def _end_mark(draft: Draft, at: int) -> int:
    source, opened = draft.source, draft.stack[-1]
    after, argument = at + len(ENDS[opened.kind]), opened.argument
    if opened.kind in {"text_link", "custom_emoji"}:
        url = draft.inner_text()
        if source.startswith("(", after):
            match = re.compile(r"\(((?:\\[\x01-\x7e]|[^)\\]|\\)*?)\)").match(source, after)
            if match is None:
                raise draft.fail("Can't find end of a URL", after + 1)
            url, after = re.sub(r"\\([\x01-\x7e])", r"\1", match[1]), match.end()
        link = opened.kind == "text_link"
        argument = link_address(url) if link else url.removeprefix("tg://emoji?id=")
    draft.close(opened.kind, argument)
    return after


def _quote_line_end(draft: Draft, at: int) -> int:
    if draft.source.startswith(">", at + 1):
        draft.add("\n")
        return at + 2
    _end_quote(draft, at)
    draft.add("\n")
    return at + 1


def _end_quote(draft: Draft, at: int) -> None:
    """End a quote; a spoiler mark alone at its end makes it expandable."""
    kind = "blockquote"
    if draft.stack[-1].kind == "spoiler" and draft.stack[-1].at == at - 2:
        draft.stack.pop()
        kind = "expandable_blockquote"
    if draft.stack[-1].kind != "blockquote":
        raise _no_end(draft)
    draft.close(kind, "")


def _no_end(draft: Draft) -> Refusal:
    opened = draft.stack[-1]
    name = NAMES.get(opened.kind, opened.kind.title())
    name = "PreCode" if opened.kind == "pre" and opened.argument else name
    return draft.fail(f"Can't find end of {name} entity", opened.at)

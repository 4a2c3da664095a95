"""The Bot API's two kinds of Markdown, with the errors they give."""

import re
from typing import Final

from bot.playground.markup import Draft, link_address
from bot.playground.refusals import Refusal

RESERVED: Final = "_*[]()~`>#+-=|{}.!"
# What opens an entity, in the order in which it is looked for; what it opens; what ends it.
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
LANGUAGE: Final = r"(?:([^\s`]+)(?=\s))?(?:\r\n|\n\r|\n|\r)?"
ESCAPED: Final = r"\\([\x01-\x7e])"
URL: Final = re.compile(rf"\(((?:{ESCAPED}|[^)])*?)\)")
# An escape, or a whole entity: nothing nests here. A mark without its end is left for the end.
LEGACY: Final = re.compile(
    rf"""
    \\(?P<escaped>[_*`\[])
    | ```{LANGUAGE}(?P<pre>.*?)```
    | (?P<mark>(?!```)[_*`])(?P<words>.*?)(?P=mark)
    | \[(?P<link>.*?)\](?:\((?P<url>[^)]*)\)?)?
    | (?P<open>[_*`\[])
    """,
    re.DOTALL | re.VERBOSE,
)


def parse_markdown(source: str) -> Draft:
    """Read the legacy Markdown."""
    draft = Draft(source)
    at = 0
    for match in LEGACY.finditer(source):
        draft.text += source[at : match.start()]
        at = match.end()
        found = match.groupdict()
        if found["escaped"]:
            draft.text += found["escaped"]
        elif found["open"]:
            raise draft.failure("Can't find end of the entity starting", match.start())
        else:
            draft.open("", match.start())
            draft.text += found["pre"] or found["words"] or found["link"] or ""
            draft.close(*_legacy_kind(match))
    draft.text += source[at:]
    return draft


def _legacy_kind(match: re.Match[str]) -> tuple[str, str]:
    """Tell what an entity is, with its language or address."""
    if match["pre"] is not None:
        return "pre", match[2] or ""
    if match["link"] is not None:
        url = match["link"] if match["url"] is None else match["url"]
        return "text_link", link_address(url)
    return {"_": "italic", "*": "bold", "`": "code"}[match["mark"]], ""


def parse_markdown_v2(source: str) -> Draft:
    """Read MarkdownV2."""
    draft = Draft(source)
    at = 0
    while at < len(source):
        mark = source[at]
        top = draft.stack[-1].kind if draft.stack else ""
        if escape := re.compile(ESCAPED).match(source, at):
            draft.text += escape[1]
            at = escape.end()
        elif mark == "\n" and _in_quote(draft):
            goes_on = source.startswith(">", at + 1)
            if not goes_on:
                _end_quote(draft, at)
            draft.text += mark
            at += 1 + goes_on
        elif mark not in ("`" if top in {"code", "pre"} else RESERVED):
            draft.text += mark
            at += 1
        elif top in ENDS and _ends(source, at, top):
            at = _end_mark(draft, at)
        else:
            at = _start_mark(draft, at)
    if _in_quote(draft):
        _end_quote(draft, len(source))
    if draft.stack:
        raise _no_end(draft)
    return draft


def _in_quote(draft: Draft) -> bool:
    return any(opened.kind == "blockquote" for opened in draft.stack)


def _ends(source: str, at: int, kind: str) -> bool:
    is_underline = kind == "italic" and source.startswith("__", at)
    return source.startswith(ENDS[kind], at) and not is_underline


def _start_mark(draft: Draft, at: int) -> int:
    source = draft.source
    if source[at] == ">" and (not draft.text or draft.text.endswith("\n")):
        if not _in_quote(draft):
            draft.open("blockquote", at)
        return at + 1
    for mark, kind, _ in MARKS:
        if source.startswith(mark, at):
            language = re.compile(LANGUAGE if kind == "pre" else "()").match(source, at + len(mark))
            draft.open(kind, at, (language and language[1]) or "")
            return language.end() if language else at + len(mark)
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
            match = URL.match(source, after)
            if match is None:
                raise draft.failure("Can't find end of a URL", after + 1)
            url, after = re.sub(ESCAPED, r"\1", match[1]), match.end()
        is_link = opened.kind == "text_link"
        argument = link_address(url) if is_link else url.removeprefix("tg://emoji?id=")
    draft.close(opened.kind, argument)
    return after


def _end_quote(draft: Draft, at: int) -> None:
    """End a quote; a spoiler mark alone at its end makes it expandable."""
    kind = "blockquote"
    if draft.stack[-1].kind == "spoiler" and draft.stack[-1].at == at - 2:
        draft.stack.pop()
        kind = "expandable_blockquote"
    if draft.stack[-1].kind != "blockquote":
        raise _no_end(draft)
    draft.close(kind)


def _no_end(draft: Draft) -> Refusal:
    opened = draft.stack[-1]
    name = NAMES.get(opened.kind, opened.kind.title())
    name = "PreCode" if opened.kind == "pre" and opened.argument else name
    return draft.failure(f"Can't find end of {name} entity", opened.at)

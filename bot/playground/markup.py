"""A text under construction with its entities, and the Bot API's HTML with the errors it gives."""

import html
import re
from dataclasses import dataclass, field
from typing import Final

from bot.playground.params import Json
from bot.playground.refusals import Refusal

TAGS: Final = {
    "bold": "b strong",
    "italic": "i em",
    "underline": "u ins",
    "strikethrough": "s strike del",
    "spoiler": "tg-spoiler span",
    "text_link": "a",
    "code": "code",
    "pre": "pre",
    "blockquote": "blockquote",
    "custom_emoji": "tg-emoji",
    "date_time": "tg-time",
}
KINDS: Final = {tag: kind for kind, tags in TAGS.items() for tag in tags.split()}
# The attribute that counts for a tag, and what its value must begin with.
ATTRIBUTES: Final = {
    "a": ("href", ""),
    "code": ("class", "language-"),
    "span": ("class", "tg-"),
    "tg-emoji": ("emoji-id", ""),
    "blockquote": ("expandable", ""),
}
ARGUMENTS: Final = {"text_link": "url", "pre": "language", "custom_emoji": "custom_emoji_id"}
REFERENCE: Final = re.compile(r"&(?:#x[0-9a-fA-F]{1,8}|#[0-9]{1,10}|lt|gt|amp|quot);")
START_TAG: Final = re.compile(r"<([^\s>]*)\s*", re.ASCII)
END_TAG: Final = re.compile(r"</([^\s>]*)\s*(>?)", re.ASCII)
ATTRIBUTE_NAME: Final = re.compile(r"([^\s=>/\"']*)\s*(=?)\s*", re.ASCII)
ATTRIBUTE_VALUE: Final = re.compile(
    r"(?:\"([^\"]*)\"|'([^']*)'|([A-Za-z0-9.-]*)(?=[\s>]|$))\s*", re.ASCII
)


def units(text: str) -> int:
    """Count UTF-16 code units, Telegram's measure of offsets."""
    return len(text.encode("utf-16-le")) // 2


@dataclass
class Opened:
    """An entity that has begun: what opened it, where in the source, and where in the text."""

    kind: str
    at: int
    start: int
    argument: str = ""


@dataclass
class Draft:
    """The text so far, its entities, and those still open."""

    source: str
    text: str = ""
    entities: list[Json] = field(default_factory=list)
    stack: list[Opened] = field(default_factory=list)

    def open(self, kind: str, at: int, argument: str = "") -> None:
        """Begin an entity whose markup stands at this place of the source."""
        self.stack.append(Opened(kind, at, len(self.text), argument))

    def close(self, kind: str, argument: str = "") -> None:
        """End the innermost entity; without text, or as a link to nowhere, it leaves no trace."""
        start = self.stack.pop().start
        offset, length = units(self.text[:start]), units(self.text[start:])
        if length == 0 or (kind == "text_link" and not argument) or kind == "date_time":
            return
        entity: Json = {"type": kind, "offset": offset, "length": length}
        if kind in ARGUMENTS and argument:
            entity[ARGUMENTS[kind]] = argument
        self.entities.append(entity)

    def inner_text(self) -> str:
        """Read the text of the innermost entity."""
        return self.text[self.stack[-1].start :]

    def failure(self, words: str, at: int, rest: str = "") -> Refusal:
        """Build the refusal that points to a place of the source."""
        place = len(self.source[:at].encode())
        return Refusal(f"can't parse entities: {words} at byte offset {place}{rest}")


def parse_html(source: str) -> Draft:
    """Read Telegram's HTML."""
    draft = Draft(source)
    at = 0
    while (cut := source.find("<", at)) >= 0:
        draft.text += _decoded(source[at:cut])
        at = _end_tag(draft, cut) if source.startswith("</", cut) else _start_tag(draft, cut)
    draft.text += _decoded(source[at:])
    if draft.stack:
        words = "can't parse entities: Can't find end tag corresponding to start tag"
        raise Refusal(f'{words} "{draft.stack[-1].kind}"')
    return draft


def _decoded(text: str) -> str:
    """Replace the four names and the numbers that Telegram knows; the rest stays as it is."""
    return REFERENCE.sub(lambda match: html.unescape(match[0]), text)


def _start_tag(draft: Draft, at: int) -> int:
    source = draft.source
    match = START_TAG.match(source, at)
    if match is None or match.end(1) == len(source):
        raise draft.failure("Unclosed start tag", at)
    tag, argument, place = match[1].lower(), "", match.end()
    if tag not in KINDS:
        raise draft.failure(f'Unsupported start tag "{tag}"', at)
    wanted, prefix = ATTRIBUTES.get(tag, ("", ""))
    while not source.startswith(">", place):
        name, value, place = _attribute(draft, tag, at, place)
        if name == wanted and value.startswith(prefix):
            argument = value.removeprefix(prefix) or name
    if tag == "span" and argument != "spoiler":
        raise draft.failure('Tag "span" must have class "tg-spoiler"', at)
    draft.open(tag, at, argument)
    return place + 1


def _attribute(draft: Draft, tag: str, at: int, place: int) -> tuple[str, str, int]:
    """Read one attribute; answer with its name, its value and where the next one may begin."""
    source, value = draft.source, ""
    name = ATTRIBUTE_NAME.match(source, place)
    if name is None or not name[1]:
        raise draft.failure(f'Empty attribute name in the tag "{tag}"', at)
    place = name.end()
    if name[2]:
        found = ATTRIBUTE_VALUE.match(source, place)
        if found is None and source[place : place + 1] in {'"', "'"}:
            raise draft.failure("Unclosed start tag", at)
        if found is None:
            raise draft.failure("Unexpected end of name token", place)
        value, place = found[1] or found[2] or (found[3] or "").lower(), found.end()
    if place == len(source):
        raise draft.failure(f'Unclosed start tag "{tag}"', at)
    return name[1].lower(), _decoded(value), place


def _end_tag(draft: Draft, at: int) -> int:
    if not draft.stack:
        raise draft.failure("Unexpected end tag", at)
    match = END_TAG.match(draft.source, at)
    if match is None or not match[2]:
        raise draft.failure("Unclosed end tag", at)
    found, opened = match[1].lower(), draft.stack[-1]
    if found not in {"", opened.kind}:
        words = f', expected "</{opened.kind}>", found "</{found}>"'
        raise draft.failure("Unmatched end tag", at, words)
    kind, argument = KINDS[opened.kind], opened.argument
    if kind == "text_link":
        argument = link_address(argument or draft.inner_text())
    if kind == "blockquote" and argument:
        kind = "expandable_blockquote"
    if kind == "pre":
        argument = _language_within(draft)
    draft.close(kind, argument)
    if kind == "code" and argument and draft.stack and draft.stack[-1].kind == "pre":
        draft.entities[-1]["language"] = argument
    return match.end()


def _language_within(draft: Draft) -> str:
    """Take the language from the code that fills a `pre`, and the code's own entity away."""
    code = draft.entities[-1] if draft.entities else {}
    if "language" not in code or code["type"] != "code":
        return ""
    language = str(code.pop("language"))
    if code["length"] != units(draft.inner_text()):
        return ""
    draft.entities.pop()
    return language


def link_address(url: str) -> str:
    """Complete a link as Telegram stores it; empty when it is none."""
    url = url.strip()
    if url.startswith("tg://"):
        return url
    full = url if re.match(r"(?i)https?://", url) else f"http://{url}"
    match = re.match(r"(?i)https?://([^\s/?#:@]+\.[^\s/?#:@.]+)(:\d+)?([/?#]\S*)?$", full)
    if match is None:
        return ""
    return full if match[3] else full + "/"

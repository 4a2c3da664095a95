"""A text under construction with its entities, and the Bot API's HTML with the errors it gives."""

import re
import sys
from dataclasses import dataclass, field
from typing import Final

from bot.playground.params import Json
from bot.playground.refusals import Refusal

TAGS: Final = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "tg-spoiler": "spoiler",
    "span": "spoiler",
    "a": "text_link",
    "code": "code",
    "pre": "pre",
    "blockquote": "blockquote",
    "tg-emoji": "custom_emoji",
    "tg-time": "date_time",
}
# The attribute that counts for a tag, and what its value must begin with.
ATTRIBUTES: Final = {
    "a": ("href", ""),
    "code": ("class", "language-"),
    "span": ("class", "tg-"),
    "tg-emoji": ("emoji-id", ""),
    "blockquote": ("expandable", ""),
}
ARGUMENTS: Final = {"text_link": "url", "pre": "language", "custom_emoji": "custom_emoji_id"}
NAMED: Final = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
REFERENCE: Final = re.compile(r"&(?:#x([0-9a-fA-F]{1,8})|#([0-9]{1,10})|(lt|gt|amp|quot));")
TAG_NAME: Final = re.compile(r"<([^\s>]*)", re.ASCII)
ATTRIBUTE_NAME: Final = re.compile(r"[^\s=>/\"']*", re.ASCII)
ATTRIBUTE_VALUE: Final = re.compile(r"\"([^\"]*)\"?|'([^']*)'?|([A-Za-z0-9.-]*)(?=[\s>]|$)")
END_TAG: Final = re.compile(r"</([^\s>]*)\s*(>?)", re.ASCII)
SPACE: Final = re.compile(r"\s*", re.ASCII)
SURROGATES: Final = range(0xD800, 0xE000)


def units(text: str) -> int:
    """Count UTF-16 code units, Telegram's measure of offsets."""
    return len(text) + sum(character > "\uffff" for character in text)


@dataclass
class Opened:
    """An entity that has begun."""

    kind: str
    at: int
    offset: int
    start: int
    argument: str = ""


@dataclass
class Draft:
    """The text so far, its entities, and those still open."""

    source: str
    characters: list[str] = field(default_factory=list)
    entities: list[Json] = field(default_factory=list)
    stack: list[Opened] = field(default_factory=list)
    offset: int = 0

    def add(self, text: str) -> None:
        """Put plain text at the end."""
        self.characters.extend(text)
        self.offset += units(text)

    def open(self, kind: str, at: int, argument: str = "") -> None:
        """Begin an entity whose markup stands at this place of the source."""
        self.stack.append(Opened(kind, at, self.offset, len(self.characters), argument))

    def close(self, kind: str, argument: str) -> None:
        """End the innermost entity; without text, or as a link to nowhere, it leaves no trace."""
        opened = self.stack.pop()
        length = self.offset - opened.offset
        if length == 0 or (kind == "text_link" and not argument) or kind == "date_time":
            return
        entity: Json = {"type": kind, "offset": opened.offset, "length": length}
        if kind in ARGUMENTS and argument:
            entity[ARGUMENTS[kind]] = argument
        self.entities.append(entity)

    def inner_text(self) -> str:
        """Read the text of the innermost entity."""
        return "".join(self.characters[self.stack[-1].start :])

    def fail(self, words: str, at: int, rest: str = "") -> Refusal:
        """Build the refusal that points to a place of the source."""
        place = len(self.source[:at].encode())
        return Refusal(f"can't parse entities: {words} at byte offset {place}{rest}")


def decode_references(text: str) -> str:
    """Replace the four names and the numbers that Telegram knows; the rest stays as it is."""

    def decoded(match: re.Match[str]) -> str:
        if match[3]:
            return NAMED[match[3]]
        code = int(match[1], 16) if match[1] else int(match[2])
        is_character = 0 < code <= sys.maxunicode and code not in SURROGATES
        return chr(code) if is_character else match[0]

    return REFERENCE.sub(decoded, text)


def parse_html(source: str) -> Draft:
    """Read Telegram's HTML."""
    draft = Draft(source)
    at = 0
    while at < len(source):
        cut = source.find("<", at)
        draft.add(decode_references(source[at : cut if cut >= 0 else None]))
        if cut < 0:
            break
        at = _end_tag(draft, cut) if source.startswith("</", cut) else _start_tag(draft, cut)
    if draft.stack:
        tag = draft.stack[-1].kind
        raise Refusal(
            f"can't parse entities: Can't find end tag corresponding to start tag \"{tag}\""
        )
    return draft


def _start_tag(draft: Draft, at: int) -> int:
    source = draft.source
    match = TAG_NAME.match(source, at)
    if match is None or match.end() == len(source):
        raise draft.fail("Unclosed start tag", at)
    tag = match[1].lower()
    if tag not in TAGS:
        raise draft.fail(f'Unsupported start tag "{tag}"', at)
    argument, wanted = "", ATTRIBUTES.get(tag, ("", ""))
    place = _after_space(source, match.end())
    while not source.startswith(">", place):
        name, value, place = _attribute(draft, tag, at, place)
        if name == wanted[0] and value.startswith(wanted[1]):
            argument = value.removeprefix(wanted[1]) or ("1" if tag == "blockquote" else "")
    if tag == "span" and argument != "spoiler":
        raise draft.fail('Tag "span" must have class "tg-spoiler"', at)
    draft.open(tag, at, argument)
    return place + 1


def _attribute(draft: Draft, tag: str, at: int, place: int) -> tuple[str, str, int]:
    """Read one attribute; answer with its name, its value and where the next one may begin."""
    source, value = draft.source, ""
    name = ATTRIBUTE_NAME.match(source, place)
    if name is None or not name[0]:
        raise draft.fail(f'Empty attribute name in the tag "{tag}"', at)
    place = _after_space(source, name.end())
    if source.startswith("=", place):
        place = _after_space(source, place + 1)
        found = ATTRIBUTE_VALUE.match(source, place)
        if found is None:
            raise draft.fail("Unexpected end of name token", place)
        if place < found.end() == len(source):
            raise draft.fail("Unclosed start tag", at)
        value = found[1] or found[2] or (found[3] or "").lower()
        place = _after_space(source, found.end())
    if place == len(source):
        raise draft.fail(f'Unclosed start tag "{tag}"', at)
    return name[0].lower(), decode_references(value), place


def _after_space(source: str, place: int) -> int:
    match = SPACE.match(source, place)
    return match.end() if match else place


def _end_tag(draft: Draft, at: int) -> int:
    if not draft.stack:
        raise draft.fail("Unexpected end tag", at)
    match = END_TAG.match(draft.source, at)
    if match is None or not match[2]:
        raise draft.fail("Unclosed end tag", at)
    found, opened = match[1].lower(), draft.stack[-1]
    if found and found != opened.kind:
        words = f', expected "</{opened.kind}>", found "</{found}>"'
        raise draft.fail("Unmatched end tag", at, words)
    kind, argument = TAGS[opened.kind], opened.argument
    if kind == "text_link":
        argument = link_address(argument or draft.inner_text())
    if kind == "blockquote" and argument:
        kind = "expandable_blockquote"
    if kind == "pre" and draft.entities and "language" in (last := draft.entities[-1]):
        same = last["offset"] == opened.offset and last["length"] == draft.offset - opened.offset
        argument = draft.entities.pop()["language"] if same and last["type"] == "code" else ""
    draft.close(kind, argument)
    if kind == "code" and argument and draft.stack and draft.stack[-1].kind == "pre":
        draft.entities[-1]["language"] = argument
    return match.end()


def link_address(url: str) -> str:
    """Complete a link as Telegram stores it; empty when it is none."""
    url = url.strip()
    if url.startswith("tg://"):
        return url
    full = url if re.match(r"https?://", url, re.IGNORECASE) else f"http://{url}"
    match = re.match(r"(?i)https?://([^\s/?#:@]+\.[^\s/?#:@.]+)(:\d+)?([/?#]\S*)?$", full)
    if match is None:
        return ""
    return full if match[3] else full + "/"

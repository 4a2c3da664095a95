"""Texts with entities: parse modes, offsets in UTF-16 units, and what is found without markup."""

import re
from collections.abc import Callable
from typing import Final

from bot.playground.markdown import parse_markdown, parse_markdown_v2
from bot.playground.markup import Draft, parse_html, units
from bot.playground.params import Json
from bot.playground.refusals import Refusal

TEXT_BYTES: Final = 32_768
TEXT_LENGTH: Final = 4096
CAPTION_LENGTH: Final = 1024
COUNTED_ENTITIES: Final = 100
PARSERS: Final[dict[str, Callable[[str], Draft]]] = {
    "html": parse_html,
    "markdown": parse_markdown,
    "markdownv2": parse_markdown_v2,
}
# Where no other entity is found, and what may not be crossed by a found one.
CONTINUOUS: Final = {"code", "pre", "text_link", "text_mention", "custom_emoji", "url", "mention"}
DOMAIN: Final = r"(?:[^\W_](?:[\w-]*[^\W_])?\.)+"
TOP_LEVEL: Final = r"(?:com|org|net|info|io|me|dev|app|edu|gov|cn|tw|hk|ru|ua|de|uk|eu|us|рф|xyz)\b"
FOUND: Final = (
    (
        "url",
        re.compile(
            rf"(?<![\w@])https?://{DOMAIN}\w{{2,}}(?::\d+)?(?:[/?#][^\s<>\"]*)?", re.IGNORECASE
        ),
    ),
    ("url", re.compile(r"(?<![\w@])https?://\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?(?:[/?#][^\s<>\"]*)?")),
    ("email", re.compile(rf"(?<![\w.+-])[A-Za-z0-9_.+-]+@{DOMAIN}[A-Za-z]{{2,}}\b")),
    (
        "url",
        re.compile(
            rf"(?<![\w@./-]){DOMAIN}{TOP_LEVEL}(?![\w@-])(?::\d+)?(?:[/?#][^\s<>\"]*)?",
            re.IGNORECASE,
        ),
    ),
    ("mention", re.compile(r"(?<!\w)@[A-Za-z]\w{2,31}\b", re.ASCII)),
    (
        "bot_command",
        re.compile(r"(?<![\w/<>])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?(?![\w/<>])"),
    ),
    ("hashtag", re.compile(r"(?<!\w)#(?=\d*[^\W\d])\w{1,256}")),
    ("cashtag", re.compile(r"(?<!\w)\$[A-Z]{3,8}\b", re.ASCII)),
)
CONTROL: Final = {code: " " for code in range(32) if code != 10}  # noqa: PLR2004 - a line break


def format_text(
    text: str, *, parse_mode: str = "", entities: object = None
) -> tuple[str, list[Json]]:
    """Make the text and the entities that Telegram would show."""
    if len(text.encode()) > TEXT_BYTES:
        raise Refusal("text is too long")
    text, mode = text.replace("\r", ""), parse_mode.lower()
    if not text or mode in {"", "none"}:
        given = entities if isinstance(entities, list) else []
        return _finish(text, [_given(entity, units(text)) for entity in given])
    if mode not in PARSERS:
        raise Refusal("unsupported parse_mode")
    draft = PARSERS[mode](text)
    return _finish("".join(draft.characters), draft.entities)


def message_text(text: str, *, parse_mode: str = "", entities: object = None) -> Json:
    """Make the fields of a text message."""
    if not text:
        raise Refusal("message text is empty")
    text, found = format_text(text, parse_mode=parse_mode, entities=entities)
    if not text.strip():
        raise Refusal("text must be non-empty")
    if len(text) > TEXT_LENGTH:
        raise Refusal("message is too long")
    return {"text": text, "entities": found} if found else {"text": text}


def message_caption(text: str, *, parse_mode: str = "", entities: object = None) -> Json:
    """Make the fields of a caption; an empty one has none."""
    text, found = format_text(text, parse_mode=parse_mode, entities=entities)
    if len(text) > CAPTION_LENGTH:
        raise Refusal("message caption is too long")
    if not text.strip():
        return {}
    return {"caption": text, "caption_entities": found} if found else {"caption": text}


def _given(entity: object, length: int) -> Json:
    if not isinstance(entity, dict) or not isinstance(entity.get("type"), str):
        raise Refusal("can't parse MessageEntity: expected an Object")
    start, end = (
        int(entity.get("offset", 0)),
        int(entity.get("offset", 0) + entity.get("length", 0)),
    )
    if start < 0 or end < start:
        raise Refusal(f"receive an entity with incorrect offset {start}")
    if end > length:
        raise Refusal(
            f"entity beginning at UTF-16 offset {start} ends after the end of the text "
            f"at UTF-16 offset {end}"
        )
    return entity


def _finish(raw: str, entities: list[Json]) -> tuple[str, list[Json]]:
    """Clean and trim the text, fit the entities to it, and add those found without markup."""
    text = raw.translate(CONTROL).rstrip()
    entities = _fitted(entities, units(text))
    first = min((entity["offset"] for entity in entities), default=len(text))
    leading = len(text) - len(text.lstrip(" \n"))
    cut = min(leading, first)
    text = text[cut:]
    entities = [entity | {"offset": entity["offset"] - cut} for entity in entities]
    entities = _add_found(text, entities)
    entities.sort(key=lambda entity: (entity["offset"], -entity["length"]))
    return text, entities[:COUNTED_ENTITIES]


def _fitted(entities: list[Json], length: int) -> list[Json]:
    """Cut entities at the end of the text; drop empty ones and those inside code."""
    cut = [e | {"length": min(e["length"], length - e["offset"])} for e in entities]
    kept = [entity for entity in cut if entity["length"] > 0]
    code = [entity for entity in kept if entity["type"] in {"code", "pre"}]
    return [
        e for e in kept if not any(e is not c and _cross(e, c) and not _holds(e, c) for c in code)
    ]


def _holds(outer: Json, inner: Json) -> bool:
    """Tell whether code may stay inside another entity: only quotes hold it."""
    return outer["type"] in {"blockquote", "expandable_blockquote"} or (
        outer["type"] == "pre" and inner["type"] == "code"
    )


def _cross(one: Json, other: Json) -> bool:
    return bool(
        one["offset"] < other["offset"] + other["length"]
        and other["offset"] < one["offset"] + one["length"]
    )


def _add_found(text: str, entities: list[Json]) -> list[Json]:
    taken = [entity for entity in entities if entity["type"] in CONTINUOUS]
    added: list[Json] = []
    for kind, pattern in FOUND:
        for match in pattern.finditer(text):
            words = match[0].rstrip(".,:;!?'\")]") if kind == "url" else match[0]
            offset = units(text[: match.start()])
            entity: Json = {"type": kind, "offset": offset, "length": units(words)}
            if not any(_cross(entity, other) for other in taken + added):
                added.append(entity)
    return entities + added

"""Texts with entities: parse modes, offsets in UTF-16 units, and what is found without markup."""

import re
from collections.abc import Callable
from typing import Final

from bot.playground.markdown import parse_markdown, parse_markdown_v2
from bot.playground.markup import Draft, parse_html, units
from bot.playground.params import Json
from bot.playground.refusals import require

TEXT_BYTES: Final = 32_768
TEXT_LENGTH: Final = 4096
CAPTION_LENGTH: Final = 1024
COUNTED_ENTITIES: Final = 100
PARSERS: Final[dict[str, Callable[[str], Draft]]] = {
    "html": parse_html,
    "markdown": parse_markdown,
    "markdownv2": parse_markdown_v2,
}
QUOTES: Final = {"blockquote", "expandable_blockquote"}
# What a found entity may not cross.
CONTINUOUS: Final = {"code", "pre", "text_link", "text_mention", "custom_emoji", "url", "mention"}
DOMAIN: Final = r"(?:[^\W_](?:[\w-]*[^\W_])?\.)+"
TOP_LEVEL: Final = r"(?:com|org|net|info|io|me|dev|app|edu|gov|cn|tw|hk|ru|ua|de|uk|eu|us|рф|xyz)\b"
PATH: Final = r"(?::\d+)?(?:[/?#][^\s<>\"]*)?"
FOUND: Final = (
    ("url", rf"(?i)(?<![\w@])https?://{DOMAIN}\w{{2,}}{PATH}"),
    ("url", rf"(?<![\w@])https?://\d{{1,3}}(?:\.\d{{1,3}}){{3}}{PATH}"),
    ("email", rf"(?<![\w.+-])[A-Za-z0-9_.+-]+@{DOMAIN}[A-Za-z]{{2,}}\b"),
    ("url", rf"(?i)(?<![\w@./-]){DOMAIN}{TOP_LEVEL}(?![\w@-]){PATH}"),
    ("mention", r"(?a)(?<!\w)@[A-Za-z]\w{2,31}\b"),
    ("bot_command", r"(?<![\w/<>])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?(?![\w/<>])"),
    ("hashtag", r"(?<!\w)#(?=\d*[^\W\d])\w{1,256}"),
    ("cashtag", r"(?a)(?<!\w)\$[A-Z]{3,8}\b"),
)
CONTROL: Final = {code: " " for code in range(ord(" ")) if code != ord("\n")}


def format_text(
    text: str, *, parse_mode: str = "", entities: object = None
) -> tuple[str, list[Json]]:
    """Make the text and the entities that Telegram would show."""
    require(len(text.encode()) <= TEXT_BYTES, "text is too long")
    text, mode = text.replace("\r", ""), parse_mode.lower()
    if not text or mode in {"", "none"}:
        given = entities if isinstance(entities, list) else []
        for entity in given:
            _check_given(entity, units(text))
        return _finish(text, given)
    require(mode in PARSERS, "unsupported parse_mode")
    draft = PARSERS[mode](text)
    return _finish(draft.text, draft.entities)


def message_text(text: str, *, parse_mode: str = "", entities: object = None) -> Json:
    """Make the fields of a text message."""
    require(text, "message text is empty")
    text, found = format_text(text, parse_mode=parse_mode, entities=entities)
    require(text.strip(), "text must be non-empty")
    require(len(text) <= TEXT_LENGTH, "message is too long")
    return {"text": text, "entities": found} if found else {"text": text}


def message_caption(text: str, *, parse_mode: str = "", entities: object = None) -> Json:
    """Make the fields of a caption; an empty one has none."""
    text, found = format_text(text, parse_mode=parse_mode, entities=entities)
    require(len(text) <= CAPTION_LENGTH, "message caption is too long")
    if not text.strip():
        return {}
    return {"caption": text, "caption_entities": found} if found else {"caption": text}


def _check_given(entity: Json, length: int) -> None:
    start, end = int(entity["offset"]), int(entity["offset"] + entity["length"])
    require(0 <= start <= end, f"receive an entity with incorrect offset {start}")
    require(
        end <= length,
        f"entity beginning at UTF-16 offset {start} ends after the end of the text "
        f"at UTF-16 offset {end}",
    )


def _finish(raw: str, entities: list[Json]) -> tuple[str, list[Json]]:
    """Clean and trim the text, fit the entities to it, and add those found without markup."""
    text = raw.translate(CONTROL).rstrip()
    entities = _fitted(entities, units(text))
    first = min((entity["offset"] for entity in entities), default=len(text))
    cut = min(len(text) - len(text.lstrip(" \n")), first)
    text = text[cut:]
    entities = [entity | {"offset": entity["offset"] - cut} for entity in entities]
    entities += _find_more(text, entities)
    entities.sort(key=lambda entity: (entity["offset"], -entity["length"]))
    return text, entities[:COUNTED_ENTITIES]


def _fitted(entities: list[Json], length: int) -> list[Json]:
    """Cut entities at the end of the text; drop empty ones and those that cross code."""
    cut = [e | {"length": min(e["length"], length - e["offset"])} for e in entities]
    kept = [entity for entity in cut if entity["length"] > 0]
    code = [entity for entity in kept if entity["type"] in {"code", "pre"}]
    return [e for e in kept if e["type"] in QUOTES or not any(_spoils(e, c) for c in code)]


def _spoils(entity: Json, code: Json) -> bool:
    """Tell whether an entity may not stand where code does; code may fill a `pre`."""
    holds = entity["type"] == "pre" and code["type"] == "code"
    return entity is not code and _cross(entity, code) and not holds


def _cross(one: Json, other: Json) -> bool:
    starts, ends = one["offset"], one["offset"] + one["length"]
    return bool(starts < other["offset"] + other["length"] and other["offset"] < ends)


def _find_more(text: str, entities: list[Json]) -> list[Json]:
    taken = [entity for entity in entities if entity["type"] in CONTINUOUS]
    found: list[Json] = []
    for kind, pattern in FOUND:
        for match in re.finditer(pattern, text):
            words = match[0].rstrip(".,:;!?'\")]") if kind == "url" else match[0]
            offset = units(text[: match.start()])
            entity: Json = {"type": kind, "offset": offset, "length": units(words)}
            if not any(_cross(entity, other) for other in taken + found):
                found.append(entity)
    return found

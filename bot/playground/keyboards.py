"""Keyboards under messages and under the text field: what Telegram takes and what it refuses."""

import re
from typing import Any, Final
from urllib.parse import urlsplit

from bot.playground.params import Json, Params
from bot.playground.refusals import Refusal

MOST_BUTTONS: Final = 100
WIDEST_ROW: Final = 8
DATA_BYTES: Final = 64
PLACEHOLDER: Final = 64
COPIED_TEXT: Final = 256
# The order in which Telegram looks for what a button does.
ACTIONS: Final = (
    "url",
    "callback_data",
    "callback_game",
    "pay",
    "switch_inline_query",
    "switch_inline_query_chosen_chat",
    "switch_inline_query_current_chat",
    "login_url",
    "web_app",
    "copy_text",
)
MAY_BE_EMPTY: Final = set(ACTIONS[2:])
SHOWN_REPLY_FIELDS: Final = (
    "keyboard",
    "is_persistent",
    "resize_keyboard",
    "one_time_keyboard",
    "input_field_placeholder",
    "selective",
)


def read_markup(params: Params, *, inline_only: bool = False) -> Json | None:
    """Read `reply_markup` into one clean keyboard, or None."""
    markup = params.document("reply_markup", kind="reply keyboard markup")
    if markup is None:
        return None
    if not isinstance(markup, dict):
        raise Refusal("Object expected as reply markup")
    clean = _clean(markup)
    if clean is not None and inline_only and "inline_keyboard" not in clean:
        raise Refusal("Inline keyboard expected")
    return clean


def check_url(url: str, *, what: str, https_only: bool = False) -> None:
    """Let through the links that Telegram opens."""
    full = url if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", url) else f"http://{url}"
    if not https_only and full.lower().startswith(("tg:", "ton:", "tonsite:")):
        return
    wrong = f"{what} '{url}' is invalid: "
    try:
        parts = urlsplit(full)
        host = parts.hostname or ""
    except ValueError:
        raise Refusal(wrong + "Wrong HTTP URL") from None
    if parts.scheme not in {"http", "https"}:
        raise Refusal(wrong + "Unsupported URL protocol")
    if https_only and parts.scheme != "https":
        raise Refusal(wrong + "Only HTTPS links are allowed")
    if "." not in host.strip(".") or re.search(r"\s", url):
        raise Refusal(wrong + "Wrong HTTP URL")


def _clean(markup: Json) -> Json | None:
    if rows := _rows(markup, "keyboard", 'Field "keyboard" must be an Array of Arrays'):
        keys = [[_reply_key(key) for key in row] for row in rows]
        _check_size(keys)
        placeholder = markup.get("input_field_placeholder", "")
        if len(placeholder) > PLACEHOLDER:
            raise Refusal("REPLY_MARKUP_PLACEHOLDER_INVALID")
        shown = {name: markup[name] for name in SHOWN_REPLY_FIELDS if markup.get(name)}
        return {**shown, "keyboard": keys}
    words = 'Field "inline_keyboard" of the InlineKeyboardMarkup must be an Array of Arrays'
    if rows := _rows(markup, "inline_keyboard", words):
        buttons = [row for row in [[_inline_button(b) for b in row] for row in rows] if row]
        _check_size(buttons)
        return {"inline_keyboard": buttons} if buttons else None
    if markup.get("remove_keyboard") or markup.get("hide_keyboard"):
        return {"remove_keyboard": True}
    if markup.get("force_reply"):
        names = ("input_field_placeholder", "selective")
        return {"force_reply": True} | {name: markup[name] for name in names if markup.get(name)}
    return None


def _rows(markup: Json, name: str, refusal: str) -> list[list[Any]]:
    rows = markup.get(name) or []
    if not isinstance(rows, list):
        raise Refusal(f'Field "{name}" must be of type Array')
    if not all(isinstance(row, list) for row in rows):
        raise Refusal(refusal)
    return rows


def _check_size(rows: list[list[Json]]) -> None:
    if sum(len(row) for row in rows) > MOST_BUTTONS:
        raise Refusal("reply markup is too long")
    if any(len(row) > WIDEST_ROW for row in rows):
        raise Refusal("REPLY_MARKUP_INVALID")


def _reply_key(key: object) -> Json:
    if isinstance(key, str):
        key = {"text": key}
    if not isinstance(key, dict):
        raise Refusal("can't parse keyboard button: KeyboardButton must be a String or an Object")
    if not isinstance(key.get("text"), str):
        raise Refusal("can't parse keyboard button: Can't find field \"text\"")
    if not key["text"].strip():
        raise Refusal("keyboard button text must be non-empty")
    if web_app := key.get("web_app"):
        check_url(str(web_app.get("url")), what="keyboard button Web App URL", https_only=True)
    return {name: value for name, value in key.items() if value or name == "text"}


def _inline_button(button: object) -> Json:
    prefix = "can't parse inline keyboard button: "
    if not isinstance(button, dict):
        raise Refusal(prefix + "InlineKeyboardButton must be an Object")
    if not isinstance(button.get("text"), str):
        raise Refusal(prefix + 'Can\'t find field "text"')
    for action in ACTIONS:
        if button.get(action) or (action in MAY_BE_EMPTY and action in button):
            break
    else:
        raise Refusal(prefix + "Text buttons are unallowed in the inline keyboard")
    if not button["text"].strip():
        raise Refusal("inline keyboard button text must be non-empty")
    value = button[action]
    if action == "callback_data" and len(str(value).encode()) > DATA_BYTES:
        raise Refusal("BUTTON_DATA_INVALID")
    if action == "url":
        check_url(str(value), what="inline keyboard button URL")
    if action in {"web_app", "login_url"}:
        kind = "Web App" if action == "web_app" else "login"
        check_url(str(value.get("url")), what=f"inline keyboard button {kind} URL", https_only=True)
    if action == "copy_text" and not 1 <= len(str(value.get("text") or "")) <= COPIED_TEXT:
        raise Refusal("BUTTON_COPY_TEXT_INVALID")
    return {"text": button["text"], action: value}

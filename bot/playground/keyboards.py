"""Keyboards under messages and under the text field: what Telegram takes and what it refuses."""

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from bot.playground.params import Json, Params
from bot.playground.refusals import Refusal, require

MOST_BUTTONS: Final = 100
WIDEST_ROW: Final = 8
DATA_BYTES: Final = 64
PLACEHOLDER: Final = 64
COPIED_TEXT: Final = range(1, 257)
# What a button may do, in the order in which Telegram looks for it; all but two may be empty.
ACTIONS: Final = ("url", "callback_data", "callback_game", "pay", "switch_inline_query",
                  "switch_inline_query_chosen_chat", "switch_inline_query_current_chat",
                  "login_url", "web_app", "copy_text")  # fmt: skip
NEVER_EMPTY: Final = {"url", "callback_data"}
REPLY_FIELDS: Final = ("is_persistent", "resize_keyboard", "one_time_keyboard",
                       "input_field_placeholder", "selective")  # fmt: skip


def read_markup(params: Params, *, inline_only: bool = False) -> Json | None:
    """Read `reply_markup` into one clean keyboard, or None."""
    markup = params.document("reply_markup", kind="reply keyboard markup")
    require(markup is None or isinstance(markup, dict), "Object expected as reply markup")
    clean = _clean(markup or {})
    inline = clean is None or "inline_keyboard" in clean
    require(inline or not inline_only, "Inline keyboard expected")
    return clean


def _clean(markup: Json) -> Json | None:
    placeholder = markup.get("input_field_placeholder") or ""
    require(len(placeholder) <= PLACEHOLDER, "REPLY_MARKUP_PLACEHOLDER_INVALID")
    shown = {name: markup[name] for name in REPLY_FIELDS if markup.get(name)}
    if rows := markup.get("keyboard"):
        words = 'Field "keyboard" must be an Array of Arrays'
        return shown | {"keyboard": _read_rows(rows, _reply_key, words)}
    if rows := markup.get("inline_keyboard"):
        words = 'Field "inline_keyboard" of the InlineKeyboardMarkup must be an Array of Arrays'
        buttons = _read_rows(rows, _inline_button, words)
        return {"inline_keyboard": buttons} if buttons else None
    if markup.get("remove_keyboard"):
        return {"remove_keyboard": True}
    return shown | {"force_reply": True} if markup.get("force_reply") else None


def _read_rows(rows: object, read: Callable[[Any], Json], words: str) -> list[list[Json]]:
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise Refusal(words)
    buttons = [[read(button) for button in row] for row in rows if row]
    require(sum(len(row) for row in buttons) <= MOST_BUTTONS, "reply markup is too long")
    require(all(len(row) <= WIDEST_ROW for row in buttons), "REPLY_MARKUP_INVALID")
    return buttons


def _reply_key(key: Any) -> Json:  # noqa: ANN401 - anything may be sent
    prefix = "can't parse keyboard button: "
    key = {"text": key} if isinstance(key, str) else key
    require(isinstance(key, dict), prefix + "KeyboardButton must be a String or an Object")
    require(isinstance(key.get("text"), str), prefix + 'Can\'t find field "text"')
    require(key["text"].strip(), "keyboard button text must be non-empty")
    if web_app := key.get("web_app"):
        _check_url(str(web_app.get("url")), what="keyboard button Web App URL", https_only=True)
    return {name: value for name, value in key.items() if value}


def _inline_button(button: Any) -> Json:  # noqa: ANN401 - anything may be sent
    prefix = "can't parse inline keyboard button: "
    require(isinstance(button, dict), prefix + "InlineKeyboardButton must be an Object")
    require(isinstance(button.get("text"), str), prefix + 'Can\'t find field "text"')
    for action in ACTIONS:
        if button.get(action) or (action in button and action not in NEVER_EMPTY):
            break
    else:
        raise Refusal(prefix + "Text buttons are unallowed in the inline keyboard")
    require(button["text"].strip(), "inline keyboard button text must be non-empty")
    value, what = button[action], "inline keyboard button "
    match action:
        case "callback_data":
            require(len(str(value).encode()) <= DATA_BYTES, "BUTTON_DATA_INVALID")
        case "url":
            _check_url(str(value), what=what + "URL")
        case "web_app" | "login_url":
            kind = "Web App" if action == "web_app" else "login"
            _check_url(str(value.get("url")), what=f"{what}{kind} URL", https_only=True)
        case "copy_text":
            require(len(str(value.get("text") or "")) in COPIED_TEXT, "BUTTON_COPY_TEXT_INVALID")
    return {"text": button["text"], action: value}


def _check_url(url: str, *, what: str, https_only: bool = False) -> None:
    """Let through the links that Telegram opens."""
    full = url if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", url) else f"http://{url}"
    if not https_only and full.lower().startswith(("tg:", "ton:", "tonsite:")):
        return
    wrong = f"{what} '{url}' is invalid: "
    try:
        parts = urlsplit(full)
        host = (parts.hostname or "").strip(".")
    except ValueError:
        raise Refusal(wrong + "Wrong HTTP URL") from None
    require(parts.scheme in {"http", "https"}, wrong + "Unsupported URL protocol")
    secure = parts.scheme == "https" or not https_only
    require(secure, wrong + "Only HTTPS links are allowed")
    require("." in host and not re.search(r"\s", url), wrong + "Wrong HTTP URL")

"""Methods that change or delete messages, and the answer to a press."""

import time
from collections.abc import Callable
from typing import Final

from bot.playground.account import Account
from bot.playground.keyboards import read_markup
from bot.playground.messages import MOST_IDS, caption_content, input_media, text_content
from bot.playground.params import Json, Params
from bot.playground.refusals import Refusal

KEPT_HOURS: Final = 48
TOAST: Final = 200
NOT_MODIFIED: Final = (
    "message is not modified: specified new message content and reply markup are exactly the same "
    "as a current content and reply markup of the message"
)
TOO_OLD: Final = "query is too old and response timeout expired or query ID is invalid"
FILES: Final = {"photo", "document", "video", "voice"}
CAPTION_FIELDS: Final = {"caption", "caption_entities"}
TEXT_FIELDS: Final = {"text", "entities"}


def _edit(
    account: Account, params: Params, fields: set[str], content: Json, *, missing: str = ""
) -> Json:
    """Replace some fields of the bot's message; without `reply_markup` its keyboard goes."""
    markup = read_markup(params, inline_only=True)
    if params.text("inline_message_id"):
        raise Refusal("MESSAGE_ID_INVALID")
    person = account.known_person(params.text("chat_id"))
    number = params.number("message_id")
    if number == 0:
        raise Refusal("message identifier is not specified")
    entry = account.entry(person["id"], number)
    if entry is None:
        raise Refusal("message to edit not found")
    if entry["out"]:
        raise Refusal("message can't be edited")
    before = entry["message"]
    if missing and not any(name in before for name in _editable(missing)):
        raise Refusal(f"there is no {missing} in the message to edit")
    dropped = fields | {"reply_markup", "edit_date"}
    message = {name: value for name, value in before.items() if name not in dropped} | content
    if markup is not None:
        message["reply_markup"] = markup
    if message == {name: value for name, value in before.items() if name != "edit_date"}:
        raise Refusal(NOT_MODIFIED)
    message["edit_date"] = int(time.time())
    account.change_entry(person["id"], entry | {"message": message})
    return message


def _editable(missing: str) -> set[str]:
    return {"text"} if missing == "text" else FILES


def edit_text(account: Account, params: Params) -> Json:
    """Answer editMessageText."""
    return _edit(account, params, TEXT_FIELDS, text_content(params), missing="text")


def edit_caption(account: Account, params: Params) -> Json:
    """Answer editMessageCaption."""
    return _edit(account, params, CAPTION_FIELDS, caption_content(params), missing="caption")


def edit_media(account: Account, params: Params) -> Json:
    """Answer editMessageMedia."""
    item = params.document("media", kind="input media")
    if not isinstance(item, dict):
        raise Refusal("can't parse InputMedia: expected an Object")
    content = input_media(account, params, item)
    return _edit(account, params, FILES | CAPTION_FIELDS, content, missing="media")


def edit_markup(account: Account, params: Params) -> Json:
    """Answer editMessageReplyMarkup."""
    return _edit(account, params, set(), {})


def _delete(account: Account, person_id: int, number: int) -> None:
    entry = account.entry(person_id, number)
    if entry is None:
        raise Refusal("message to delete not found")
    if time.time() - entry["message"]["date"] > KEPT_HOURS * 3600:
        raise Refusal("message can't be deleted")
    account.delete_entry(person_id, number)


def delete_message(account: Account, params: Params) -> bool:
    """Answer deleteMessage."""
    person = account.known_person(params.text("chat_id"))
    if params.number("message_id") == 0:
        raise Refusal("message identifier is not specified")
    _delete(account, person["id"], params.number("message_id"))
    return True


def delete_messages(account: Account, params: Params) -> bool:
    """Answer deleteMessages; those that are gone already are passed over."""
    person = account.known_person(params.text("chat_id"))
    numbers = params.document("message_ids", kind="message identifiers")
    if not isinstance(numbers, list) or not numbers:
        raise Refusal("message identifiers are not specified")
    if len(numbers) > MOST_IDS:
        raise Refusal("too many message identifiers specified")
    for number in {int(number) for number in numbers}:
        if account.entry(person["id"], number) is not None:
            _delete(account, person["id"], number)
    return True


def answer_press(account: Account, params: Params) -> bool:
    """Answer answerCallbackQuery: end the spinner, show a toast, an alert or a link."""
    query_id, text = params.text("callback_query_id"), params.text("text")
    press: Json | None = account.store.get("press", query_id)
    seconds = account.options.press_seconds
    if press is None or press["answered"] or time.time() - press["at"] > seconds:
        raise Refusal(TOO_OLD)
    if len(text) > TOAST:
        raise Refusal("MESSAGE_TOO_LONG")
    url = params.text("url")
    if url and not url.startswith((f"https://t.me/{account.profile.username}?", "tg://")):
        raise Refusal("URL_INVALID")
    account.store.put("press", query_id, press | {"answered": True})
    shared = {name: press[name] for name in ("person_id", "message_id")} | {"query_id": query_id}
    account.events.publish("spinner", **shared, on=False)
    if text or url:
        extra = {"url": url} if url else {}
        alert = params.flag("show_alert")
        account.events.publish("toast", **shared, text=text, show_alert=alert, **extra)
    return True


METHODS: Final[dict[str, Callable[[Account, Params], object]]] = {
    "editmessagetext": edit_text,
    "editmessagecaption": edit_caption,
    "editmessagemedia": edit_media,
    "editmessagereplymarkup": edit_markup,
    "deletemessage": delete_message,
    "deletemessages": delete_messages,
    "answercallbackquery": answer_press,
}

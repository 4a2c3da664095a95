"""Methods that change or delete messages, and the answer to a press."""

import time
from typing import Final

from bot.playground.account import Account, as_sent
from bot.playground.keyboards import read_markup
from bot.playground.media import PREFIXES
from bot.playground.messages import Reader
from bot.playground.params import Json, Params
from bot.playground.refusals import Refusal, require

KEPT_HOURS: Final = 48
TOAST: Final = 200
NOT_MODIFIED: Final = (
    "message is not modified: specified new message content and reply markup are exactly the same "
    "as a current content and reply markup of the message"
)
TOO_OLD: Final = "query is too old and response timeout expired or query ID is invalid"
FILES: Final = set(PREFIXES)
CAPTION: Final = {"caption", "caption_entities"}
# What an edit replaces, and what the message must hold for it.
REPLACED: Final[dict[str, tuple[set[str], set[str]]]] = {
    "text": ({"text", "entities"}, {"text"}),
    "caption": (CAPTION, FILES),
    "media": (FILES | CAPTION, FILES),
    "reply markup": (set(), {"message_id"}),
}


def edit(account: Account, params: Params, *, part: str, read: Reader) -> Json:
    """Answer an edit method: replace a part by what `read` finds; a keyboard not sent goes."""
    content, markup = read(account, params), read_markup(params, inline_only=True)
    require(not params.text("inline_message_id"), "MESSAGE_ID_INVALID")
    before = _find(account, params, "edit")
    require(not before["out"], "message can't be edited")
    replaced, needed = REPLACED[part]
    require(needed & before.keys(), f"there is no {part} in the message to edit")
    dropped = replaced | {"reply_markup"}
    after = {name: value for name, value in before.items() if name not in dropped} | content
    if markup is not None:
        after["reply_markup"] = markup
    require(after != before, NOT_MODIFIED)
    return as_sent(account.save_message(after | {"edit_date": int(time.time())}))


def _find(account: Account, params: Params, what: str) -> Json:
    person = account.known_person(params.text("chat_id"))
    number = params.number("message_id")
    require(number, "message identifier is not specified")
    message = account.message(person["id"], number)
    if message is None:
        raise Refusal(f"message to {what} not found")
    return message


def delete_message(account: Account, params: Params) -> bool:
    """Answer deleteMessage."""
    message = _find(account, params, "delete")
    young = time.time() - message["date"] <= KEPT_HOURS * 3600
    require(young, "message can't be deleted")
    account.delete_message(message["chat"]["id"], message["message_id"])
    return True


def answer_press(account: Account, params: Params) -> bool:
    """Answer answerCallbackQuery: end the spinner, show a toast, an alert or a link."""
    query_id, text, url = (params.text(name) for name in ("callback_query_id", "text", "url"))
    press: Json | None = account.store.get("press", query_id)
    if press is None or press["until"] < time.time():
        raise Refusal(TOO_OLD)
    require(len(text) <= TOAST, "MESSAGE_TOO_LONG")
    own = (f"https://t.me/{account.profile.username}?", "tg://")
    require(not url or url.startswith(own), "URL_INVALID")
    account.store.drop("press", query_id)
    account.events.publish("spinner", **press["shown"], on=False)
    if text or url:
        alert = params.flag("show_alert")
        link = {"url": url} if url else {}
        account.events.publish("toast", **press["shown"], text=text, show_alert=alert, **link)
    return True

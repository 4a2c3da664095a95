"""Methods about messages: one way to send, one to edit, and a reader for each kind of content."""

import secrets
import time
from collections.abc import Callable
from typing import Final

from bot.playground import media
from bot.playground.account import Account, as_quoted, as_sent
from bot.playground.entities import message_caption, message_text
from bot.playground.keyboards import read_markup
from bot.playground.params import Json, Params
from bot.playground.refusals import Refusal, require

Reader = Callable[[Account, Params], Json]
ALBUM: Final = range(2, 11)
ALBUM_KINDS: Final = {"photo", "document", "video"}
ACTIONS: Final = {
    "typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice",
    "record_audio", "upload_audio", "upload_document", "choose_sticker", "find_location",
    "record_video_note", "upload_video_note", "cancel",
}  # fmt: skip
FORWARDED: Final = ("text", "entities", "caption", "caption_entities", *media.PREFIXES, "location",
                    "contact", "invoice", "invoice_paid", "payload", "needs", "prices")  # fmt: skip
KEPT_HOURS: Final = 48
TOAST: Final = 200
NOT_MODIFIED: Final = (
    "message is not modified: specified new message content and reply markup are exactly the same "
    "as a current content and reply markup of the message"
)
TOO_OLD: Final = "query is too old and response timeout expired or query ID is invalid"
FILES: Final = set(media.PREFIXES)
CAPTION: Final = {"caption", "caption_entities"}
# What an edit replaces, and what the message must hold for it.
REPLACED: Final[dict[str, tuple[set[str], set[str]]]] = {
    "text": ({"text", "entities"}, {"text"}),
    "caption": (CAPTION, FILES),
    "media": (FILES | CAPTION, FILES),
    "reply markup": (set(), {"message_id"}),
}


def send(account: Account, params: Params, *, read: Reader) -> Json:
    """Answer a send method: write what `read` finds in its call."""
    return as_sent(_write(account, params, read(account, params)))


def _write(account: Account, params: Params, content: Json) -> Json:
    markup = content.get("reply_markup") or read_markup(params)
    person = account.writable_person(params.text("chat_id"))
    content = content | _reply(account, params, person["id"])
    if markup is not None and "inline_keyboard" in markup:
        content = content | {"reply_markup": markup}
    message = account.add_message(person, content, out=False)
    if markup is not None and "inline_keyboard" not in markup:
        account.show_keyboard(person["id"], None if "remove_keyboard" in markup else markup)
    return message


def _reply(account: Account, params: Params, person_id: int) -> Json:
    reply = params.document("reply_parameters", kind="reply parameters")
    if not reply:
        return {}
    message = account.message(person_id, int(reply["message_id"]))
    lenient = reply.get("allow_sending_without_reply")
    require(message or lenient, "message to be replied not found")
    return as_quoted(message)


def read_text(_: Account, params: Params) -> Json:
    """Read the text of a call."""
    return message_text(
        params.text("text"),
        parse_mode=params.text("parse_mode"),
        entities=params.document("entities"),
    )


def read_caption(_: Account, params: Params) -> Json:
    """Read the caption of a call."""
    return message_caption(
        params.text("caption"),
        parse_mode=params.text("parse_mode"),
        entities=params.document("caption_entities"),
    )


def read_file(account: Account, params: Params, *, kind: str) -> Json:
    """Read a file and its caption."""
    caption = read_caption(account, params)
    return media.from_params(account, params, kind, source=params.text(kind)) | caption


def read_forwarded(account: Account, params: Params) -> Json:
    """
    Read a message that is to be forwarded.

    An invoice can be paid there too, unless its start parameter leads back to the bot.
    """
    person = account.known_person(params.text("from_chat_id"))
    source = account.message(person["id"], params.number("message_id"))
    if source is None:
        raise Refusal("message to forward not found")
    content: Json = {name: source[name] for name in FORWARDED if name in source}
    sender, date = source["from"], source["date"]
    content["forward_origin"] = {"type": "user", "sender_user": sender, "date": date}
    if "invoice" in source:
        content |= {"reply_markup": source["reply_markup"], "invoice_paid": False}
        if start := source["invoice"]["start_parameter"]:
            url = f"https://t.me/{account.profile.username}?start={start}"
            content["reply_markup"] = {"inline_keyboard": [[{"text": "Pay", "url": url}]]}
    return content


def send_album(account: Account, params: Params) -> list[Json]:
    """Answer sendMediaGroup: one message for each file, all or none."""
    items = params.document("media")
    require(isinstance(items, list), "can't parse media JSON object: Expected an Array")
    require(items, "there are no messages to send")
    require(len(items) >= ALBUM.start, "MEDIA_EMPTY")
    require(len(items) < ALBUM.stop, "too many messages to send as an album")
    kinds = {item.get("type") for item in items}
    mixed = len(kinds) > 1 and "document" in kinds
    require(not mixed, "Document can't be mixed with other media types")
    account.writable_person(params.text("chat_id"))
    group = {"media_group_id": str(secrets.randbelow(10**17))}
    contents = [group | _read_input_media(account, params, item) for item in items]
    return [as_sent(_write(account, params, content)) for content in contents]


def read_media(account: Account, params: Params) -> Json:
    """Read what shall stand in place of a file."""
    item = params.document("media", kind="input media") or {}
    return _read_input_media(account, params, item)


def _read_input_media(account: Account, params: Params, item: Json) -> Json:
    """Read one InputMedia into the fields of a message."""
    kind, source = item.get("type"), item.get("media")
    known = kind in ALBUM_KINDS
    require(known, f'can\'t parse InputMedia: type "{kind}" is unsupported')
    require(source, "can't parse InputMedia: media not found")
    caption = read_caption(account, Params(item))
    return media.from_params(account, params, str(kind), source=str(source)) | caption


def send_chat_action(account: Account, params: Params) -> bool:
    """Answer sendChatAction."""
    action = params.text("action").lower()
    require(action in ACTIONS, "wrong parameter action in request")
    person = account.writable_person(params.text("chat_id"))
    account.show_typing(person["id"], action)
    return True


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

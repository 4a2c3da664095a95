"""Methods that write messages: text, files, places, contacts, albums, copies."""

import secrets
from typing import Final

from bot.playground import media
from bot.playground.account import Account
from bot.playground.entities import message_caption, message_text
from bot.playground.keyboards import read_markup
from bot.playground.params import Json, Params
from bot.playground.refusals import Refusal

ALBUM: Final = range(2, 11)
ACTIONS: Final = {
    "typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice",
    "record_audio", "upload_audio", "upload_document", "choose_sticker", "find_location",
    "record_video_note", "upload_video_note", "cancel",
}  # fmt: skip
COPIED: Final = ("text", "entities", "caption", "caption_entities", "photo", "document", "voice",
                 "video", "location", "contact")  # fmt: skip
MOST_IDS: Final = 100


def deliver(
    account: Account, params: Params, content: Json, *, markup: Json | None = None, **hidden: object
) -> Json:
    """Write the bot's message into a chat; answer with the message."""
    markup = markup or read_markup(params)
    person = account.writable_person(params.text("chat_id"))
    replied = _replied_message(account, params, person["id"])
    if replied is not None:
        content = content | {"reply_to_message": replied}
    if markup is not None and "inline_keyboard" in markup:
        content = content | {"reply_markup": markup}
    entry = account.add_message(person, content, out=False, **hidden)
    if markup is not None and "inline_keyboard" not in markup:
        account.show_keyboard(person["id"], None if "remove_keyboard" in markup else markup)
    message: Json = entry["message"]
    return message


def _replied_message(account: Account, params: Params, person_id: int) -> Json | None:
    reply = params.document("reply_parameters", kind="reply parameters") or {}
    if not isinstance(reply, dict):
        raise Refusal("Object expected as reply parameters")
    number = int(reply.get("message_id") or params.number("reply_to_message_id"))
    if number == 0:
        return None
    entry = account.entry(person_id, number)
    lenient = reply.get("allow_sending_without_reply") or params.flag("allow_sending_without_reply")
    if entry is None and not lenient:
        raise Refusal("message to be replied not found")
    dropped = {"reply_to_message"}
    return entry and {n: v for n, v in entry["message"].items() if n not in dropped}


def text_content(params: Params) -> Json:
    """Read the text of a call."""
    return message_text(
        params.text("text"),
        parse_mode=params.text("parse_mode"),
        entities=params.document("entities"),
    )


def caption_content(params: Params) -> Json:
    """Read the caption of a call."""
    return message_caption(
        params.text("caption"),
        parse_mode=params.text("parse_mode"),
        entities=params.document("caption_entities"),
    )


def send_message(account: Account, params: Params) -> Json:
    """Answer sendMessage."""
    return deliver(account, params, text_content(params))


def send_file(account: Account, params: Params, kind: str) -> Json:
    """Answer sendPhoto, sendDocument, sendVideo and sendVoice."""
    caption = caption_content(params)
    read_markup(params)
    account.known_person(params.text("chat_id"))
    return deliver(account, params, media.from_params(account, params, kind) | caption)


def send_location(account: Account, params: Params) -> Json:
    """Answer sendLocation."""
    for name in ("latitude", "longitude"):
        if not params.text(name).strip():
            raise Refusal(f"{name} is empty")
    place = {name: params.real(name) for name in ("latitude", "longitude")}
    return deliver(account, params, {"location": place})


def send_contact(account: Account, params: Params) -> Json:
    """Answer sendContact."""
    contact = {name: params.required(name) for name in ("phone_number", "first_name")}
    if last_name := params.text("last_name"):
        contact["last_name"] = last_name
    return deliver(account, params, {"contact": contact})


def send_media_group(account: Account, params: Params) -> list[Json]:
    """Answer sendMediaGroup: one message for each file, all or none."""
    items = params.document("media")
    if not isinstance(items, list):
        raise Refusal("can't parse media JSON object: Expected an Array of InputMedia")
    if not items:
        raise Refusal("there are no messages to send")
    if len(items) not in ALBUM:
        few = len(items) < ALBUM.start
        raise Refusal("MEDIA_EMPTY" if few else "too many messages to send as an album")
    kinds = {item.get("type") for item in items}
    if len(kinds) > 1 and "document" in kinds:
        raise Refusal("Document can't be mixed with other media types")
    account.writable_person(params.text("chat_id"))
    contents = [input_media(account, params, item) for item in items]
    group = str(secrets.randbelow(10**17))
    return [deliver(account, params, {"media_group_id": group} | c) for c in contents]


def input_media(account: Account, params: Params, item: Json) -> Json:
    """Read one InputMedia into the fields of a message."""
    kind = item.get("type")
    if kind not in {"photo", "document", "video"}:
        raise Refusal(f'can\'t parse InputMedia: type "{kind}" is unsupported')
    source = str(item.get("media") or "")
    if not source:
        raise Refusal("can't parse InputMedia: media not found")
    caption = message_caption(
        str(item.get("caption") or ""),
        parse_mode=str(item.get("parse_mode") or ""),
        entities=item.get("caption_entities"),
    )
    return media.from_params(account, params, kind, source=source) | caption


def send_chat_action(account: Account, params: Params) -> bool:
    """Answer sendChatAction."""
    action = params.text("action").lower()
    if action not in ACTIONS:
        raise Refusal("wrong parameter action in request")
    person = account.writable_person(params.text("chat_id"))
    account.show_typing(person["id"], action)
    return True


def _source_entry(account: Account, params: Params, what: str) -> Json:
    person = account.known_person(params.text("from_chat_id"))
    entry = account.entry(person["id"], params.number("message_id"))
    if entry is None:
        raise Refusal(f"message to {what} not found")
    return entry


def copy_message(account: Account, params: Params) -> Json:
    """Answer copyMessage: the content goes on, its author does not."""
    source = _source_entry(account, params, "copy")["message"]
    content = {name: source[name] for name in COPIED if name in source}
    if not content:
        raise Refusal("message can't be copied")
    if params.has("caption") and "text" not in content:
        content = {n: v for n, v in content.items() if not n.startswith("caption")}
        content |= caption_content(params)
    return {"message_id": deliver(account, params, content)["message_id"]}


def forward_message(account: Account, params: Params) -> Json:
    """
    Answer forwardMessage.

    A forwarded invoice can be paid there too, unless its start parameter leads back to the bot.
    """
    entry = _source_entry(account, params, "forward")
    source = entry["message"]
    names = (*COPIED, "invoice") + (("reply_markup",) if "invoice" in source else ())
    content = {name: source[name] for name in names if name in source}
    origin = {"type": "user", "sender_user": source["from"], "date": source["date"]}
    if start := source.get("invoice", {}).get("start_parameter"):
        url = f"https://t.me/{account.profile.username}?start={start}"
        content["reply_markup"] = {"inline_keyboard": [[{"text": "Pay", "url": url}]]}
    hidden = {name: entry[name] for name in ("payload", "needs", "prices") if name in entry}
    return deliver(account, params, {"forward_origin": origin} | content, **hidden)


def pin_message(account: Account, params: Params) -> bool:
    """Answer pinChatMessage and unpinChatMessage."""
    person = account.known_person(params.text("chat_id"))
    number = params.number("message_id")
    if number and account.entry(person["id"], number) is None:
        raise Refusal("message to pin not found")
    return True


METHODS = {
    "sendmessage": send_message,
    "sendphoto": lambda account, params: send_file(account, params, "photo"),
    "senddocument": lambda account, params: send_file(account, params, "document"),
    "sendvideo": lambda account, params: send_file(account, params, "video"),
    "sendvoice": lambda account, params: send_file(account, params, "voice"),
    "sendlocation": send_location,
    "sendcontact": send_contact,
    "sendmediagroup": send_media_group,
    "sendchataction": send_chat_action,
    "copymessage": copy_message,
    "forwardmessage": forward_message,
    "pinchatmessage": pin_message,
    "unpinchatmessage": pin_message,
}

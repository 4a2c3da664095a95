"""
What people do in their chats: write, press, send, edit, block; each act reaches the bot.

Every act may raise NotPossible, or the Refusal of what Telegram would not take.
"""

import asyncio
import re
import secrets
import time
from typing import Any, Final

from bot.playground import media
from bot.playground.account import Account, as_chat, as_user
from bot.playground.entities import TEXT_LENGTH, message_caption, message_text
from bot.playground.params import Json, Upload

PAYLOAD: Final = r"[A-Za-z0-9_-]{0,64}"
CLIENT_PATIENCE: Final = 15  # seconds after which a client stops its spinner by itself
PERSON_IDS: Final = range(1, 2**52)
TRAITS: Final = {
    "first_name": str,
    "last_name": str,
    "username": str,
    "language_code": str,
    "phone": str,
    "note": str,
    "deactivated": bool,
}


class NotPossible(Exception):
    """A person tried what their Telegram app would not let them do."""


def add_person(account: Account, fields: Json) -> Json:
    """Let a person into the playground, or change one who is there."""
    number = int(fields.get("id") or account.store.next_number("person", start=700_000_001))
    if number not in PERSON_IDS or number == account.profile.id:
        raise NotPossible("nobody can have this id")
    before = account.person(number) or {"id": number, "first_name": "", "blocked": False}
    for name, kind in TRAITS.items():
        if fields.get(name) is not None and not isinstance(fields[name], kind):
            raise NotPossible(f"{name} is not of the right kind")
    known = {name: fields[name] for name in TRAITS if name in fields}
    person = {name: value for name, value in (before | known).items() if value is not None}
    if not str(person["first_name"]).strip():
        raise NotPossible("a person needs a first name")
    return account.save_person(person)


def say(account: Account, person: Json, text: str, *, reply_to: int = 0) -> list[Json]:
    """Write a text to the bot; a long one goes as several messages."""
    text = text.strip()
    if not text:
        raise NotPossible("there is nothing to say")
    parts = [text[at : at + TEXT_LENGTH] for at in range(0, len(text), TEXT_LENGTH)]
    contents = [message_text(part) for part in parts if part.strip()]
    if (entry := account.entry(person["id"], reply_to)) is not None:
        contents[0]["reply_to_message"] = entry["message"]
    return [send(account, person, content) for content in contents]


def send(account: Account, person: Json, content: Json) -> Json:
    """Put a person's message into the chat and hand it to the bot."""
    if person["blocked"]:
        raise NotPossible("the bot is blocked: unblock or restart it first")
    account.change_conversation(person["id"], started=True)
    entry = account.add_message(person, content, out=True)
    if "force_reply" in (account.conversation(person["id"])["reply_keyboard"] or {}):
        account.show_keyboard(person["id"], None)
    account.updates.add("message", entry["message"], lane=f"chat:{person['id']}")
    message: Json = entry["message"]
    return message


def start(account: Account, person: Json, payload: str) -> Json:
    """Press START, perhaps behind a deep link; a blocked bot is unblocked by it."""
    if not re.fullmatch(PAYLOAD, payload):
        raise NotPossible("a payload has at most 64 of A-Z a-z 0-9 _ -")
    if person["blocked"]:
        person = block(account, person, blocked=False)
    return say(account, person, f"/start {payload}")[0]


def block(account: Account, person: Json, *, blocked: bool) -> Json:
    """Block or unblock the bot; it learns of it if the two ever talked."""
    if blocked == person["blocked"]:
        return person
    person = account.save_person(person | {"blocked": blocked})
    if account.conversation(person["id"])["started"]:
        states = [_membership(account, left=not blocked), _membership(account, left=blocked)]
        change = {
            "chat": as_chat(person),
            "from": as_user(person),
            "date": int(time.time()),
            "old_chat_member": states[0],
            "new_chat_member": states[1],
        }
        account.updates.add("my_chat_member", change, lane=f"member:{person['id']}")
    return person


def _membership(account: Account, *, left: bool) -> Json:
    state: Json = {"user": account.bot_user(), "status": "kicked" if left else "member"}
    return state | ({"until_date": 0} if left else {})


def press(account: Account, person: Json, message_id: int, row: int, col: int) -> Json:
    """Press a button under a message; answer with what follows from it."""
    entry = account.entry(person["id"], message_id)
    markup = (entry or {"message": {}})["message"].get("reply_markup", {})
    rows = markup.get("inline_keyboard", [])
    if not (0 <= row < len(rows) and 0 <= col < len(rows[row])):
        raise NotPossible("this button is gone")
    button: dict[str, Any] = rows[row][col]
    if "callback_data" in button:
        return press_data(account, person, message_id, str(button["callback_data"]))
    if "copy_text" in button:
        return {"copy_text": button["copy_text"]["text"]}
    for action in ("web_app", "login_url"):
        if action in button:
            return {"url": button[action]["url"]}
    if "url" in button:
        return {"url": button["url"]}
    raise NotPossible("this kind of button does nothing here")


def press_data(account: Account, person: Json, message_id: int, data: str) -> Json:
    """Send a press with any data, as a modified client can."""
    if person["blocked"]:
        raise NotPossible("the bot is blocked: unblock or restart it first")
    entry = account.entry(person["id"], message_id)
    gone = {"chat": as_chat(person), "message_id": message_id, "date": 0}
    query_id = str(10**17 + secrets.randbelow(9 * 10**17))
    known = {"person_id": person["id"], "message_id": message_id}
    expired = account.faults.take("expired_press") is not None
    account.store.put("press", query_id, known | {"at": time.time(), "answered": expired})
    query = {
        "id": query_id,
        "from": as_user(person),
        "message": entry["message"] if entry else gone,
        "chat_instance": str(account.profile.id * 1_000_003 + person["id"]),
        "data": data,
    }
    account.updates.add("callback_query", query, lane=f"press:{person['id']}")
    account.events.publish("spinner", **known, query_id=query_id, on=True)
    asyncio.get_running_loop().call_later(CLIENT_PATIENCE, _stop_spinner, account, query_id)
    return {"query_id": query_id}


def _stop_spinner(account: Account, query_id: str) -> None:
    """Stop a spinner that nobody answered, as clients do."""
    query = account.store.get("press", query_id)
    if query is not None and not query["answered"]:
        ids = {name: query[name] for name in ("person_id", "message_id")}
        account.events.publish("spinner", **ids, query_id=query_id, on=False)


def send_file(account: Account, person: Json, kind: str, upload: Upload, caption: str) -> Json:
    """Send a photo, document, voice or video to the bot."""
    if kind not in media.PREFIXES:
        raise NotPossible(f"files are sent as one of {', '.join(media.PREFIXES)}")
    content = media.take_in(account, kind, upload) | message_caption(caption)
    return send(account, person, content)


def send_contact(account: Account, person: Json, phone: str | None, user_id: int | None) -> Json:
    """Send a contact: one's own, or a number with or without a Telegram user."""
    own = phone is None or phone == person.get("phone")
    number = phone or person.get("phone")
    if not number:
        raise NotPossible("this person has no phone number")
    contact: Json = {"phone_number": number, "first_name": person["first_name"]}
    if user_id is not None or own:
        contact["user_id"] = person["id"] if user_id is None else user_id
    return send(account, person, {"contact": contact})


def edit(account: Account, person: Json, message_id: int, text: str) -> Json:
    """Change one's own text message."""
    entry = account.entry(person["id"], message_id)
    if entry is None or not entry["out"] or "text" not in entry["message"]:
        raise NotPossible("only one's own texts can be edited")
    kept = {name: value for name, value in entry["message"].items() if name != "entities"}
    message = kept | message_text(text) | {"edit_date": int(time.time())}
    account.change_entry(person["id"], entry | {"message": message})
    account.updates.add("edited_message", message, lane=f"chat:{person['id']}")
    return message


def transcript(account: Account, person: Json) -> str:
    """Write the chat down as plain text, buttons in brackets."""
    lines: list[str] = []
    for entry in account.store.latest("message", chat=person["id"]):
        message = entry["message"]
        at = time.strftime("%Y-%m-%d %H:%M", time.localtime(message["date"]))
        edited = " (edited)" if "edit_date" in message else ""
        lines.append(f"[{at}] {message['from']['first_name']}{edited}: {_in_words(message)}")
        rows = message.get("reply_markup", {}).get("inline_keyboard", [])
        lines += ["    " + " ".join(f"[{button['text']}]" for button in row) for row in rows]
    return "\n".join(lines) + "\n"


def _in_words(message: Json) -> str:
    kinds = [*media.PREFIXES, "location", "contact", "invoice", "successful_payment"]
    shown = [f"<{kind}>" for kind in kinds if kind in message]
    if "invoice" in message:
        shown.append(message["invoice"]["title"])
    words = message.get("text") or message.get("caption") or ""
    return " ".join([*shown, words]).strip().replace("\n", "\n    ")

"""
What people do in their chats: write, press, send, edit, block; each act reaches the bot.

Every act may be refused: by Telegram's server, or with 409 as by a Telegram app.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Callable
from typing import Final

from bot.playground import media
from bot.playground.account import Account, as_chat, as_quoted, as_sent, as_user
from bot.playground.entities import TEXT_LENGTH, message_caption, message_text
from bot.playground.params import Json, Params
from bot.playground.refusals import Refusal, require

PAYLOAD: Final = r"[A-Za-z0-9_-]{0,64}"
CLIENT_PATIENCE: Final = 15  # seconds after which a client stops its spinner by itself
BLOCKED: Final = "the bot is blocked: unblock or restart it first"
PERSON_IDS: Final = range(1, 2**52)
TEXTS: Final = ("first_name", "last_name", "username", "language_code", "phone", "note")
IN_WORDS: Final = (*media.PREFIXES, "location", "contact", "invoice", "successful_payment")


def new_id() -> str:
    """Make up an id for a query."""
    return str(10**17 + secrets.randbelow(9 * 10**17))


def save_person(account: Account, params: Params) -> Json:
    """Let a person into the playground, or change one who is there."""
    fields = params.values
    number = params.number("id") or account.store.next_number("person", start=700_000_001)
    free = number in PERSON_IDS and number != account.profile.id
    require(free, "nobody can have this id", code=409)
    nobody = {"id": number, "first_name": "", "blocked": False}
    person: Json = account.store.get("person", number) or nobody
    for name in TEXTS:
        is_text = isinstance(fields.get(name, ""), str | None)
        require(is_text, f"{name} is not a text", code=409)
    person |= {name: fields[name] for name in (*TEXTS, "deactivated") if name in fields}
    named = (person["first_name"] or "").strip()
    require(named, "a person needs a first name", code=409)
    return account.save_person({n: value for n, value in person.items() if value is not None})


def say(account: Account, person: Json, params: Params) -> Json:
    """Write a text to the bot; a long one goes as several messages."""
    text = params.required("text").strip()
    require(text, "there is nothing to say", code=409)
    parts = [text[at : at + TEXT_LENGTH] for at in range(0, len(text), TEXT_LENGTH)]
    contents = [message_text(part) for part in parts if part.strip()]
    contents[0] |= as_quoted(account.message(person["id"], params.number("reply_to")))
    return {"messages": [send(account, person, content) for content in contents]}


def send(account: Account, person: Json, content: Json) -> Json:
    """Put a person's message into the chat and hand it to the bot."""
    require(not person["blocked"], BLOCKED, code=409)
    account.change_conversation(person["id"], started=True)
    message = as_sent(account.add_message(person, content, out=True))
    if "force_reply" in (account.conversation(person["id"])["reply_keyboard"] or {}):
        account.show_keyboard(person["id"], None)
    account.updates.add("message", message, lane=f"chat:{person['id']}")
    return message


def start(account: Account, person: Json, params: Params) -> Json:
    """Press START, perhaps behind a deep link; a blocked bot is unblocked by it."""
    payload = params.text("payload")
    plain = re.fullmatch(PAYLOAD, payload)
    require(plain, "a payload has at most 64 of A-Z a-z 0-9 _ -", code=409)
    person = block(account, person, Params({"blocked": False}))
    return say(account, person, Params({"text": f"/start {payload}"}))


def block(account: Account, person: Json, params: Params) -> Json:
    """Block or unblock the bot; it learns of it if the two ever talked."""
    blocked = params.flag("blocked")
    if blocked == person["blocked"]:
        return person
    person = account.save_person(person | {"blocked": blocked})
    if account.conversation(person["id"])["started"]:
        member = {"user": account.bot_user(), "status": "member"}
        kicked = member | {"status": "kicked", "until_date": 0}
        change = {
            "chat": as_chat(person),
            "from": as_user(person),
            "date": int(time.time()),
            "old_chat_member": member if blocked else kicked,
            "new_chat_member": kicked if blocked else member,
        }
        account.updates.add("my_chat_member", change, lane=f"member:{person['id']}")
    return person


def press(account: Account, person: Json, params: Params) -> Json:
    """Press a button under a message; answer with what follows from it."""
    message_id, row, col = (params.number(name) for name in ("message_id", "row", "col"))
    markup = (account.message(person["id"], message_id) or {}).get("reply_markup", {})
    rows = markup.get("inline_keyboard", [])
    there = 0 <= row < len(rows) and 0 <= col < len(rows[row])
    require(there, "this button is gone", code=409)
    match rows[row][col]:
        case {"callback_data": data}:
            return press_data(account, person, Params({"message_id": message_id, "data": data}))
        case {"pay": _}:
            return {"checkout": new_id()}
        case {"copy_text": {"text": text}}:
            return {"copy_text": text}
        case {"web_app": {"url": url}} | {"login_url": {"url": url}} | {"url": url}:
            return {"url": url}
    raise Refusal("this kind of button does nothing here", code=409)


def press_data(account: Account, person: Json, params: Params) -> Json:
    """Send a press with any data, as a modified client can."""
    message_id = params.number("message_id")
    require(not person["blocked"], BLOCKED, code=409)
    message = account.message(person["id"], message_id)
    gone = {"chat": as_chat(person), "message_id": message_id, "date": 0}
    query_id = new_id()
    shown = {"person_id": person["id"], "message_id": message_id, "query_id": query_id}
    if not account.faults.take("expired_press"):
        until = time.time() + account.options.press_seconds
        account.store.put("press", query_id, {"shown": shown, "until": until})
    query = {
        "id": query_id,
        "from": as_user(person),
        "message": as_sent(message) if message else gone,
        "chat_instance": str(account.profile.id * 1_000_003 + person["id"]),
        "data": params.text("data"),
    }
    account.updates.add("callback_query", query, lane=f"press:{person['id']}")
    account.events.publish("spinner", **shown, on=True)
    asyncio.get_running_loop().call_later(CLIENT_PATIENCE, _stop_spinner, account, query_id)
    return {"query_id": query_id}


def _stop_spinner(account: Account, query_id: str) -> None:
    """Stop a spinner that nobody answered, as clients do."""
    if account.is_hung_up:
        return
    if press := account.store.get("press", query_id):
        account.events.publish("spinner", **press["shown"], on=False)


def send_file(account: Account, person: Json, params: Params) -> Json:
    """Send a photo, document, voice or video to the bot."""
    kind = params.text("kind")
    require(kind in media.PREFIXES, f"files are sent as one of {', '.join(media.PREFIXES)}")
    content = media.take_in(account, kind, params.uploads["file"])
    return send(account, person, content | message_caption(params.text("caption")))


def send_location(account: Account, person: Json, params: Params) -> Json:
    """Send a place."""
    place = {name: float(params.required(name)) for name in ("latitude", "longitude")}
    return send(account, person, {"location": place})


def send_contact(account: Account, person: Json, params: Params) -> Json:
    """Send a contact: one's own, or a number with or without a Telegram user."""
    user_id = params.number("user_id")
    number = params.text("phone_number") or person.get("phone")
    require(number, "this person has no phone number", code=409)
    contact: Json = {"phone_number": number, "first_name": person["first_name"]}
    if user_id or number == person.get("phone"):
        contact["user_id"] = user_id or person["id"]
    return send(account, person, {"contact": contact})


def edit(account: Account, person: Json, params: Params) -> Json:
    """Change one's own text message."""
    message = account.message(person["id"], params.number("message_id"))
    if message is None or not message["out"] or "text" not in message:
        raise Refusal("only one's own texts can be edited", code=409)
    message.pop("entities", None)
    message |= message_text(params.text("text")) | {"edit_date": int(time.time())}
    edited = as_sent(account.save_message(message))
    account.updates.add("edited_message", edited, lane=f"chat:{person['id']}")
    return edited


def transcript(account: Account, person: Json) -> str:
    """Write the chat down as plain text, buttons in brackets."""
    lines: list[str] = []
    for message in account.store.latest(f"message/{person['id']}"):
        at = time.strftime("%Y-%m-%d %H:%M", time.localtime(message["date"]))
        edited = " (edited)" if "edit_date" in message else ""
        shown = [f"<{kind}>" for kind in IN_WORDS if kind in message]
        title = message.get("invoice", {}).get("title", "")
        words = message.get("text") or message.get("caption") or title
        said = " ".join([*shown, words]).strip().replace("\n", "\n    ")
        lines.append(f"[{at}] {message['from']['first_name']}{edited}: {said}")
        rows = message.get("reply_markup", {}).get("inline_keyboard", [])
        lines += ["    " + " ".join(f"[{button['text']}]" for button in row) for row in rows]
    return "\n".join(lines) + "\n"


ACTS: Final[dict[str, Callable[[Account, Json, Params], Json]]] = {
    "say": say,
    "start": start,
    "press": press,
    "press_data": press_data,
    "send_contact": send_contact,
    "send_location": send_location,
    "send_file": send_file,
    "edit": edit,
    "block": block,
}

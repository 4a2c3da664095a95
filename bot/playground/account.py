"""One bot's account at the playground: its people, chats and messages."""

import asyncio
import re
import secrets
import time
from typing import Final

from bot.playground.faults import Faults
from bot.playground.journal import Events, Journal
from bot.playground.options import BotProfile, Options
from bot.playground.params import Json
from bot.playground.refusals import Refusal, require
from bot.playground.store import Store
from bot.playground.updates import Updates
from bot.playground.webhook import Webhook

CHAT_FIELDS: Final = ("id", "first_name", "last_name", "username")
# What is kept with a message and never told to the bot; the second part not even to the page.
PAGE_FIELDS: Final = {"out", "invoice_paid", "prices"}
SECRET_FIELDS: Final = {"payload", "needs"}
TYPING_SECONDS: Final = 5


class Account:
    """The chats of one bot with its people, and everything that hangs on them."""

    def __init__(self, profile: BotProfile, *, store: Store, options: Options) -> None:
        self.profile = profile
        self.store = store
        self.options = options
        self.events = Events()
        self.journal = Journal(self.events)
        self.faults = Faults(self.events)
        self.updates = Updates(store=store, options=options)
        self.webhook = Webhook(self.updates, store=store, faults=self.faults, options=options)
        self.checkouts: dict[str, asyncio.Future[str]] = {}
        self.paying: set[str] = set()
        self.is_hung_up = False
        self._typing_until: dict[int, float] = {}

    def bot_user(self) -> Json:
        """Describe the bot as the sender of a message."""
        profile = self.profile
        name = self.store.get("name", "") or profile.first_name
        return {"id": profile.id, "is_bot": True, "first_name": name, "username": profile.username}

    def save_person(self, person: Json) -> Json:
        """Keep a person and tell the page."""
        self.store.put("person", person["id"], person)
        self.events.publish("person", person=person)
        return person

    def conversation(self, person_id: int) -> Json:
        """Find the state of a person's chat with the bot."""
        found: Json | None = self.store.get("chat", person_id)
        return found or {"started": False, "reply_keyboard": None}

    def change_conversation(self, person_id: int, **fields: object) -> None:
        """Change the state of a person's chat with the bot."""
        self.store.put("chat", person_id, self.conversation(person_id) | fields)

    def show_keyboard(self, person_id: int, keyboard: Json | None) -> None:
        """Replace the keyboard below the person's text field."""
        # The same keyboard again is news: the page may have folded a one-time one away.
        if keyboard is not None or self.conversation(person_id)["reply_keyboard"] is not None:
            self.change_conversation(person_id, reply_keyboard=keyboard)
            self.events.publish("keyboard", person_id=person_id, reply_keyboard=keyboard)

    def known_person(self, chat_id: str) -> Json:
        """Find the person behind a chat id, if the bot has ever met them."""
        require(chat_id, "chat_id is empty")
        require(chat_id != str(self.profile.id), "bot can't send messages to bots", code=403)
        number = int(chat_id) if re.fullmatch(r"\d{1,15}", chat_id, re.ASCII) else 0
        person: Json | None = self.store.get("person", number)
        if person is None or not self.conversation(number)["started"]:
            raise Refusal("chat not found")
        return person

    def writable_person(self, chat_id: str) -> Json:
        """Find the person behind a chat id, if the bot may write to them now."""
        person = self.known_person(chat_id)
        require(not person.get("deactivated"), "user is deactivated", code=403)
        require(not person["blocked"], "bot was blocked by the user", code=403)
        return person

    def add_message(self, person: Json, content: Json, *, out: bool) -> Json:
        """Write a message into a person's chat; `out` tells that the person wrote it."""
        if not out:
            self._typing_until.pop(person["id"], None)
        # One counter of the bot's account gives all ids; some are skipped.
        start, step = 100 + secrets.randbelow(900), 1 + (secrets.randbelow(4) == 0)
        message: Json = {
            "message_id": self.store.next_number("message", start=start, step=step),
            "from": as_user(person) if out else self.bot_user(),
            "chat": as_chat(person),
            "date": int(time.time()),
            "out": out,
            **content,
        }
        return self.save_message(message, event="message")

    def save_message(self, message: Json, *, event: str = "edit") -> Json:
        """Keep a message and show it as it is now."""
        person_id = message["chat"]["id"]
        self.store.put(f"message/{person_id}", message["message_id"], message)
        self.events.publish(event, person_id=person_id, message=as_shown(message))
        return message

    def message(self, person_id: int, message_id: int) -> Json | None:
        """Find a message, or None."""
        found: Json | None = self.store.get(f"message/{person_id}", message_id)
        return found

    def delete_message(self, person_id: int, message_id: int) -> None:
        """Take a message out of a chat."""
        self.store.drop(f"message/{person_id}", message_id)
        self.events.publish("delete", person_id=person_id, message_id=message_id)

    def show_typing(self, person_id: int, action: str) -> None:
        """Show for a few seconds what the bot is doing."""
        self._typing_until[person_id] = time.monotonic() + TYPING_SECONDS
        self.events.publish("typing", person_id=person_id, action=action)

    def is_typing(self, person_id: int) -> bool:
        """Tell whether the bot seems to be writing to this person."""
        return self._typing_until.get(person_id, 0.0) > time.monotonic()

    def hang_up(self) -> None:
        """End what is held open, so that the server can stop."""
        self.is_hung_up = True
        self.events.close()
        self.updates.end_poll()

    def reset(self) -> None:
        """Forget chats, messages, files and waiting updates; the numbers keep growing."""
        for person in self.store.latest("person"):
            self.store.put("person", person["id"], person | {"blocked": False})
        self.store.forget("chat", "message/*", "press", "file")
        self.updates.forget_all()
        self.webhook.restart()
        self._typing_until.clear()
        self.events.publish("reset")


def as_chat(person: Json) -> Json:
    """Describe the private chat with a person."""
    return {"type": "private"} | {n: person[n] for n in CHAT_FIELDS if person.get(n)}


def as_user(person: Json) -> Json:
    """Describe a person as the sender of a message."""
    names = (*CHAT_FIELDS, "language_code")
    return {"is_bot": False} | {name: person[name] for name in names if person.get(name)}


def as_shown(message: Json) -> Json:
    """Describe a message as the page sees it."""
    return {name: value for name, value in message.items() if name not in SECRET_FIELDS}


def as_sent(message: Json) -> Json:
    """Describe a message as the bot sees it."""
    return {name: value for name, value in as_shown(message).items() if name not in PAGE_FIELDS}


def as_quoted(message: Json | None) -> Json:
    """Build the field that quotes a message in its answer; without a message there is none."""
    if message is None:
        return {}
    quoted = {name: v for name, v in as_sent(message).items() if name != "reply_to_message"}
    return {"reply_to_message": quoted}

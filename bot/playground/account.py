"""One bot's account at the playground: its people, chats and messages."""

import asyncio
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

from bot.playground.faults import Faults
from bot.playground.journal import Events, Journal
from bot.playground.options import BotProfile, Options
from bot.playground.params import Json
from bot.playground.refusals import Refusal, too_many_requests
from bot.playground.store import Store
from bot.playground.updates import Updates

USER_FIELDS: Final = ("id", "first_name", "last_name", "username", "language_code")
CHAT_FIELDS: Final = ("id", "first_name", "last_name", "username")
SHOWN_EXTRA: Final = ("out", "invoice_paid", "prices")
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
        self.updates = Updates(store=store, faults=self.faults, options=options)
        self.checkouts: dict[str, asyncio.Future[str]] = {}
        self.paying: set[str] = set()
        self._typing_until: dict[int, float] = {}
        self._sent_at: dict[str, float] = {}

    def bot_user(self) -> Json:
        """Describe the bot as the sender of a message."""
        name = self.store.get("name", "") or self.profile.first_name
        return {
            "id": self.profile.id,
            "is_bot": True,
            "first_name": name,
            "username": self.profile.username,
        }

    def people(self) -> list[Json]:
        """List everybody in the playground."""
        return self.store.latest("person")

    def person(self, person_id: int) -> Json | None:
        """Find a person, or None."""
        found: Json | None = self.store.get("person", person_id)
        return found

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
        if not chat_id:
            raise Refusal("chat_id is empty")
        if chat_id == str(self.profile.id):
            raise Refusal("bot can't send messages to bots", code=403)
        number = int(chat_id) if re.fullmatch(r"\d{1,15}", chat_id, re.ASCII) else 0
        person = self.person(number)
        if person is None or not self.conversation(number)["started"]:
            raise Refusal("chat not found")
        return person

    def writable_person(self, chat_id: str) -> Json:
        """Find the person behind a chat id, if the bot may write to them now."""
        person = self.known_person(chat_id)
        if person.get("deactivated"):
            raise Refusal("user is deactivated", code=403)
        if person["blocked"]:
            raise Refusal("bot was blocked by the user", code=403)
        return person

    def keep_pace(self, chat_id: str) -> None:
        """Refuse more than one message a second to a chat, where limits are enforced."""
        if not self.options.enforce_limits:
            return
        now = time.monotonic()
        if now - self._sent_at.get(chat_id, -1.0) < 1:
            raise too_many_requests(1)
        self._sent_at[chat_id] = now

    def add_message(self, person: Json, content: Json, *, out: bool, **hidden: object) -> Json:
        """
        Write a message into a person's chat and show it.

        `out` tells that the person wrote it; `hidden` is what the page and the bot never see.
        """
        message: Json = {
            "message_id": self.next_message_id(),
            "from": as_user(person) if out else self.bot_user(),
            "chat": as_chat(person),
            "date": int(time.time()),
            **content,
        }
        entry: Json = {"message": message, "out": out, **hidden}
        if "invoice" in content:
            entry["invoice_paid"] = False
        if not out:
            self._typing_until.pop(person["id"], None)
        self.store.put("message", message["message_id"], entry, chat=person["id"])
        self.events.publish("message", person_id=person["id"], message=as_shown(entry))
        return entry

    def next_message_id(self) -> int:
        """Take the next id from the one counter of the bot's account; some are skipped."""
        start = 100 + secrets.randbelow(900)
        return self.store.next_number("message", start=start, step=1 + (secrets.randbelow(4) == 0))

    def entry(self, person_id: int, message_id: int) -> Json | None:
        """Find a message with what is kept beside it, or None."""
        found: Json | None = self.store.get("message", message_id, chat=person_id)
        return found

    def change_entry(self, person_id: int, entry: Json) -> None:
        """Keep a changed message and show the change."""
        self.store.put("message", entry["message"]["message_id"], entry, chat=person_id)
        self.events.publish("edit", person_id=person_id, message=as_shown(entry))

    def delete_entry(self, person_id: int, message_id: int) -> None:
        """Take a message out of a chat."""
        self.store.drop("message", message_id, chat=person_id)
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
        self.events.close()
        self.updates.hang_up()

    def reset(self) -> None:
        """Forget chats, messages, files and waiting updates; the numbers keep growing."""
        for person in self.people():
            self.store.put("person", person["id"], person | {"blocked": False})
        self.store.drop_kind("chat", "message", "press", "checkout", "sheet", "file")
        self.store.forget_contents()
        self.updates.forget_all()
        self._typing_until.clear()
        self.events.publish("reset")


def as_user(person: Mapping[str, Any]) -> Json:
    """Describe a person as the sender of a message."""
    shown = {name: person[name] for name in USER_FIELDS if person.get(name)}
    return {"id": person["id"], "is_bot": False, **shown}


def as_chat(person: Mapping[str, Any]) -> Json:
    """Describe the private chat with a person."""
    shown = {name: person[name] for name in CHAT_FIELDS if person.get(name)}
    return {**shown, "type": "private"}


def as_shown(entry: Mapping[str, Any]) -> Json:
    """Describe a message for the page: as the bot sees it, plus who wrote it and what is paid."""
    extra = {name: entry[name] for name in SHOWN_EXTRA if name in entry}
    return {**entry["message"], **extra}

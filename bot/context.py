"""One turn of a conversation: who speaks, what they said, what time it is, and what is answered."""

import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot import dialogues
from bot.outgoing import ButtonIsOld, Keyboard, Outgoing, keyboard_to_json
from bot.texts import Texts
from core.accounts.models import Role
from core.accounts.service import Speaker
from core.errors import DomainError
from core.notices import service as notices
from core.notices.models import Lane


class NotAllowed(DomainError):
    """This person's roles do not include the act."""

    code = "error.not_allowed"


class WhichNumber(DomainError):
    """The command needs the number of what it is about."""

    code = "error.which_number"


class NotLinked(DomainError):
    """The act is for customers, and this person has no account yet."""

    code = "error.not_linked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """A payment that the channel's provider reports. Units: `total_minor` minor units."""

    payload: str
    currency: str
    total_minor: int
    charge_ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """
    What one update says, without Telegram's wrapping.

    `data` is a pressed button's (untrusted); `photo_ref` names a photo or picture file;
    `phone` is set only when people shared their own contact.
    """

    update_id: int
    text: str = ""
    command: str = ""
    arguments: tuple[str, ...] = ()
    data: str = ""
    message_ref: int | None = None
    photo_ref: str = ""
    phone: str = ""
    place: tuple[str, str] | None = None
    paid: Paid | None = None
    is_other: bool = False
    is_edited: bool = False


@dataclass(slots=True, kw_only=True)
class Turn:
    """
    What a handler gets: a session, a moment, a speaker, their words; and the ways to answer.

    Answers are queued in the handler's transaction and sent after it.
    """

    session: AsyncSession
    now: datetime
    speaker: Speaker
    said: Said
    texts: Texts
    step: str | None = None
    draft: dict[str, Any] = field(default_factory=dict)
    pop_up: tuple[str, bool] | None = None
    _answers: int = 0
    _is_open: bool = False

    @property
    def person_id(self) -> int:
        """The person who speaks."""
        return self.speaker.person_id

    def require(self, *roles: Role) -> None:
        """
        Go on only for somebody with one of these roles.

        Raises:
            NotAllowed: the speaker has none of them.
        """
        if not self.speaker.roles & set(roles):
            raise NotAllowed

    def expect(self, step: str) -> None:
        """
        Go on only while the dialogue stands at a step: a button of an earlier one is out of date.

        Raises:
            ButtonIsOld: the dialogue is elsewhere, or over.
        """
        if self.step != step:
            raise ButtonIsOld

    async def say(self, key: str, /, *, keyboard: Keyboard = (), **values: object) -> None:
        """Answer with a new message: the sentence for `key`."""
        await self.write(self.texts.get(key, **values), keyboard=keyboard)

    async def show(self, key: str, /, *, keyboard: Keyboard = (), **values: object) -> None:
        """Answer in the message whose button was pressed, or with a new one."""
        await self.draw(self.texts.get(key, **values), keyboard=keyboard)

    async def write(
        self,
        html: str,
        *,
        keyboard: Keyboard = (),
        reply_keys: Sequence[Sequence[dict[str, Any]]] | None = None,
    ) -> None:
        """
        Answer with a new message of HTML made by `texts`.

        `reply_keys` replaces the keys below the input field (an empty list removes them); a
        message can hold these or inline buttons.
        """
        await self._answer(
            "reply",
            {
                "text": html,
                "keyboard": keyboard_to_json(keyboard),
                **({} if reply_keys is None else {"reply_keys": reply_keys}),
            },
        )

    async def draw(self, html: str, *, keyboard: Keyboard = (), card: int | None = None) -> None:
        """Put HTML into a card, else the message whose button was pressed, else a new one."""
        card = card or (self.said.message_ref if self.said.data else None)
        edit = {"edit": card} if card else {}
        await self._answer("reply", {"text": html, "keyboard": keyboard_to_json(keyboard), **edit})

    async def send(self, kind: str, /, **params: object) -> None:
        """Answer with a message that its renderer makes when it is sent (files, cards)."""
        await self._answer(kind, params)

    async def _answer(self, kind: str, params: dict[str, Any]) -> None:
        self._answers += 1
        await notices.enqueue_for_contact(
            self.session,
            contact_id=self.speaker.contact_id,
            kind=kind,
            params=params,
            dedupe_key=f"update:{self.said.update_id}:{self._answers}",
            now=self.now,
            lane=Lane.REPLY,
        )

    def toast(self, key: str, /, **values: object) -> None:
        """Answer a press with a short line that fades."""
        self.pop_up = (self.texts.plain(key, **values), False)

    def alert(self, key: str, /, **values: object) -> None:
        """Answer a press with a dialog that the person closes."""
        self.pop_up = (self.texts.plain(key, **values), True)

    async def ask(self, step: str, /, **draft: object) -> None:
        """Wait for the person's next words at a step; `draft` is kept until then."""
        self.draft = dict(draft)
        self._is_open = True
        await dialogues.ask(
            self.session,
            contact_id=self.speaker.contact_id,
            step=step,
            draft=self.draft,
            now=self.now,
        )

    async def pick(self, choices: Sequence[int]) -> int | None:
        """Return the choice whose position in the list was typed, or say what can be typed."""
        typed = unicodedata.normalize("NFKC", self.said.text).strip()
        if typed.isascii() and typed.isdecimal() and len(typed) < 4:  # noqa: PLR2004 (no list is so long)
            position = int(typed)
            if 1 <= position <= len(choices):
                return choices[position - 1]
        await self.say("list.pick_again", count=len(choices))
        return None

    async def finish(self) -> bool:
        """Close the open question; tell whether there was one."""
        if self.step is None and not self._is_open:
            return False
        self._is_open = False
        return await dialogues.end(self.session, contact_id=self.speaker.contact_id)


PayLink = Callable[[str], str]


def no_link(_: str) -> str:
    """Return that a bill has no link to the payment page."""
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """
    For whom a message is made, in which language, and when.

    `pay_link` returns the link to the payment page of the bill with a number, empty for none.
    """

    person_id: int
    contact_id: int
    roles: frozenset[Role]
    texts: Texts
    now: datetime
    pay_link: PayLink = no_link


Handle = Callable[[Turn], Awaitable[None]]
Fallback = Callable[[Turn], Awaitable[bool]]
Render = Callable[[AsyncSession, Reader, dict[str, Any]], Awaitable[Outgoing | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """
    A typed command: who may use it (empty: everybody) and whether the menu lists it.

    Its menu line is the catalog's `menu.<command>`.
    """

    run: Handle
    roles: frozenset[Role] = frozenset()
    customers_only: bool = False
    in_menu: bool = True

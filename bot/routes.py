"""Who takes what: every command, button, dialogue step and message kind in one place."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import ModuleType
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from telegram import Bot, Update

from bot import dialogues, telegram
from bot.context import Command, Fallback, Handle, NotAllowed, NotLinked, Render, Turn
from bot.handlers import (
    account,
    away,
    bills,
    corrections,
    cuts,
    dials,
    disputes,
    exchange,
    held,
    leaks,
    losses,
    managers,
    outages,
    outlook,
    payments,
    plans,
    prepaid,
    rebilling,
    repairs,
    reports,
    runs,
    silences,
    supply,
    technician,
    usage,
)
from bot.inbox import Handled, is_second_press
from bot.outgoing import ButtonIsOld, press, read_press
from bot.texts import Texts, locale_for
from core.accounts import service as accounts
from core.accounts.service import TELEGRAM, Speaker
from core.errors import DomainError
from core.notices import service as notices

MODULES: Sequence[ModuleType] = (
    account,
    bills,
    corrections,
    rebilling,
    disputes,
    payments,
    plans,
    supply,
    usage,
    prepaid,
    outlook,
    dials,
    leaks,
    away,
    outages,
    repairs,
    reports,
    technician,
    exchange,
    managers,
    held,
    losses,
    silences,
    cuts,
    runs,
)


def _merged(name: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for module in MODULES:
        for key, value in getattr(module, name, {}).items():
            if key in merged:
                raise ValueError(f"{name} {key!r} is taken twice")
            merged[key] = value
    return merged


COMMANDS: Mapping[str, Command] = _merged("COMMANDS")
PRESSES: Mapping[str, Handle] = _merged("PRESSES")
STEPS: Mapping[str, Handle] = _merged("STEPS")
RENDERERS: Mapping[str, Render] = _merged("RENDERERS")
NUMBERS: Mapping[str, str] = _merged("NUMBERS")
FALLBACKS: Sequence[Fallback] = tuple(
    fallback for module in MODULES for fallback in getattr(module, "FALLBACKS", ())
)


def may_use(command: Command, speaker: Speaker) -> bool:
    """Tell whether a person's roles and rights include a command."""
    allowed = not command.roles and not command.customers_only
    allowed = allowed or bool(command.roles & speaker.roles)
    return allowed or (command.customers_only and speaker.is_customer)


async def route(turn: Turn) -> None:
    """Give a person's words to the one handler that takes them."""
    said = turn.said
    if said.is_edited:  # what it was before may have been done already
        await turn.say("error.edited")
    elif said.data:
        await _route_press(turn)
    elif said.paid is not None:
        await STEPS["payment.paid"](turn)
    elif said.command:
        await _run(turn, said.command)
    elif turn.step is not None and turn.step in STEPS and not said.is_other:
        await STEPS[turn.step](turn)
    else:
        await _route_words(turn)


async def _route_press(turn: Turn) -> None:
    family = turn.said.data.split(":")[0]
    if family == "go":
        (name,) = read_press(turn.said.data, str)
        await turn.finish()
        await _run(turn, name)
        return
    handler = PRESSES.get(family)
    if handler is None:
        raise ButtonIsOld
    await handler(turn)


async def _run(turn: Turn, name: str) -> None:
    command = COMMANDS.get(name)
    if command is None:
        await account.not_understood(turn)
        return
    speaks_for_operator = bool(turn.speaker.roles)
    if not may_use(command, turn.speaker):
        raise NotAllowed if command.roles or speaks_for_operator else NotLinked
    if name != "cancel":
        await turn.finish()
    await command.run(turn)


async def _route_words(turn: Turn) -> None:
    word = turn.said.text.strip().upper()
    if word[:1] in NUMBERS and word[1:].isdecimal() and word.isascii():
        turn.said = telegram.with_arguments(turn.said, word)
        await _run(turn, NUMBERS[word[:1]])
        return
    for fallback in FALLBACKS:
        if await fallback(turn):
            return
    await account.not_understood(turn)


class Conversation:
    """Handles one stored update in the inbox's transaction, or explains why it was refused."""

    def __init__(self, bot: Bot, *, default_locale: str) -> None:
        self._bot = bot
        self._default_locale = default_locale

    async def handle(
        self, session: AsyncSession, payload: dict[str, Any], now: datetime
    ) -> Handled:
        """Answer what a person said; note when they block or unblock the bot."""
        update = Update.de_json(payload, self._bot)
        if update.my_chat_member is not None:
            await self._note_membership(session, update, now)
            return Handled()
        turn = await self._open(session, update, now)
        if turn is None:
            return Handled()
        dialogue = await dialogues.find(session, contact_id=turn.speaker.contact_id, now=now)
        if dialogue is not None:
            turn.step, turn.draft = dialogue.step, dialogue.draft
        await route(turn)
        return self._after(update, turn)

    async def refuse(
        self, session: AsyncSession, payload: dict[str, Any], now: datetime, error: Exception
    ) -> Handled:
        """Tell the person why nothing was done; a dialogue stays where it was."""
        update = Update.de_json(payload, self._bot)
        turn = await self._open(session, update, now)
        if turn is None:
            return Handled()
        if isinstance(error, ButtonIsOld) and await is_second_press(session, payload, now=now):
            return self._after(update, turn)
        if isinstance(error, DomainError):
            text = explain(turn.texts, error)
            if turn.said.data:
                turn.pop_up = (text, True)
            if isinstance(error, ButtonIsOld):
                keyboard = [[account.back_home(turn.texts)]]
                await turn.write(turn.texts.get("refused", reason=text), keyboard=keyboard)
            elif not turn.said.data:
                await turn.write(turn.texts.get("refused", reason=text))
        else:
            await turn.say("error.unexpected", reference=f"U{update.update_id}")
        return self._after(update, turn)

    async def _open(self, session: AsyncSession, update: Update, now: datetime) -> Turn | None:
        said = telegram.read_update(update)
        user = update.effective_user
        chat = update.effective_chat
        if said is None or user is None or chat is None or chat.type != chat.PRIVATE:
            return None
        speaker = await accounts.meet(
            session,
            channel=TELEGRAM,
            address=str(chat.id),
            name=user.full_name[:200],
            locale=locale_for(user.language_code, default=self._default_locale),
            language_code=user.language_code,
            now=now,
        )
        operator = await accounts.get_operator(session)
        texts = Texts(speaker.locale, timezone=operator.timezone, currency=operator.currency)
        turn = Turn(session=session, now=now, speaker=speaker, said=said, texts=texts)
        if speaker.has_new_language:
            await turn.send("menu.commands")
        if said.data and said.message_ref is not None:
            await notices.note_seen(
                session, contact_id=speaker.contact_id, message_ref=str(said.message_ref), now=now
            )
        return turn

    async def _note_membership(self, session: AsyncSession, update: Update, now: datetime) -> None:
        change = update.my_chat_member
        assert change is not None  # noqa: S101 (the caller looked)
        blocked = change.new_chat_member.status in {"kicked", "left"}
        await accounts.note_reachable(
            session,
            channel=TELEGRAM,
            address=str(change.chat.id),
            since=now if blocked else None,
        )

    def _after(self, update: Update, turn: Turn) -> Handled:
        query = update.callback_query
        if query is None:
            return Handled()
        text, alert = turn.pop_up or ("", False)
        return Handled(
            after=lambda: telegram.answer_press(self._bot, query.id, text=text, alert=alert)
        )


def explain(texts: Texts, refusal: DomainError) -> str:
    """Return a refusal's sentence as plain text, its values written as the language does."""
    return texts.plain(
        refusal.code, **{name: texts.value(value) for name, value in refusal.params.items()}
    )


def home_press() -> str:
    """Return the data of the button that leads to the first screen."""
    return press("go", "home")

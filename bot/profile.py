"""How the bot presents itself: name, description and command menus, per language and role."""

from collections.abc import Iterable
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from telegram import Bot, BotCommand, BotCommandScopeAllPrivateChats
from telegram.error import TelegramError

from bot import routes
from bot.context import Reader
from bot.outgoing import Outgoing
from bot.texts import Texts
from core.accounts import service as accounts
from core.accounts.service import Speaker

log = structlog.get_logger()

# Telegram knows languages by two letters, so Chinese people get the simplified form in the menu
# that they see before we know them.
_MENU_LANGUAGES = {"": "en", "zh": "zh_CN", "ru": "ru", "en": "en"}


def menu(texts: Texts, names: Iterable[str]) -> list[BotCommand]:
    """Return the menu lines of commands in a language."""
    return [BotCommand(name, texts.plain(f"menu.{name}")) for name in names]


def names_for(speaker: Speaker | None) -> list[str]:
    """Return the commands that the menu lists for a person, or for a stranger."""
    return [
        name
        for name, command in routes.COMMANDS.items()
        if command.in_menu
        and (
            routes.may_use(command, speaker)
            if speaker is not None
            else not command.roles and not command.customers_only
        )
    ]


async def introduce(bot: Bot) -> None:
    """Tell Telegram the bot's texts and the strangers' menu; a refusal here stops nothing."""
    for code, locale in _MENU_LANGUAGES.items():
        texts = Texts(locale, timezone="UTC", currency="CNY")
        try:
            await bot.set_my_commands(
                menu(texts, names_for(None)),
                scope=BotCommandScopeAllPrivateChats(),
                language_code=code or None,
            )
            await bot.set_my_description(texts.plain("profile.description"), code or None)
            await bot.set_my_short_description(texts.plain("profile.short"), code or None)
        except TelegramError as error:
            log.warning("profile.refused", language=code, reason=str(error))


async def render_commands(
    session: AsyncSession, reader: Reader, _params: dict[str, Any]
) -> Outgoing:
    """Return the person's own menu of commands, which is set and not said."""
    speaker = await accounts.get_speaker(session, contact_id=reader.contact_id)
    lines = [(name, reader.texts.plain(f"menu.{name}")) for name in names_for(speaker)]
    return Outgoing(text="", commands=lines)

"""Methods about the bot and its chats: names, descriptions, menus of commands."""

import re
from typing import Final

from bot.playground.account import Account, as_chat
from bot.playground.params import Json, Params
from bot.playground.refusals import require

MOST_COMMANDS: Final = 100
COMMAND_DESCRIPTION: Final = range(1, 257)
GIFTS: Final = ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription",
                "gifts_from_channels")  # fmt: skip
SCOPES: Final = {"default", "all_private_chats", "all_group_chats", "all_chat_administrators",
                 "chat"}  # fmt: skip
LENGTHS: Final = {"name": 64, "description": 512, "short_description": 120}


def get_me(account: Account, _: Params) -> Json:
    """Answer getMe."""
    abilities = {"can_join_groups": True, "can_read_all_group_messages": False}
    return account.bot_user() | abilities | {"supports_inline_queries": False}


def get_chat(account: Account, params: Params) -> Json:
    """Answer getChat."""
    person = account.known_person(params.text("chat_id"))
    gifts = dict.fromkeys(GIFTS, True)
    extra = {"accent_color_id": 0, "max_reaction_count": 11, "accepted_gift_types": gifts}
    return as_chat(person) | extra


def set_commands(account: Account, params: Params) -> bool:
    """Answer setMyCommands."""
    items = params.document("commands")
    is_list = isinstance(items, list)
    require(is_list, "can't parse commands JSON object: Expected an Array of BotCommand")
    key = _menu_key(account, params)
    require(len(items) <= MOST_COMMANDS, "BOT_COMMANDS_TOO_MUCH")
    account.store.put("commands", key, [_read_command(item) for item in items])
    account.events.publish("commands")
    return True


def _read_command(item: Json) -> Json:
    name = str(item.get("command")).removeprefix("/")
    description = str(item.get("description") or "").strip()
    require(re.fullmatch(r"[a-z0-9_]{1,32}", name), "BOT_COMMAND_INVALID")
    fits = len(description) in COMMAND_DESCRIPTION
    require(fits, "BOT_COMMAND_DESCRIPTION_INVALID")
    return {"command": name, "description": description}


def get_commands(account: Account, params: Params) -> list[Json]:
    """Answer getMyCommands: exactly what was set for this scope and language."""
    return account.store.get("commands", _menu_key(account, params)) or []


def delete_commands(account: Account, params: Params) -> bool:
    """Answer deleteMyCommands."""
    account.store.drop("commands", _menu_key(account, params))
    account.events.publish("commands")
    return True


def _menu_key(account: Account, params: Params) -> str:
    """Name the menu of a scope and language."""
    scope = params.document("scope", kind="BotCommandScope") or {"type": "default"}
    kind = scope.get("type")
    require(kind in SCOPES, "can't parse BotCommandScope: Unsupported type specified")
    if kind == "chat":
        person = account.known_person(str(scope.get("chat_id") or ""))
        kind = f"chat:{person['id']}"
    return f"{kind}/{_language(params)}"


def _language(params: Params) -> str:
    code = params.text("language_code")
    require(re.fullmatch(r"(?:[a-z]{2})?", code), "invalid language code specified")
    return code


def commands_for(account: Account, person: Json) -> list[Json]:
    """Find the menu that a person sees: the first one set, from their chat to the default."""
    language = str(person.get("language_code") or "")[:2]
    for scope in (f"chat:{person['id']}", "all_private_chats", "default"):
        for key in (f"{scope}/{language}", f"{scope}/"):
            if commands := account.store.get("commands", key):
                return list(commands)
    return []


def set_text(account: Account, params: Params, *, field: str) -> bool:
    """Answer setMyName, setMyDescription and setMyShortDescription."""
    text = params.text(field)
    require(len(text) <= LENGTHS[field], f"BOT_{field.upper()}_TOO_LONG")
    account.store.put(field, _language(params), text)
    return True


def get_text(account: Account, params: Params, *, field: str) -> Json:
    """Answer getMyName, getMyDescription and getMyShortDescription."""
    return {field: bot_text(account, field, _language(params))}


def bot_text(account: Account, field: str, language: str = "") -> str:
    """Read the bot's name or a description in a language, or in the default one."""
    text = account.store.get(field, language) or account.store.get(field, "")
    return str(text or getattr(account.profile, "first_name" if field == "name" else field))

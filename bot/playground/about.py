"""Methods about the bot and its chats: names, descriptions, menus of commands."""

import re
from collections.abc import Callable
from typing import Final

from bot.playground.account import Account, as_chat
from bot.playground.params import Json, Params
from bot.playground.refusals import Refusal
from bot.playground.updates import Described

MOST_COMMANDS: Final = 100
DESCRIPTION: Final = 256
# What getMe and getChat add to the bare facts, so that strict clients can read the answer.
ABILITIES: Final = {
    "can_join_groups": True,
    "can_read_all_group_messages": False,
    "supports_inline_queries": False,
    "can_connect_to_business": False,
    "has_main_web_app": False,
    "has_topics_enabled": False,
    "allows_users_to_create_topics": False,
}
GIFTS: Final = ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription",
                "gifts_from_channels")  # fmt: skip
CHAT_SCOPES: Final = {"chat", "chat_administrators", "chat_member"}
SCOPES: Final = CHAT_SCOPES | {
    "default",
    "all_private_chats",
    "all_group_chats",
    "all_chat_administrators",
}
# The texts of a bot that differ by language: parameter, document, longest length.
TEXTS: Final = {
    "name": ("name", 64),
    "description": ("description", 512),
    "shortdescription": ("short_description", 120),
}


def get_me(account: Account, _: Params) -> Json:
    """Answer getMe."""
    return account.bot_user() | ABILITIES


def get_chat(account: Account, params: Params) -> Json:
    """Answer getChat."""
    person = account.known_person(params.text("chat_id"))
    gifts = dict.fromkeys(GIFTS, True)
    extra = {"accent_color_id": 0, "max_reaction_count": 11, "accepted_gift_types": gifts}
    return as_chat(person) | extra


def _language(params: Params) -> str:
    code = params.text("language_code")
    if not re.fullmatch(r"(?:[a-z]{2})?", code):
        raise Refusal("invalid language code specified")
    return code


def _scope(account: Account, params: Params) -> str:
    scope = params.document("scope", kind="BotCommandScope") or {"type": "default"}
    prefix = "can't parse BotCommandScope: "
    if not isinstance(scope, dict):
        raise Refusal(prefix + "BotCommandScope must be an Object")
    kind = scope.get("type")
    if kind not in SCOPES:
        raise Refusal(prefix + "Unsupported type specified")
    if kind not in CHAT_SCOPES:
        return str(kind)
    if not scope.get("chat_id"):
        raise Refusal(prefix + "Empty chat_id specified")
    person = account.known_person(str(scope["chat_id"]))
    if kind != "chat":
        raise Refusal("can't use specified scope in private chats")
    return f"chat:{person['id']}"


def _command(item: object) -> Json:
    if not isinstance(item, dict) or not item.get("command"):
        raise Refusal("can't parse BotCommand: expected an Object")
    name = str(item["command"]).removeprefix("/")
    description = str(item.get("description") or "").strip()
    if not re.fullmatch(r"[a-z0-9_]{1,32}", name):
        raise Refusal("BOT_COMMAND_INVALID")
    if not 1 <= len(description) <= DESCRIPTION:
        raise Refusal("BOT_COMMAND_DESCRIPTION_INVALID")
    return {"command": name, "description": description}


def set_commands(account: Account, params: Params) -> bool:
    """Answer setMyCommands."""
    items = params.document("commands")
    if not isinstance(items, list):
        raise Refusal("can't parse commands JSON object: Expected an Array of BotCommand")
    scope, language = _scope(account, params), _language(params)
    if len(items) > MOST_COMMANDS:
        raise Refusal("BOT_COMMANDS_TOO_MUCH")
    commands = [_command(item) for item in items]
    account.store.put("commands", f"{scope}/{language}", commands)
    account.events.publish("commands")
    return True


def get_commands(account: Account, params: Params) -> list[Json]:
    """Answer getMyCommands: exactly what was set for this scope and language."""
    scope, language = _scope(account, params), _language(params)
    return account.store.get("commands", f"{scope}/{language}") or []


def delete_commands(account: Account, params: Params) -> bool:
    """Answer deleteMyCommands."""
    account.store.drop("commands", f"{_scope(account, params)}/{_language(params)}")
    account.events.publish("commands")
    return True


def commands_for(account: Account, person: Json) -> list[Json]:
    """Find the menu that a person sees: the first one set, from their chat to the default."""
    language = str(person.get("language_code") or "")[:2]
    for scope in (f"chat:{person['id']}", "all_private_chats", "default"):
        for key in (f"{scope}/{language}", f"{scope}/"):
            if commands := account.store.get("commands", key):
                found: list[Json] = commands
                return found
    return []


def _text_setter(field: str, longest: int) -> Callable[[Account, Params], bool]:
    def set_text(account: Account, params: Params) -> bool:
        text = params.text(field)
        if len(text) > longest:
            raise Refusal(f"BOT_{field.upper()}_TOO_LONG")
        account.store.put(field, _language(params), text)
        return True

    return set_text


def _text_getter(field: str) -> Callable[[Account, Params], Json]:
    def get_text(account: Account, params: Params) -> Json:
        return {field: bot_text(account, field, _language(params))}

    return get_text


def bot_text(account: Account, field: str, language: str = "") -> str:
    """Read the bot's name or a description in a language, or in the default one."""
    profile = account.profile
    first = {"name": profile.first_name, "description": profile.description}
    text = account.store.get(field, language) or account.store.get(field, "")
    return str(text or first.get(field, profile.short_description))


def _menu_key(account: Account, params: Params) -> int:
    chat_id = params.text("chat_id")
    return int(account.known_person(chat_id)["id"]) if chat_id else 0


def set_menu_button(account: Account, params: Params) -> bool:
    """Answer setChatMenuButton."""
    button = params.document("menu_button", kind="menu button") or {"type": "default"}
    if not isinstance(button, dict) or button.get("type") not in {"default", "commands", "web_app"}:
        raise Refusal("can't parse menu button: MenuButton has unsupported type")
    account.store.put("menu_button", _menu_key(account, params), button)
    return True


def get_menu_button(account: Account, params: Params) -> Json:
    """Answer getChatMenuButton."""
    return account.store.get("menu_button", _menu_key(account, params)) or {"type": "commands"}


def set_webhook(account: Account, params: Params) -> Described:
    """Answer setWebhook."""
    return account.updates.set_webhook(params)


def delete_webhook(account: Account, params: Params) -> Described:
    """Answer deleteWebhook."""
    return account.updates.delete_webhook(params)


def webhook_info(account: Account, _: Params) -> Json:
    """Answer getWebhookInfo."""
    return account.updates.webhook_info()


def say_yes(_: Account, __: Params) -> bool:
    """Answer logOut and close, which change nothing here."""
    return True


METHODS: Final[dict[str, Callable[[Account, Params], object]]] = {
    "getme": get_me,
    "getchat": get_chat,
    "setmycommands": set_commands,
    "getmycommands": get_commands,
    "deletemycommands": delete_commands,
    "setchatmenubutton": set_menu_button,
    "getchatmenubutton": get_menu_button,
    "setwebhook": set_webhook,
    "deletewebhook": delete_webhook,
    "getwebhookinfo": webhook_info,
    "logout": say_yes,
    "close": say_yes,
}
for _method, (_field, _longest) in TEXTS.items():
    METHODS[f"setmy{_method}"] = _text_setter(_field, _longest)
    METHODS[f"getmy{_method}"] = _text_getter(_field)

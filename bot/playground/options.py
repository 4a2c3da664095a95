"""What the owner of the playground decides: who the bot is, and Telegram's times."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BotProfile:
    """Who the bot is, as its owner registered it."""

    id: int
    first_name: str
    username: str
    description: str = ""
    short_description: str = ""


@dataclass(frozen=True)
class Options:
    """The times Telegram works with, in seconds; tests shorten them."""

    checkout_seconds: float = 10
    press_seconds: float = 150
    conflict_seconds: float = 3
    retry_seconds: float = 2
    set_webhook_seconds: float = 1

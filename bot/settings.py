"""The settings: the only reader of the environment."""

import os
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

LAST_DAY_OF_ALL = 28  # every month has it
LAST_HOUR = 23


def _separated(value: object) -> object:
    return value.replace(",", " ").split() if isinstance(value, str) else value


class Settings(BaseSettings):
    """What an operator can set, each as `SHUIDIAN_NAME` in the environment or in `.env`."""

    model_config = SettingsConfigDict(env_prefix="SHUIDIAN_", env_file=".env", extra="ignore")

    state_dir: Path = Field(
        default=Path(".state"), description="Where the embedded database and the demo keep files."
    )
    database_url: str = Field(
        default="",
        description="postgresql+psycopg://user:password@host/name; empty: the embedded PostgreSQL.",
    )
    telegram_token: SecretStr = Field(
        default=SecretStr(""), description="The bot's token from BotFather; empty: no chat."
    )
    telegram_base_url: str = Field(
        default="https://api.telegram.org/bot", description="Another Bot API server, up to /bot."
    )
    telegram_base_file_url: str = Field(
        default="https://api.telegram.org/file/bot", description="Its address for files."
    )
    telegram_provider_token: SecretStr = Field(
        default=SecretStr(""), description="Payment provider's token; empty: no invoices in chat."
    )
    payment_link_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Signs the links and QR codes to the payment page (docs/payments.md); any 32"
        " random characters, the same in every process; empty: no payment page.",
    )
    payment_provider_url: str = Field(
        default="", description="Page of a provider that speaks our own protocol; empty: none."
    )
    payment_provider_secret: SecretStr = Field(
        default=SecretStr(""), description="The secret shared with that provider."
    )
    stripe_webhook_secret: SecretStr = Field(
        default=SecretStr(""), description="Stripe's signing secret, whsec_…; empty: no Stripe."
    )
    stripe_api_key: SecretStr = Field(
        default=SecretStr(""), description="Stripe's key, with which pages to pay on are opened."
    )
    stripe_api_base: str = Field(
        default="https://api.stripe.com", description="Another address of Stripe's API."
    )
    alipay_app_id: str = Field(default="", description="The operator's application at Alipay.")
    alipay_public_key: str = Field(
        default="", description="Alipay's public key, by which its notices are known; empty: none."
    )
    wechat_merchant_id: str = Field(default="", description="The operator's WeChat Pay merchant.")
    wechat_public_key: str = Field(
        default="", description="WeChat Pay's public key, by which its notices are known."
    )
    wechat_public_key_id: str = Field(default="", description="The key's id, PUB_KEY_ID_….")
    wechat_api_key: SecretStr = Field(
        default=SecretStr(""), description="The merchant's API v3 key, 32 characters."
    )
    bank_columns: str = Field(
        default="",
        description="How the bank names columns in CSV: reference=Ref, credit=Betrag, words=Zweck;"
        " the usual names are known (docs/payments.md).",
    )
    telegram_webhook_secret: SecretStr = Field(
        default=SecretStr(""), description="Secret of the webhook; empty: made from the token."
    )
    public_url: str = Field(
        default="", description="https address of this service; set: webhook, empty: polling."
    )
    host: str = Field(default="127.0.0.1", description="Address on which the service listens.")
    port: int = Field(default=8080, description="Port on which the service listens; 0: a free one.")
    roles: Annotated[frozenset[str], NoDecode, BeforeValidator(_separated)] = Field(
        default=frozenset({"web", "chat", "worker"}),
        description="What this process does, of: web, chat, worker (separated by commas).",
    )
    profiles_dir: str = Field(
        default="", description="Directory with gateway profiles of your own; see docs/gateways.md."
    )
    mqtt_url: SecretStr = Field(
        default=SecretStr(""),
        description="mqtt:// or mqtts://user:password@host of the meters' broker; empty: none.",
    )
    mqtt_client_id: str = Field(
        default="shuidian", description="The service's name at the broker, under which it queues."
    )
    operator_name: str = Field(
        default="水电服务 Water & Power", description="The operator's name, as customers read it."
    )
    hotline: str = Field(default="-", description="The number for emergencies and questions.")
    timezone: str = Field(default="Asia/Shanghai", description="The operator's time zone.")
    currency: str = Field(default="CNY", description="The operator's currency.")
    locale: str = Field(default="zh_CN", description="Language of people who have not chosen one.")
    reading_days: Annotated[tuple[int, int], NoDecode, BeforeValidator(_separated)] = Field(
        default=(25, 28),
        description="First and last day of the month on which people read their meters, 1 to 28;"
        " a bill takes no reading older than its last seven days.",
    )
    back_billing_days: int = Field(
        default=365,
        ge=30,
        description="Use older than this many days is billed only if a manager says why.",
    )
    dispute_days: int = Field(
        default=7, ge=1, le=60, description="Within how many days an objection is answered."
    )
    plan_parts_max: int = Field(
        default=6, ge=1, le=24, description="Into how many parts a debt may go; 1: no plans."
    )
    plan_part_min: Decimal = Field(
        default=Decimal(10), gt=0, description="The smallest part, in the operator's currency."
    )
    plan_days: int = Field(default=30, ge=1, le=92, description="How many days lie between parts.")
    plan_grace_days: int = Field(
        default=3, ge=1, le=30, description="Days after a missed part that break a plan."
    )
    approve_bills: bool = Field(
        default=True,
        description="A manager approves each month's bills before they are sent; false: they go out"
        " by themselves on the first of the month.",
    )
    prepaid_steps: Annotated[tuple[Decimal, ...], NoDecode, BeforeValidator(_separated)] = Field(
        default=tuple(map(Decimal, (200, 120, 100, 50, 30, 10))),
        description="Balances at which prepaid customers can be told; each picks up to two.",
    )
    emergency_credit: Decimal = Field(
        default=Decimal(20),
        ge=0,
        description="How far below zero a prepaid balance may go before a cut is proposed.",
    )
    prepaid_cut_hours: Annotated[tuple[int, int], NoDecode, BeforeValidator(_separated)] = Field(
        default=(9, 14),
        description="Hours (0 to 23) in which prepaid supply may be cut, Monday to Thursday and not"
        " before a holiday; all others are friendly.",
    )
    bridges_file: str = Field(
        default="",
        description="File of the bridges to meters on wires (docs/wire.md); empty: none.",
    )
    log_json: bool = Field(default=False, description="Log lines as JSON.")
    demo_clock: bool = Field(
        default=False, description="Follow the demo's movable clock; refused with a real token."
    )

    @field_validator("reading_days")
    @classmethod
    def _in_order(cls, days: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= days[0] <= days[1] <= LAST_DAY_OF_ALL:
            raise ValueError(f"two days of the month in order, 1 to {LAST_DAY_OF_ALL}")
        return days

    @field_validator("prepaid_steps")
    @classmethod
    def _above_zero(cls, steps: tuple[Decimal, ...]) -> tuple[Decimal, ...]:
        if len(set(steps)) != len(steps) or any(step <= 0 for step in steps):
            raise ValueError("different amounts above zero")
        return steps

    @field_validator("prepaid_cut_hours")
    @classmethod
    def _of_a_day(cls, hours: tuple[int, int]) -> tuple[int, int]:
        if not 0 <= hours[0] < hours[1] <= LAST_HOUR:
            raise ValueError(f"two hours of the day in order, 0 to {LAST_HOUR}")
        return hours

    def as_environment(self) -> dict[str, str]:
        """Return this process's environment with exactly these settings, for a child of it."""
        prefix = "SHUIDIAN_"
        own = {name: value for name, value in os.environ.items() if not name.startswith(prefix)}
        return own | {
            f"{prefix}{name.upper()}": _written(getattr(self, name))
            for name in type(self).model_fields
        }


def shell_language() -> str | None:
    """Return the language of whoever runs a command (`zh_CN`), if the shell has one."""
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    language = next((os.environ[name] for name in names if os.environ.get(name)), "")
    language = language.partition(".")[0]
    return None if language in {"", "C", "POSIX"} else language


def _written(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, frozenset):
        return ",".join(sorted(value))
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def example() -> str:
    """Return all settings with their meaning and default, as `.env.example` shows them."""
    lines = ["# Copy to .env and change what you need; every setting may also come from outside."]
    for name, field in Settings.model_fields.items():
        shown = _written(field.default)
        lines += ["", f"# {field.description}", f"#SHUIDIAN_{name.upper()}={shown}"]
    return "\n".join(lines) + "\n"

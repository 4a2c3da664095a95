"""The settings: the only reader of the environment."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


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
    telegram_webhook_secret: SecretStr = Field(
        default=SecretStr(""), description="Secret of the webhook; empty: made from the token."
    )
    public_url: str = Field(
        default="", description="https address of this service; set: webhook, empty: polling."
    )
    host: str = Field(default="127.0.0.1", description="Address on which the service listens.")
    port: int = Field(default=8080, description="Port on which the service listens; 0: a free one.")
    roles: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset({"web", "chat", "worker"}),
        description="What this process does, of: web, chat, worker (separated by commas).",
    )
    timezone: str = Field(default="Asia/Shanghai", description="The operator's time zone.")
    currency: str = Field(default="CNY", description="The operator's currency.")
    locale: str = Field(default="zh_CN", description="Language of people who have not chosen one.")
    log_json: bool = Field(default=False, description="Log lines as JSON.")
    demo_clock: bool = Field(
        default=False, description="Follow the demo's movable clock; refused with a real token."
    )

    def __init__(self, **values: object) -> None:
        roles = values.get("roles")
        if isinstance(roles, str):
            values["roles"] = frozenset(part.strip() for part in roles.split(",") if part.strip())
        super().__init__(**values)  # type: ignore[arg-type]  # pydantic checks them

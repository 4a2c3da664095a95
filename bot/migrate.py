"""Bringing a database to the newest schema, one process at a time."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import NullPool, create_engine, text

from bot import models

MIGRATIONS = Path(__file__).parent.parent / "core" / "migrations"


def config_for(url: str) -> Config:
    """Return Alembic's configuration for a database."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["url"] = url
    config.attributes["metadata"] = models.METADATA
    return config


def upgrade(url: str) -> None:
    """Run the missing migrations; others that start at the same time wait for this one."""
    with create_engine(url, poolclass=NullPool).connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(hashtextextended('shuidian.migrate', 0))"))
        command.upgrade(config_for(url), "head")

"""Alembic's entry: runs migrations on the database and metadata that `bot.migrate` names."""

import re
from typing import Any

from alembic import context
from sqlalchemy import NullPool, create_engine

SCHEMA = "shuidian"
MONTHLY = re.compile(r"(readings|samples)_\d{4}_\d{2}")  # partitions, made when they are needed


def _is_ours(name: str | None, kind: str, _parents: Any) -> bool:  # noqa: ANN401 (Alembic's form)
    if kind == "schema":
        return name == SCHEMA
    return not (kind == "table" and MONTHLY.fullmatch(name or ""))


with create_engine(context.config.attributes["url"], poolclass=NullPool).connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=context.config.attributes["metadata"],
        include_schemas=True,
        include_name=_is_ours,
        version_table_schema="public",
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()

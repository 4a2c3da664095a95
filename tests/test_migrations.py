"""The migrations build exactly what the models describe."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import NullPool, create_engine

from bot import models
from core.db import SCHEMA


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    if kind == "schema":
        return name == SCHEMA
    return not (kind == "table" and name is not None and name.startswith(("readings_", "samples_")))


def test_nothing_is_left_to_migrate(database_url: str) -> None:
    with create_engine(database_url, poolclass=NullPool).connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_schemas": True, "include_name": _is_ours}
        )
        assert compare_metadata(context, models.METADATA) == []

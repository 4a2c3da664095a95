"""Databases for tests that build the whole district, which takes seconds."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.db import Database
from tests.conftest import _admin, _url


@asynccontextmanager
async def fresh_database(server_url: str, template: str) -> AsyncIterator[Database]:
    """A database like that of the `database` fixture, for as long as the block lasts."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with _admin(server_url) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        database = Database(_url(server_url, name))
        try:
            yield database
        finally:
            await database.close()
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")

"""A database for tests that build the whole district once, which takes seconds."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import make_url

from bot.migrate import upgrade
from tests.databases import connect


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """Yield the address of an empty, migrated database, and drop it afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
    with connect(server_url) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        try:
            upgrade(url)
            yield url
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")

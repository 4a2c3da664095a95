"""A real PostgreSQL for every test: one server a run, one fresh database a test."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from core.db import Database
from core.monitoring.partitions import ensure_months
from tests.world import World, build_world


def _admin(url: str) -> psycopg.Connection:
    plain = make_url(url).set(drivername="postgresql", database="postgres")
    return psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    given = os.environ.get("SHUIDIAN_TEST_DATABASE_URL")
    if given:
        yield given
        return
    from bot.postgres import embedded  # noqa: PLC0415 (only when no server was given)

    state = Path(__file__).parent.parent / ".state" / "tests"
    with embedded(state, fsync=False, max_connections=300) as server:
        yield server.url


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    from bot.migrate import upgrade  # noqa: PLC0415 (tests without a database need no bot)

    name = f"template_{uuid.uuid4().hex[:12]}"
    with _admin(server_url) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        try:
            upgrade(_url(server_url, name))
            with ThreadPoolExecutor() as pool:  # its own loop: this fixture may run beside one
                pool.submit(asyncio.run, _make_months(_url(server_url, name))).result()
            yield name
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def _make_months(url: str) -> None:
    """Make the months about `tests.world.NOON`, for tests that write readings directly."""
    database = Database(url)
    async with database.transaction() as session:
        await ensure_months(session, [date(2026, month, 1) for month in range(9, 13)])
    await database.close()


def _url(server_url: str, name: str) -> str:
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def database_url(server_url: str, template: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    with _admin(server_url) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield _url(server_url, name)
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def world(database: Database) -> World:
    """A street with two homes, both services, a neighbour, a technician and two managers."""
    return await build_world(database)

"""One database a run, set back before every test: making a fresh one costs a hundred times more."""

import asyncio
import uuid
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any, TypeVar

import psycopg
from sqlalchemy.engine import make_url

from bot.migrate import upgrade
from core.db import Database
from core.monitoring.partitions import ensure_months
from tests.world import World, build_world

T = TypeVar("T")
TABLES = """
    SELECT format('%I.%I', nspname, relname)
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname IN ('shuidian', 'public') AND relkind IN ('r', 'p') AND NOT relispartition
      AND relname <> 'alembic_version'
    ORDER BY 1
"""
PARTITIONS = "SELECT oid::regclass::text FROM pg_class WHERE relispartition AND relkind = 'r'"
SEQUENCES = """
    SELECT format('%I.%I', schemaname, sequencename), last_value FROM pg_sequences
    WHERE schemaname IN ('shuidian', 'public')
"""


def connect(url: str) -> psycopg.Connection:
    plain = make_url(url).set(drivername="postgresql")
    return psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True)


def apart(work: Coroutine[Any, Any, T]) -> T:
    """Run work on a loop of its own: session fixtures may be made beside a running one."""
    with ThreadPoolExecutor() as pool:
        return pool.submit(asyncio.run, work).result()


class Reusable:
    """A migrated database that can be set back to empty, or to the world of `tests.world`."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._name = f"test_{uuid.uuid4().hex[:12]}"
        self.url = (
            make_url(server_url).set(database=self._name).render_as_string(hide_password=False)
        )
        with connect(server_url) as admin:
            admin.execute(f"CREATE DATABASE {self._name}")
        upgrade(self.url)
        apart(self._with_database(_make_months))
        with connect(self.url) as connection:
            self._tables = [name for (name,) in connection.execute(TABLES)]
            self._partitions = {name for (name,) in connection.execute(PARTITIONS)}
            self._back_to = {"bare": self._keep(connection, "bare")}
        self.world: World = apart(self._with_database(build_world))
        with connect(self.url) as connection:
            self._back_to["peopled"] = self._keep(connection, "peopled")

    async def _with_database(self, work: Any) -> Any:
        database = Database(self.url)
        try:
            return await work(database)
        finally:
            await database.close()

    def _keep(self, connection: psycopg.Connection, state: str) -> str:
        """Copy all rows aside, and return the SQL that brings exactly them back."""
        connection.execute(f"CREATE SCHEMA {state}")
        parts = ["SET session_replication_role = replica"]  # neither triggers nor foreign keys
        parts += [f"DELETE FROM {table}" for table in self._tables]  # noqa: S608 (our own names)
        for number, table in enumerate(self._tables):
            kept = f"{state}.t{number}"
            connection.execute(f"CREATE TABLE {kept} AS TABLE {table}")
            if connection.execute(f"SELECT FROM {kept} LIMIT 1").rowcount:
                parts.append(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE {kept}")
        for name, last in connection.execute(SEQUENCES):
            parts.append(f"SELECT setval('{name}', {last or 1}, {last is not None})")
        return "; ".join(parts)

    def set_back(self, state: str) -> None:
        """Forget whatever was done since, and whoever is still connected."""
        with connect(self.url) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            for (name,) in connection.execute(PARTITIONS).fetchall():
                if name not in self._partitions:
                    connection.execute(f"DROP TABLE {name}")
            connection.execute(self._back_to[state])

    def drop(self) -> None:
        with connect(self._server_url) as admin:
            admin.execute(f"DROP DATABASE {self._name} WITH (FORCE)")


async def _make_months(database: Database) -> None:
    """Make the months about `tests.world.NOON`, for tests that write readings directly."""
    async with database.transaction() as session:
        await ensure_months(session, [date(2026, month, 1) for month in range(9, 13)])

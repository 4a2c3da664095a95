"""The database: its engine, the base of all tables, and the only place that ends a transaction."""

import asyncio
import enum
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Date,
    DateTime,
    Enum,
    Identity,
    MetaData,
    Numeric,
    Text,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, mapped_column

SCHEMA = "shuidian"
SOLE_RETRY_SECONDS = 1

Id = Annotated[int, mapped_column(BigInteger, Identity(always=True), primary_key=True)]


def _values(members: type[enum.Enum]) -> list[str]:
    return [str(member.value) for member in members]


class Base(DeclarativeBase):
    """Common ground of all tables: one schema, exact numbers, aware moments, enums kept as text."""

    metadata = MetaData(
        schema=SCHEMA,
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        },
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: BigInteger,
        str: Text,
        date: Date,
        datetime: DateTime(timezone=True),
        Decimal: Numeric,
        dict[str, Any]: JSONB,
        list[str]: JSONB,
        list[dict[str, Any]]: JSONB,
        enum.StrEnum: Enum(
            enum.StrEnum,
            native_enum=False,
            create_constraint=False,
            length=32,
            values_callable=_values,
        ),
    }


class Database:
    """A pool of connections and the transactions on it."""

    def __init__(self, url: str, *, pool_size: int = 20) -> None:
        self.url = url
        self.engine: AsyncEngine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,  # a crowd would open connections and close them again, each time
            connect_args={"options": "-c timezone=UTC"},
        )
        event.listen(self.engine.sync_engine, "checkout", _refuse_closed)
        self._info: dict[str, Any] = {"feeds": {}}

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """
        Run a block as one transaction: commit when it ends, roll back when it raises.

        Entry points (an update, a request, a job, a command) open exactly one of these around
        one call into the core. The core flushes and never commits.
        """
        async with (
            AsyncSession(self.engine, expire_on_commit=False, info=self._info) as session,
            session.begin(),
        ):
            yield session

    @asynccontextmanager
    async def sole(self, name: str) -> AsyncIterator[AsyncConnection]:
        """
        Wait until no other process holds this name, then hold it for the block.

        The hold ends with the connection that is given, so whoever acts on it does so through it.
        Each statement on it is a transaction of its own.
        """
        lock = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
        async with self.engine.connect() as plain:
            connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
            while not await connection.scalar(lock, {"name": name}):  # noqa: ASYNC110 (another process)
                await asyncio.sleep(SOLE_RETRY_SECONDS)
            try:
                yield connection
            finally:
                await connection.invalidate()

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()


def _refuse_closed(connection: DBAPIConnection, *_: object) -> None:
    """Have the pool replace connections whose server went away; this needs no round trip."""
    idle = select.poll()
    idle.register(connection.driver_connection.fileno(), select.POLLIN)
    if idle.poll(0):  # nobody was asked anything, so this can only be the end
        raise InvalidatePoolError


@asynccontextmanager
async def undone(session: AsyncSession) -> AsyncIterator[None]:
    """Run a block and then undo all it did in the database, to see what it would do."""
    trial = await session.begin_nested()
    try:
        yield
    finally:
        if trial.is_active:
            await trial.rollback()


async def lock_for_transaction(session: AsyncSession, name: str) -> None:
    """Hold an advisory lock with this name until the transaction ends, waiting for it if needed."""
    await session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name}
    )

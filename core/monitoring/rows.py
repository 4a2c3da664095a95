"""Readings and samples into their tables, many at once, each key only once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import ARRAY, ColumnElement, Text, cast, func, literal, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from core.db import SCHEMA
from core.monitoring.models import ReadingStatus, Source

ATTEMPTS_MAX = 3
_BARE = (int, Decimal)
NULL = r"\N"  # as the text form of COPY has it


class Key(NamedTuple):
    """What makes a value one of its kind; `name` is its register or quantity."""

    meter_id: int
    name: str
    taken_at: datetime


Rows = dict[Key, Decimal]


def array(values: Iterable[object]) -> str:
    """Return values as the text of an array, which the driver would make many times slower."""
    return "{" + ",".join([_element(value) for value in values]) + "}"


def arrays(names: str, rows: Iterable[Sequence[object]]) -> dict[str, str]:
    """Return rows, of which there is at least one, column by column: a named array for each."""
    columns = zip(*rows, strict=True)
    return {name: array(column) for name, column in zip(names.split(), columns, strict=True)}


def is_among(column: InstrumentedAttribute[Any], values: Iterable[object]) -> ColumnElement[bool]:
    """Return the condition that a column has one of these values, however many they are."""
    text_of_array = literal(array(values), Text)
    return column.in_(select(func.unnest(cast(text_of_array, ARRAY(type(column.type))))))


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, _BARE):
        return str(value)
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


async def add_readings(
    session: AsyncSession, rows: Rows, *, source: Source, received_at: datetime
) -> Rows:
    """Store readings as accepted; return those whose key was taken, with the value it has."""
    more = {
        "source": ("text", source.value),
        "status": ("text", ReadingStatus.ACCEPTED.value),
        "received_at": ("timestamptz", received_at),
    }
    return await _add(session, rows, table="readings", name="register", more=more)


async def add_samples(session: AsyncSession, rows: Rows) -> Rows:
    """Store samples; return those whose key was taken, with the value it has."""
    return await _add(session, rows, table="samples", name="quantity", more={})


async def _add(
    session: AsyncSession,
    rows: Rows,
    *,
    table: str,
    name: str,
    more: Mapping[str, tuple[str, object]],
) -> Rows:
    """Copy as if every key were new, which is nearly always true and fast; else without the old."""
    columns = ", ".join(("meter_id", name, "taken_at", "value", *more))
    types = ("int8", "text", "timestamptz", "numeric", *(kind for kind, _ in more.values()))
    rest = tuple(value for _, value in more.values())
    statement = f"COPY {SCHEMA}.{table} ({columns}) FROM STDIN (FORMAT BINARY)"
    taken: Rows = {}
    for attempt in range(1, ATTEMPTS_MAX + 1):
        fresh = sorted(item for item in rows.items() if item[0] not in taken)
        try:
            async with session.begin_nested():
                await _copy(session, statement, types, [(*k, v, *rest) for k, v in fresh])
        except psycopg.errors.UniqueViolation:
            if attempt == ATTEMPTS_MAX:
                raise
            taken = await _find(session, rows, table=table, name=name)
        else:
            break
    return taken


async def _copy(
    session: AsyncSession, statement: str, types: Sequence[str], rows: Iterable[tuple[object, ...]]
) -> None:
    driver = await _driver(session)
    async with driver.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(types)
        for row in rows:
            await copy.write_row(row)


async def copy_lines(session: AsyncSession, statement: str, lines: Iterator[str]) -> int:
    """Store rows in the text form of COPY, whose keys must be new; return how many."""
    stored = 0
    for first in lines:
        driver = await _driver(session)
        async with driver.cursor() as cursor:
            async with cursor.copy(statement) as copy:
                await copy.write(first)
                for more in lines:  # the server stores some while the next are made
                    await copy.write(more)
            stored = cursor.rowcount
    return stored


async def _driver(session: AsyncSession) -> psycopg.AsyncConnection[Any]:
    raw = await (await session.connection()).get_raw_connection()
    driver: psycopg.AsyncConnection[Any] = raw.driver_connection  # type: ignore[assignment]  # ours
    return driver


async def _find(session: AsyncSession, keys: Iterable[Key], *, table: str, name: str) -> Rows:
    found = await session.execute(
        text(
            f"SELECT r.meter_id, r.{name}, r.taken_at, r.value"  # noqa: S608 (constants)
            " FROM unnest(CAST(:meters AS bigint[]), CAST(:names AS text[]),"
            " CAST(:moments AS timestamptz[])) k (meter_id, name, taken_at)"
            f" JOIN {SCHEMA}.{table} r ON r.meter_id = k.meter_id AND r.{name} = k.name"
            " AND r.taken_at = k.taken_at"
        ),
        arrays("meters names moments", keys),
    )
    return {Key(*row[:3]): row.value for row in found}

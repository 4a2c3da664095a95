"""What importing rows of files has in common: faults, agreement between rows, what changes."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from sqlalchemy import ARRAY, ColumnElement, any_, literal
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from core.db import Base, lock_for_transaction


class Fault(NamedTuple):
    """What is wrong with a row of a file: its number, its field, and why, in words of a catalog."""

    position: int
    field: str
    code: str
    params: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """
    What a file did; with a fault nothing of it may be kept. Those held are new ones, too.

    `notes` say of rows what became of them, where that is worth reading.
    """

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    held: int = 0
    faults: Sequence[Fault] = ()
    notes: Sequence[Fault] = ()


class Row(Protocol):
    """A row of a file."""

    @property
    def position(self) -> int:
        """Its number."""


R = TypeVar("R", bound=Row)
K = TypeVar("K", bound=Hashable)
B = TypeVar("B", bound=Base)


async def wait_for_others(session: AsyncSession) -> None:
    """Wait until no other file is imported: it would not see the rows of this one."""
    await lock_for_transaction(session, "import")


def agree(
    rows: Iterable[R], *, by: Callable[[R], K], fields: str, faults: list[Fault]
) -> dict[K, dict[str, Any]]:
    """Return what the rows tell together of each thing; contradictions are added to the faults."""
    told: dict[K, dict[str, Any]] = {}
    told_in: dict[tuple[K, str], int] = {}
    for row in rows:
        known = told.setdefault(by(row), {})
        for field in fields.split():
            value = getattr(row, field)
            if value is None:
                continue
            if known.setdefault(field, value) != value:
                first = {"row": told_in[by(row), field], "value": known[field]}
                faults.append(Fault(row.position, field, "import.contradicts", first))
            told_in.setdefault((by(row), field), row.position)
    return told


class Shelf:
    """Records on their way into tables: which are new, and what changes of the known ones."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._new: set[Base] = set()
        self._changes: dict[Base, dict[str, list[str]]] = {}

    def put(self, model: type[B], known: B | None, **values: object) -> B:
        """Add a record, or change a known one; None is the default, or leaves what is there."""
        told = {name: value for name, value in values.items() if value is not None}
        if known is None:
            known = model(**told)
            self._session.add(known)
            self._new.add(known)
        for name, value in told.items():
            if (was := getattr(known, name)) != value:
                setattr(known, name, value)
                self.note(known, name, was, value)
        return known

    def note(self, known: Base, name: str, was: object, value: object) -> None:
        """Remember that something about a record changes."""
        self._changes.setdefault(known, {})[name] = [str(was), str(value)]

    def changes_of(self, *records: Base) -> dict[str, list[str]]:
        """Return what changes about these records, without those that are new."""
        known = (self._changes.get(each, {}) for each in records if each not in self._new)
        return {name: change for changes in known for name, change in changes.items()}

    def is_new(self, record: Base) -> bool:
        """Tell whether a record was not known before."""
        return record in self._new


def among(column: InstrumentedAttribute[Any], values: Iterable[object]) -> ColumnElement[bool]:
    """Return the condition that a column has one of these values, however many they are."""
    return column == any_(literal(list(set(values)), ARRAY(column.type)))

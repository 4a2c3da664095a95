"""
Which messages were taken last, so that one that is sent again counts once.

A value with a clock has its moment as a key. One without counts as of its arrival, and that is
another one when the broker sends it again because our acknowledgement was lost with a crash. So
what may not have been acknowledged yet is kept with the values, in the same transaction.
"""

from collections.abc import Sequence
from hashlib import blake2b

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base


class Taken(Base):
    """The latest messages that one client of a broker has stored, as `mark_of` them."""

    __tablename__ = "mqtt_taken"

    client_id: Mapped[str] = mapped_column(primary_key=True)
    marks: Mapped[list[str]]


def mark_of(*, mid: int, topic: str, payload: bytes) -> str:
    """Return what is the same when a broker sends a message again, and of no other one nearby."""
    return blake2b(f"{mid} {topic} ".encode() + payload, digest_size=8).hexdigest()


async def load_marks(session: AsyncSession, *, client_id: str) -> list[str]:
    """Return the marks that were kept, oldest first."""
    taken = await session.get(Taken, client_id)
    return [] if taken is None else taken.marks


async def keep_marks(session: AsyncSession, marks: Sequence[str], *, client_id: str) -> None:
    """Keep marks instead of those before."""
    values = {"marks": list(marks)}
    await session.execute(
        insert(Taken)
        .values(client_id=client_id, **values)
        .on_conflict_do_update(index_elements=["client_id"], set_=values)
    )

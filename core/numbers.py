"""Numbers that people read and type: short, in one series each, without gaps."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.db import SCHEMA, Base


class Series(Base):
    """The latest number given out in a series such as `R` (repairs) or `W` (water bills)."""

    __tablename__ = "series"

    prefix: Mapped[str] = mapped_column(primary_key=True)
    latest: Mapped[int]


async def take_numbers(
    session: AsyncSession, *, prefix: str, first: int = 1001, count: int = 1
) -> list[str]:
    """
    Take the next numbers of a series, for example `R1001`.

    Locks the series until the transaction ends, so a rollback leaves no gap and two
    transactions never get the same number.
    """
    latest = await session.scalar(
        text(
            f"INSERT INTO {SCHEMA}.series (prefix, latest)"  # noqa: S608 (a constant)
            " VALUES (:prefix, :first + :count - 1)"
            " ON CONFLICT (prefix) DO UPDATE SET latest = series.latest + :count"
            " RETURNING latest"
        ),
        {"prefix": prefix, "first": first, "count": count},
    )
    assert isinstance(latest, int)  # noqa: S101 (RETURNING always gives the row)
    return [f"{prefix}{number}" for number in range(latest - count + 1, latest + 1)]

"""The demo's clock: a row that every process follows, so that time can be stopped, sped, moved."""

import asyncio
from datetime import UTC, datetime

from sqlalchemy import CheckConstraint
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from bot.clock import ScaledClock, SystemClock
from core.db import Base, Database

FOLLOW_SECONDS = 0.25


class DemoClock(Base):
    """When the clock was last set, to what, and how fast it runs (0: paused)."""

    __tablename__ = "demo_clock"
    __table_args__ = (CheckConstraint("id = 1", name="only_one"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    set_at: Mapped[datetime]
    shown_at: Mapped[datetime]
    rate: Mapped[int]


class FollowedClock(ScaledClock):
    """A clock kept in step with the row."""

    @classmethod
    def at_start(cls) -> "FollowedClock":
        """Return a clock that shows the machine's time until it has read the row."""
        now = SystemClock().now()
        return cls(set_at=now, shown_at=now)

    async def read(self, database: Database) -> None:
        """Take over what the row says."""
        async with database.transaction() as session:
            row = await session.get(DemoClock, 1)
            if row is not None:
                self.set_at = row.set_at.astimezone(UTC)
                self.shown_at = row.shown_at.astimezone(UTC)
                self.rate = row.rate

    async def follow(self, database: Database) -> None:
        """Take over what the row says, again and again, until cancelled."""
        while True:
            await self.read(database)
            await asyncio.sleep(FOLLOW_SECONDS)


async def set_clock(session: AsyncSession, *, shown_at: datetime, rate: int) -> None:
    """Set the demo's clock to a moment and a speed for every process."""
    values = {"set_at": SystemClock().now(), "shown_at": shown_at, "rate": rate}
    await session.execute(
        insert(DemoClock)
        .values(id=1, **values)
        .on_conflict_do_update(index_elements=["id"], set_=values)
    )

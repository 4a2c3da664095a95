"""
The demo's clock: a row that every process follows, so that time can be stopped, sped, moved.

Whoever owns the clock winds it: it writes the row anew every second. When nobody does (the demo
has ended, or the machine sleeps), time stands still a few seconds later.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Self

from sqlalchemy import CheckConstraint
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from bot.clock import ScaledClock, SystemClock
from core.db import Base, Database

FOLLOW_SECONDS = 0.25
WIND_SECONDS = 1
UNWOUND_AFTER = timedelta(seconds=5)


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

    _latest: datetime | None = None
    _has_read = False

    @classmethod
    def at_start(cls) -> Self:
        """Return a clock that shows the machine's time until it has read the row."""
        now = SystemClock().now()
        return cls(set_at=now, shown_at=now)

    def now(self) -> datetime:
        """
        Return the moment that this clock shows; it never goes back.

        When it is slowed, this process learns so a moment late and is ahead. It waits then: what
        was queued for now must not lie in the future.
        """
        elapsed = min(SystemClock().now() - self.set_at, UNWOUND_AFTER)
        shown = self.shown_at + elapsed * self.rate
        if self._has_read and self._latest is not None:
            shown = max(shown, self._latest)
        self._latest = shown
        return shown

    async def read(self, database: Database) -> None:
        """Take over what the row says."""
        async with database.transaction() as session:
            row = await session.get(DemoClock, 1)
            if row is not None:
                self.set_at = row.set_at.astimezone(UTC)
                self.shown_at = row.shown_at.astimezone(UTC)
                self.rate = row.rate
        if not self._has_read:
            self._has_read, self._latest = True, None

    async def follow(self, database: Database) -> None:
        """Take over what the row says, again and again, until cancelled."""
        while True:
            await self.read(database)
            await asyncio.sleep(FOLLOW_SECONDS)


class WoundClock(FollowedClock):
    """The clock in the process that owns it."""

    def __init__(self, *, set_at: datetime, shown_at: datetime, rate: int = 1) -> None:
        super().__init__(set_at=set_at, shown_at=shown_at, rate=rate)
        self._setting = asyncio.Lock()

    async def resume(self, database: Database) -> None:
        """Go on, at the usual speed, from where the row stood when the demo ended."""
        await self.read(database)
        await self.turn(database, shown_at=self.now(), rate=1)

    async def turn(
        self, database: Database, *, shown_at: datetime | None = None, rate: int | None = None
    ) -> None:
        """Set the clock to a moment, a speed or both; what is not given stays."""
        async with self._setting, database.transaction() as session:
            shown_at = shown_at or self.now()
            rate = self.rate if rate is None else rate
            await set_clock(session, shown_at=shown_at, rate=rate)
            self.set_at, self.shown_at, self.rate = SystemClock().now(), shown_at, rate

    async def wind(self, database: Database) -> None:
        """Keep the clock going, until cancelled."""
        while True:
            await asyncio.sleep(WIND_SECONDS)
            await self.turn(database)


async def set_clock(session: AsyncSession, *, shown_at: datetime, rate: int) -> None:
    """Set the demo's clock to a moment and a speed for every process."""
    values = {"set_at": SystemClock().now(), "shown_at": shown_at, "rate": rate}
    await session.execute(
        insert(DemoClock)
        .values(id=1, **values)
        .on_conflict_do_update(index_elements=["id"], set_=values)
    )

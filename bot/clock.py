"""The clock: the only place that reads the time; everything else is told it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Something that tells the time."""

    def now(self) -> datetime:
        """Return the present moment, timezone-aware in UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present moment, timezone-aware in UTC."""
        return datetime.now(UTC)


@dataclass(slots=True)
class ScaledClock:
    """
    A clock set to `shown_at` when the machine's was at `set_at`, running `rate` times as fast.

    A rate of 0 stands still.
    """

    set_at: datetime
    shown_at: datetime
    rate: int = 1

    def now(self) -> datetime:
        """Return the moment that this clock shows."""
        elapsed = datetime.now(UTC) - self.set_at
        return self.shown_at + timedelta(seconds=elapsed.total_seconds() * self.rate)

"""The keys above the phones: the clock, what goes wrong with the supply, the service itself."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from bot.demo.child import Child
    from bot.demo.clock import WoundClock
    from core.db import Database

ZONE = "Asia/Shanghai"
Action = dict[str, Any]


@dataclass(slots=True)
class _Stage:
    clock: "WoundClock"
    database: "Database"
    child: "Child"


class Panel:
    """What the page shows of the demo; empty until the demo is ready."""

    def __init__(self) -> None:
        self._stage: _Stage | None = None

    def open(self, *, clock: "WoundClock", database: "Database", child: "Child") -> None:
        """Show the keys from now on."""
        self._stage = _Stage(clock, database, child)

    def close(self) -> None:
        """Show no keys any more."""
        self._stage = None

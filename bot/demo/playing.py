"""What the demo's meters send from one moment to another. Pure but for the meters' registers."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from bot.demo.homes import ZONE
from bot.demo.signals import (
    DAY,
    HOUR,
    SLOT,
    Event,
    EventKind,
    Traits,
    sample,
    use_in_hour,
)
from core.accounts.models import Service
from core.periods import local_day, start_of_day

TOTAL = "total"
SILENCES = {EventKind.SILENT_METER, EventKind.SILENT_GATEWAY}
ITEMS_MAX = 2000
SKIPPED_FROM = timedelta(days=2)  # a longer gap is told by daily registers, up to its last day


@dataclass(slots=True, kw_only=True)
class Played:
    """A meter as it is played; `is_open` tells whether its valve or relay lets anything through."""

    id: int
    traits: Traits
    register: Decimal
    is_open: bool
    moved_at: datetime | None
    events: list[Event] = field(default_factory=list)

    def is_open_at(self, at: datetime) -> bool:
        """Tell how its switch stood at a moment."""
        return self.is_open == (self.moved_at is None or at >= self.moved_at)

    def is_silent_at(self, at: datetime) -> bool:
        """Tell whether it sends nothing at a moment."""
        return any(e.kind in SILENCES and e.runs_at(at) for e in self.events)

    def use(self, seed: int, hour: datetime) -> None:
        """Count on by what goes through in the hour that begins at a moment."""
        if self.is_open_at(hour):
            self.register += use_in_hour(seed, self.traits, hour, events=self.events)

    def read(self, at: datetime) -> list[dict[str, str]]:
        """Return what the register shows, as it is sent."""
        if self.is_silent_at(at):
            return []
        shown = {"meter": self.traits.serial, "register": TOTAL, "value": str(self.register)}
        return [shown | {"taken_at": at.isoformat()}]

    def measure(self, seed: int, at: datetime) -> list[dict[str, str]]:
        """Return the quality that is measured, as it is sent; an open relay has none."""
        is_dead = self.traits.service is Service.ELECTRICITY and not self.is_open_at(at)
        if is_dead or self.is_silent_at(at):
            return []
        value = sample(seed, self.traits, at, events=self.events)
        measured = {"meter": self.traits.serial, "quantity": self.traits.quantity.value}
        return [measured | {"value": str(value), "taken_at": at.isoformat()}]


@dataclass(slots=True)
class Batch:
    """What is sent at once, and where everything stands after it."""

    until: datetime
    readings: list[dict[str, str]] = field(default_factory=list)
    samples: list[dict[str, str]] = field(default_factory=list)
    registers: dict[int, Decimal] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many items it has."""
        return len(self.readings) + len(self.samples)


def play(
    meters: list[Played], *, seed: int, played_until: datetime, until: datetime
) -> Iterator[Batch]:
    """
    Yield what the meters send from one moment to another, in batches.

    Registers every hour and quality every ten minutes; when the gap is long, daily registers
    up to its last day. The meters count on while this goes on.
    """
    batch = Batch(played_until)
    is_long = until - played_until > SKIPPED_FROM
    dense_from = start_of_day(local_day(until - DAY, zone=ZONE), zone=ZONE)
    dense_from = dense_from if is_long else played_until
    at = played_until
    while (at := next_slot(at)) <= until:
        if at.minute == 0:
            for meter in meters:
                meter.use(seed, at - HOUR)
        if at.minute == 0 and (at > dense_from or at.astimezone(ZONE).hour == 0):
            batch.readings += [shown for meter in meters for shown in meter.read(at)]
        if at > dense_from:
            batch.samples += [shown for meter in meters for shown in meter.measure(seed, at)]
        batch.until = at
        if batch.size > ITEMS_MAX - 2 * len(meters):
            yield _closed(batch, meters)
            batch = Batch(at)
    if batch.until > played_until:
        yield _closed(batch, meters)


def next_slot(at: datetime) -> datetime:
    """Return the next moment at which anything is measured."""
    return at + SLOT - (at - datetime.min.replace(tzinfo=at.tzinfo)) % SLOT


def _closed(batch: Batch, meters: list[Played]) -> Batch:
    batch.registers = {meter.id: meter.register for meter in meters}
    return batch

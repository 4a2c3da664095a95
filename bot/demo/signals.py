"""What the demo's meters measure: the same for the same seed, meter and moment. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any
from zlib import crc32

from bot.demo.recorded import recordings
from core.accounts.models import Service
from core.monitoring.models import Quantity

BEGIN = datetime(2000, 1, 1, tzinfo=UTC)
LOCAL = timedelta(hours=8)  # the district's clock; it knows no summer time
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
SLOT = timedelta(minutes=10)
HOURS, SLOTS = 24, 144
# Share of a day's use in each hour, of a thousand.
WATER_BY_HOUR = (
    *(6, 4, 3, 3, 6, 24, 75, 90, 62, 42, 36, 48),
    *(56, 36, 28, 28, 36, 55, 82, 92, 78, 60, 34, 16),
)
ENERGY_BY_HOUR = (
    *(20, 17, 16, 16, 17, 22, 38, 44, 36, 34, 36, 46),
    *(48, 42, 38, 38, 44, 60, 84, 92, 84, 66, 40, 22),
)
# Of a hundred: heating in winter, cooling in summer.
ENERGY_BY_MONTH = (135, 130, 105, 90, 90, 110, 150, 155, 115, 90, 100, 130)
LITRES_A_HEAD, WATT_HOURS_A_HEAD, WATT_HOURS_A_HOME = 110, 1900, 1600
KPA_A_FLOOR = Decimal(29) / 3
KPA_MIN = Decimal(4)
LEAK_A_HOUR = Decimal("0.09")
BURST_A_HOUR = Decimal("0.9")
SAG = Decimal(185)
THOUSAND = 1000


class EventKind(StrEnum):
    """What can go wrong with a supply in the demo."""

    PRESSURE_DROP = "pressure_drop"
    VOLTAGE_SAG = "voltage_sag"
    LEAK = "leak"
    SILENT_METER = "silent_meter"
    SILENT_GATEWAY = "silent_gateway"
    BURST = "burst"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that goes wrong from one moment to another; a running one has no end."""

    kind: EventKind
    began_at: datetime
    ended_at: datetime | None = None

    def runs_at(self, at: datetime) -> bool:
        """Tell whether it goes on at a moment."""
        return self.began_at <= at and (self.ended_at is None or at < self.ended_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """
    What makes a meter's course its own; `recorded` names the series that its use repeats.

    Units: `lift` kPa above (or below) the street's pressure, `thirst` percent of usual use.
    """

    serial: str
    service: Service
    people: int = 3
    floor: int = 1
    lift: int = 0
    thirst: int = 100
    recorded: str | None = None

    @property
    def quantity(self) -> Quantity:
        """What of the supply's quality the meter measures."""
        return Quantity.PRESSURE if self.service is Service.WATER else Quantity.VOLTAGE


def dice(*what: object) -> int:
    """Return a number from 0 to 999, always the same for the same arguments."""
    return crc32(":".join(map(str, what)).encode()) % THOUSAND


def _local(at: datetime) -> datetime:
    return at.astimezone(UTC) + LOCAL


def _steps(at: datetime, step: timedelta) -> int:
    return (_local(at) - BEGIN) // step


def use_in_hour(
    seed: int, traits: Traits, at: datetime, *, events: Iterable[Event] = ()
) -> Decimal:
    """Return what is used in the hour that begins at a moment. Units: m³ or kWh."""
    return _uses(seed, traits, at)[_local(at).hour] + _leaked(traits, at, events)


def use_in_day(seed: int, traits: Traits, at: datetime, *, events: Iterable[Event] = ()) -> Decimal:
    """Return what is used in the local day that begins at a moment. Units: m³ or kWh."""
    leaked = (_leaked(traits, at + hour * HOUR, events) for hour in range(HOURS)) if events else ()
    return sum(_uses(seed, traits, at), Decimal(0)) + sum(leaked)


def _leaked(traits: Traits, at: datetime, events: Iterable[Event]) -> Decimal:
    running = {event.kind for event in events if event.runs_at(at)}
    if traits.service is not Service.WATER or not running & {EventKind.LEAK, EventKind.BURST}:
        return Decimal(0)
    return BURST_A_HOUR if EventKind.BURST in running else LEAK_A_HOUR


def _uses(seed: int, traits: Traits, at: datetime) -> Sequence[Decimal]:
    return _uses_on(seed, traits, (_local(at) - BEGIN).days)


@lru_cache(maxsize=1024)
def _uses_on(seed: int, traits: Traits, day: int) -> Sequence[Decimal]:
    """Return what is used in each hour of a local day."""
    if traits.recorded is not None:
        series: Sequence[Decimal] = getattr(recordings(), traits.recorded)
        start = day * HOURS % (len(series) // HOURS * HOURS)
        return [used.quantize(Decimal("0.0001")) for used in series[start : start + HOURS]]
    shares = WATER_BY_HOUR if traits.service is Service.WATER else ENERGY_BY_HOUR
    whole, total = sum(shares), _use_in_day(seed, traits, BEGIN + day * DAY)
    return [Decimal(total * share // whole) / 10_000 for share in shares]


def _use_in_day(seed: int, traits: Traits, local: datetime) -> int:
    """Return a day's use. Units: ten-thousandths of m³ or kWh."""
    mood = 750 + dice(seed, traits.serial, local.date()) // 2  # of a thousand
    if traits.service is Service.WATER:
        base = traits.people * LITRES_A_HEAD * 10
    else:
        base = traits.people * WATT_HOURS_A_HEAD + WATT_HOURS_A_HOME
        base = base * 10 * ENERGY_BY_MONTH[local.month - 1] // 100
    return base * traits.thirst * mood // (100 * THOUSAND)


def sample(seed: int, traits: Traits, at: datetime, *, events: Iterable[Event] = ()) -> Decimal:
    """Return the quality that is measured at a moment. Units: kPa (whole) or V (tenths)."""
    running = {event.kind: event for event in events if event.runs_at(at)}
    noise = dice(seed, traits.serial, _steps(at, SLOT)) - 500
    if traits.quantity is Quantity.PRESSURE:
        return _pressure(traits, at, noise, running.get(EventKind.PRESSURE_DROP))
    if EventKind.VOLTAGE_SAG in running:
        return SAG + Decimal(noise // 50) / 10
    volts = recordings().voltage
    whole_days = len(volts) // SLOTS * SLOTS
    value = volts[_steps(at, SLOT) % whole_days]
    if traits.recorded is None:
        value += Decimal(dice(seed, traits.serial) // 25 - 20 + noise // 100) / 10
    return value


def _pressure(traits: Traits, at: datetime, noise: int, drop: Event | None) -> Decimal:
    series = recordings().pressure if drop is None else recordings().burst
    step = _steps(at, SLOT) if drop is None else (at - drop.began_at) // SLOT
    value = series[step % len(series)] - traits.floor * KPA_A_FLOOR + noise // 150
    return max(value + (traits.lift if drop is None else 0), KPA_MIN).quantize(Decimal(1))


def traits_from(serial: str, service: Service, told: dict[str, Any]) -> Traits:
    """Return a meter's traits as they were kept."""
    return Traits(serial=serial, service=service, **told)

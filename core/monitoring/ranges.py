"""Meters as a batch meets them, and the normal range that counts for each."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts.models import Area, Service, ServicePoint, Supply
from core.db import lock_for_transaction
from core.errors import DomainError
from core.monitoring.models import Limit, Meter, Quantity
from core.monitoring.thresholds import Range

BOUNDLESS = Range()
# More than any home draws: the largest flow of a DN 20 meter, and three phases at 300 A.
# Units: m³ and kWh an hour.
CEILINGS = {Service.WATER: Decimal(10), Service.ELECTRICITY: Decimal(200)}
# Voltage as the rule for 220 V has it, +7 % and -10 %; pressure as most networks promise it.
# Units: as the quantity; the deadband is 2 % of the lower bound, the time twenty minutes.
USUAL: Mapping[Quantity, Mapping[str, Any]] = {
    Quantity.VOLTAGE: {
        "low": Decimal("198.0"),
        "high": Decimal("235.4"),
        "deadband": Decimal("4.0"),
        "hold_seconds": 1200,
    },
    Quantity.PRESSURE: {
        "low": Decimal(140),
        "high": Decimal(600),
        "deadband": Decimal("2.8"),
        "hold_seconds": 1200,
    },
}
LIMITS = "limits"  # the lock of whoever changes them
SWITCHED_OFF = frozenset({Supply.CUT, Supply.READY})


class LimitNotSound(DomainError):
    """A normal range needs a bound, more room than its deadband, and some time to be left."""

    code = "limit.not_sound"


class MeterFacts(NamedTuple):
    """
    A meter and the place it serves; `area_path` is that of its riser or feeder.

    What was measured before `supply_since` was measured while the supply stood otherwise.

    Units: `own_ceiling` m³ or kWh an hour.
    """

    id: int
    serial: str
    gateway_id: int | None
    digits: int
    multiplier: Decimal
    installed_at: datetime
    removed_at: datetime | None
    service_point_id: int
    service: Service
    customer_class: str
    supply: Supply
    area_path: str
    own_ceiling: Decimal | None
    supply_since: datetime | None

    @property
    def ceiling(self) -> Decimal:
        """The most by which its register can go on. Units: of the register, an hour."""
        return (self.own_ceiling or CEILINGS[self.service]) / self.multiplier


async def find_meters(session: AsyncSession, which: ColumnElement[bool]) -> list[MeterFacts]:
    """Return the meters that meet a condition."""
    connection = await session.connection()  # plain rows: a batch may need ten thousand
    rows = await connection.execute(
        select(
            Meter.id,
            Meter.serial,
            Meter.gateway_id,
            Meter.digits,
            Meter.multiplier,
            Meter.installed_at,
            Meter.removed_at,
            ServicePoint.id,
            ServicePoint.service,
            ServicePoint.customer_class,
            ServicePoint.supply,
            Area.path,
            Meter.ceiling,
            ServicePoint.supply_since,
        )
        .join(ServicePoint, ServicePoint.id == Meter.service_point_id)
        .join(Area, Area.id == ServicePoint.area_id)
        .where(which)
    )
    return [MeterFacts._make(row) for row in rows]


class Ranges:
    """The normal ranges of some meters: for each, the most specific limit."""

    def __init__(self, limits: Iterable[Limit]) -> None:
        self._by_scope = {
            (limit.quantity, limit.meter_id, limit.area_id, limit.customer_class): Range(
                low=limit.low,
                high=limit.high,
                deadband=limit.deadband,
                hold=timedelta(seconds=limit.hold_seconds),
            )
            for limit in limits
        }
        self._found: dict[tuple[Quantity, str, str], Range] = {}

    def of(self, meter: MeterFacts, quantity: Quantity) -> Range:
        """Return what is normal for a meter; without any limit, everything is."""
        own = self._by_scope.get((quantity, meter.id, None, None))
        if own is not None:
            return own
        place = (quantity, meter.area_path, meter.customer_class)
        if place not in self._found:
            self._found[place] = self._nearest(*place)
        return self._found[place]

    def _nearest(self, quantity: Quantity, path: str, customer_class: str) -> Range:
        areas = [int(area_id) for area_id in reversed(path.strip("/").split("/"))]
        for area_id in (*areas, None):
            for class_ in (customer_class, None):
                found = self._by_scope.get((quantity, None, area_id, class_))
                if found is not None:
                    return found
        return BOUNDLESS


async def load_ranges(session: AsyncSession, which: ColumnElement[bool]) -> Ranges:
    """Return the ranges of all places, and those of the meters that meet a condition."""
    return Ranges(await session.scalars(select(Limit).where(Limit.meter_id.is_(None) | which)))


async def set_limit(session: AsyncSession, wanted: Limit, *, now: datetime) -> None:
    """
    Say what is normal for a scope, in the place of what was said of exactly that scope before.

    Raises:
        LimitNotSound: nothing lies inside, the deadband leaves no way back, or it holds no time.
    """
    low, high, deadband = wanted.low, wanted.high, wanted.deadband
    least = min((bound for bound in (low, high) if bound is not None), default=Decimal(0))
    hold_min = 0 if wanted.quantity is Quantity.SILENCE else 1  # a silence lasts by itself
    is_narrow = low is not None and high is not None and high - low <= deadband
    if is_narrow or not 0 <= deadband < least or wanted.hold_seconds < hold_min:
        raise LimitNotSound
    await lock_for_transaction(session, LIMITS)
    await session.execute(
        delete(Limit).where(
            Limit.quantity == wanted.quantity,
            Limit.area_id.is_not_distinct_from(wanted.area_id),
            Limit.meter_id.is_not_distinct_from(wanted.meter_id),
            Limit.customer_class.is_not_distinct_from(wanted.customer_class),
        )
    )
    session.add(wanted)
    audit.record(
        session,
        at=now,
        actor_id=None,
        action="limit.set",
        subject=f"limit:{wanted.quantity}",
        area_id=wanted.area_id,
        meter_id=wanted.meter_id,
        customer_class=wanted.customer_class,
        **{
            name: str(getattr(wanted, name)) for name in ("low", "high", "deadband", "hold_seconds")
        },
    )
    await session.flush()


async def list_limits(session: AsyncSession) -> list[tuple[Limit, str | None, str | None]]:
    """Return all limits with the name of their area and the serial of their meter."""
    rows = await session.execute(
        select(Limit, Area.name, Meter.serial)
        .outerjoin(Area, Area.id == Limit.area_id)
        .outerjoin(Meter, Meter.id == Limit.meter_id)
        .order_by(Limit.quantity, Area.path.nulls_first(), Meter.serial.nulls_first(), Limit.id)
    )
    return [(limit, area, serial) for limit, area, serial in rows]


async def ensure_default_limits(session: AsyncSession) -> None:
    """Say what is usually normal, if nobody has said anything yet."""
    await lock_for_transaction(session, LIMITS)
    if await session.scalar(select(Limit.id).limit(1)) is None:
        session.add_all(Limit(quantity=quantity, **usual) for quantity, usual in USUAL.items())
        await session.flush()

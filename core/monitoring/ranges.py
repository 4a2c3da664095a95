"""Meters as a batch meets them, and the normal range that counts for each."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Area, Service, ServicePoint, Supply
from core.monitoring.models import Limit, Meter, Quantity
from core.monitoring.rows import is_among
from core.monitoring.thresholds import Range

BOUNDLESS = Range()
# More than any home draws: the largest flow of a DN 20 meter, and three phases at 300 A.
# Units: m³ and kWh an hour.
CEILINGS = {Service.WATER: Decimal(10), Service.ELECTRICITY: Decimal(200)}
SWITCHED_OFF = frozenset({Supply.CUT, Supply.READY})


class MeterFacts(NamedTuple):
    """
    A meter and the place it serves; `area_path` is that of its riser or feeder.

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


async def load_ranges(session: AsyncSession, *, meter_ids: Collection[int]) -> Ranges:
    """Return the ranges that can count for these meters."""
    return Ranges(
        await session.scalars(
            select(Limit).where(
                or_(
                    Limit.meter_id.is_(None),
                    is_among(Limit.meter_id, meter_ids),
                )
            )
        )
    )

"""Dangers to a home that a cut would end: a burst, a voltage that destroys. Only reads."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple, Self

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.monitoring.leak_rules import LeakKind
from core.monitoring.models import Alarm, Leak, Quantity, Sample, Side
from core.monitoring.thresholds import SILENCE_MAX
from core.supply.models import PROTECTIVE, Reason, SupplyOrder

# How far above the upper limit a voltage destroys what is plugged in: of 235.4 V it makes 264.8 V,
# where EN 50160 never goes (253 V) and protectors of appliances begin to conduct (275 V).
DESTROYING: Final = Decimal("1.125")
# The danger is over when half of that has gone: 250.1 V. One swing shall not take a cut back.
OVER: Final = Decimal("1.0625")


class Danger(NamedTuple):
    """
    What threatens a home: a leak or an alarm, since when, and how much.

    Units: `value` m³/h or V.
    """

    reason: Reason
    source_id: int
    began_at: datetime
    value: Decimal

    @classmethod
    def of(cls, order: SupplyOrder) -> Self | None:
        """Return the danger against which an order protects, as it was stored with it."""
        stored = order.inputs.get("danger")
        if order.reason not in PROTECTIVE or stored is None:
            return None
        began_at = datetime.fromisoformat(stored["began_at"])
        return cls(order.reason, stored["source_id"], began_at, Decimal(stored["value"]))

    def as_inputs(self) -> dict[str, Any]:
        """Return it as it is stored with an order."""
        stored = {"source_id": self.source_id, "value": str(self.value)}
        return {"danger": {**stored, "began_at": self.began_at.isoformat()}}


async def is_in_danger(session: AsyncSession, danger: Danger) -> bool:
    """Tell whether a danger goes on, as far as the meter says."""
    if danger.reason is Reason.BURST:
        leak = await session.get_one(Leak, danger.source_id, populate_existing=True)
        return leak.ended_at is None
    alarm = await session.get_one(Alarm, danger.source_id, populate_existing=True)
    if alarm.ended_at is not None:
        return False
    newest = await session.scalar(_newest(Sample.meter_id == alarm.meter_id))
    # A meter that has fallen silent does not say that the danger is over.
    return newest is None or newest >= alarm.limit * OVER


async def find_bursts(session: AsyncSession) -> list[tuple[int, Danger]]:
    """Return the meters of homes where a great deal of water is running, each with its danger."""
    leaks = await session.scalars(
        select(Leak).where(Leak.kind == LeakKind.BURST, Leak.ended_at.is_(None)).order_by(Leak.id)
    )
    return [
        (leak.meter_id, Danger(Reason.BURST, leak.id, leak.began_at, leak.rate)) for leak in leaks
    ]


def _newest(*conditions: ColumnElement[bool]) -> Select[Decimal]:
    """Return the query for the newest voltage."""
    return (
        select(Sample.value)
        .where(Sample.quantity == Quantity.VOLTAGE, *conditions)
        .order_by(Sample.taken_at.desc())
        .limit(1)
    )


async def find_over_voltages(session: AsyncSession, *, now: datetime) -> list[tuple[int, Danger]]:
    """Return the meters at which the voltage destroys what is plugged in, by their newest value."""
    newest = _newest(
        Sample.meter_id == Alarm.meter_id, Sample.taken_at > now - SILENCE_MAX
    ).scalar_subquery()
    rows = await session.execute(
        select(Alarm.meter_id, Alarm.id, Alarm.began_at, newest)
        .where(
            Alarm.quantity == Quantity.VOLTAGE,
            Alarm.side == Side.HIGH,
            Alarm.ended_at.is_(None),
            newest >= Alarm.limit * DESTROYING,
        )
        .order_by(Alarm.id)
    )
    return [
        (meter_id, Danger(Reason.OVER_VOLTAGE, source_id, began_at, value))
        for meter_id, source_id, began_at, value in rows
    ]

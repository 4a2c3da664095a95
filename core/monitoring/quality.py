"""Pressure and voltage as they are now and were lately, against what is normal."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.db import SCHEMA
from core.monitoring.models import SERVICE_OF, Limit, Quantity, Sample
from core.monitoring.ranges import MeterFacts, load_ranges
from core.monitoring.thresholds import SILENCE_MAX, Range

QUANTITY_OF = {service: quantity for quantity, service in SERVICE_OF.items()}


class Standing(StrEnum):
    """How the latest value stands to the normal range; unknown when the meter is silent."""

    NORMAL = "normal"
    LOW = "low"
    HIGH = "high"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """The latest value of a meter's quantity, if any, and its normal range."""

    quantity: Quantity
    value: Decimal | None
    taken_at: datetime | None
    range: Range
    standing: Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The values of a span of time, empty where there were none."""

    at: datetime
    mean: Decimal | None
    lowest: Decimal | None
    highest: Decimal | None


async def current_quality(session: AsyncSession, *, meter: MeterFacts, now: datetime) -> Quality:
    """Return how a meter's pressure or voltage is now; after a silence that is unknown."""
    quantity = QUANTITY_OF[meter.service]
    limits = (await load_ranges(session, Limit.meter_id == meter.id)).of(meter, quantity)
    latest = await session.scalar(
        select(Sample)
        .where(Sample.meter_id == meter.id, Sample.quantity == quantity)
        .order_by(Sample.taken_at.desc())
        .limit(1)
    )
    standing = Standing.UNKNOWN
    if latest is not None and now - latest.taken_at <= SILENCE_MAX:
        standing = Standing(limits.side_of(latest.value) or Standing.NORMAL)
    return Quality(
        quantity=quantity,
        value=None if latest is None else latest.value,
        taken_at=None if latest is None else latest.taken_at,
        range=limits,
        standing=standing,
    )


async def list_samples(
    session: AsyncSession,
    *,
    meter: MeterFacts,
    quantity: Quantity,
    since: datetime,
    step: timedelta,
    steps: int,
) -> list[Step]:
    """Return a quantity's values by equal steps of time from `since` on."""
    rows = await session.execute(
        text(
            "SELECT * FROM generate_series(CAST(:since AS timestamptz), :last, :step) steps (at)"  # noqa: S608 (a constant)
            " LEFT JOIN (SELECT date_bin(:step, taken_at, :since) AS at,"
            " round(avg(value), 1) AS mean, min(value) AS lowest, max(value) AS highest"
            f" FROM {SCHEMA}.samples WHERE meter_id = :meter AND quantity = :quantity"
            " AND taken_at >= :since AND taken_at < :last + :step GROUP BY 1) found"
            " USING (at) ORDER BY at"
        ),
        {
            "step": step,
            "since": since,
            "last": since + (steps - 1) * step,
            "meter": meter.id,
            "quantity": quantity.value,
        },
    )
    return [Step(**row._asdict()) for row in rows]

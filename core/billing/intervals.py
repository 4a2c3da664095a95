"""Prices of a market by short intervals, and when within a bill's period the use was."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.billing.consumption import BilledSpan, share
from core.billing.models import MarketPrice
from core.billing.tariff_model import Interval, TariffVersion
from core.billing.tariffs import IntervalsMissing, is_by_interval
from core.errors import DomainError
from core.importing import Fault, Outcome, agree
from core.money import divide
from core.monitoring.models import Reading, ReadingStatus, Source
from core.monitoring.registers import advance

HOUR = timedelta(hours=1)
_WEIGHT_DIGITS = 9


class MarketPricesMissing(DomainError):
    """The prices of a series are not known for all of a period, each as long as the others."""

    code = "billing.market_prices_missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """The price of a series from a moment on. Units: `price` as its tariffs' formulas take it."""

    position: int
    series: str
    starts: datetime
    price: Decimal


async def import_prices(session: AsyncSession, rows: Sequence[PriceRow]) -> Outcome:
    """Store prices, or tell why that cannot be; bills that were made keep the price they had."""
    faults: list[Fault] = []
    told = agree(rows, by=lambda row: (row.series, row.starts), fields="price", faults=faults)
    if faults or not told:
        return Outcome(faults=faults)
    found = await session.scalars(
        select(MarketPrice).where(
            MarketPrice.series.in_({series for series, _ in told}),
            MarketPrice.starts_at.between(
                min(starts for _, starts in told), max(starts for _, starts in told)
            ),
        )
    )
    known = {(each.series, each.starts_at): each.price for each in found}
    fresh = {key: said["price"] for key, said in told.items() if known.get(key) != said["price"]}
    if fresh:
        added = insert(MarketPrice)
        await session.execute(
            added.on_conflict_do_update(
                index_elements=["series", "starts_at"], set_={"price": added.excluded.price}
            ),
            [
                {"series": series, "starts_at": starts, "price": price}
                for (series, starts), price in fresh.items()
            ],
        )
    changed = len(fresh.keys() & known.keys())
    return Outcome(
        new=len(fresh) - changed, changed=changed, unchanged=len(rows) - len(fresh), faults=faults
    )


def needs_intervals(versions: Sequence[TariffVersion]) -> bool:
    """Tell whether a price of these versions follows the market or the hour."""
    return any(
        is_by_interval(prices)
        for version in versions
        for component in version.components.values()
        for prices in (
            [component.prices] if isinstance(component.prices, tuple) else component.prices.values()
        )
    )


async def read_intervals(
    session: AsyncSession,
    *,
    series: str | None,
    spans: Sequence[BilledSpan],
    quantity: Decimal,
    digits: int,
    starts_at: datetime,
    ends_at: datetime,
    zone: ZoneInfo,
) -> tuple[Interval, ...]:
    """
    Return a billed quantity by intervals: those of the market's prices, or hours without them.

    The readings between say when it was used; between two readings it flowed evenly.

    Raises:
        MarketPricesMissing: the prices do not cover the period, each as long as the others.
        IntervalsMissing: the use is counted by several registers.
    """
    if len({span.register for span in spans}) != 1:
        raise IntervalsMissing(component=series or "")
    prices = await _prices(session, series, starts_at, ends_at)
    bounds = [*prices, ends_at]
    if bounds[0] != starts_at or len({after - before for before, after in pairwise(bounds)}) > 1:
        raise MarketPricesMissing(series=series, starts=starts_at, ends=ends_at)
    reached = [Decimal(0)] * len(bounds)
    for span in spans:
        points = await _points(session, span)
        for index, went in enumerate(_went_by(points, bounds)):
            reached[index] += went * span.multiplier
    weights = [after - before for before, after in pairwise(reached)]
    if not any(weights):
        weights = [Decimal(1)] * len(prices)
    uses = share(quantity, weights=weights, digits=digits)
    return tuple(
        Interval(at=at.astimezone(zone), use=use, market=price)
        for (at, price), use in zip(prices.items(), uses, strict=True)
    )


async def _prices(
    session: AsyncSession, series: str | None, starts_at: datetime, ends_at: datetime
) -> dict[datetime, Decimal]:
    if series is None:
        hours = (ends_at - starts_at) // HOUR
        return {starts_at + n * HOUR: Decimal(0) for n in range(hours)}
    rows = await session.execute(
        select(MarketPrice.starts_at, MarketPrice.price)
        .where(
            MarketPrice.series == series,
            MarketPrice.starts_at >= starts_at,
            MarketPrice.starts_at < ends_at,
        )
        .order_by(MarketPrice.starts_at)
    )
    return {row.starts_at: row.price for row in rows} or {ends_at: Decimal(0)}


async def _points(session: AsyncSession, span: BilledSpan) -> list[tuple[datetime, Decimal]]:
    """Return how far a register had gone at each of its readings within a span."""
    rows = await session.execute(
        select(Reading.taken_at, Reading.value)
        .where(
            Reading.meter_id == span.meter_id,
            Reading.register == span.register,
            Reading.taken_at > span.opening.at,
            Reading.taken_at < span.closing.at,
            Reading.status == ReadingStatus.ACCEPTED,
            Reading.source != Source.ESTIMATE,
        )
        .order_by(Reading.taken_at)
    )
    points, shown = [(span.opening.at, Decimal(0))], span.opening.value
    for at, value in [*rows, (span.closing.at, span.closing.value)]:
        went = advance(shown, value, digits=span.digits)
        if went is not None:  # what goes back tells nothing about when
            points.append((at, points[-1][1] + went))
            shown = value
    return points


def _went_by(
    points: Sequence[tuple[datetime, Decimal]], bounds: Sequence[datetime]
) -> list[Decimal]:
    """Return how far a register had gone at each bound; between two readings it went evenly."""
    went, index = [], 0
    for bound in bounds:
        while index + 2 < len(points) and points[index + 1][0] < bound:
            index += 1
        (since, before), (until, after) = points[index], points[min(index + 1, len(points) - 1)]
        elapsed = min(max(bound, since), until) - since
        steps, whole = elapsed // timedelta.resolution, (until - since) // timedelta.resolution
        share_of = (after - before) * steps
        went.append(before + (divide(share_of, whole, digits=_WEIGHT_DIGITS) if whole else 0))
    return went

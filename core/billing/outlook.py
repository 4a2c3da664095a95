"""What the running bill comes to so far, and what it will probably come to. Only reads."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.service import get_operator
from core.billing.calculation import ComputedBill, compute_bill
from core.billing.forecasts import (
    HISTORY_DAYS,
    PACE_DAYS,
    YEAR_DAYS,
    Forecast,
    foresee,
    foresee_by_bills,
)
from core.billing.models import Bill, BillState
from core.billing.running import DAY, Running, find_running
from core.billing.tariff_model import Window as TierWindow
from core.billing.tariff_model import version_on
from core.money import divide
from core.monitoring import usage
from core.monitoring.models import Meter, Reading, ReadingStatus, Source
from core.monitoring.ranges import find_meters
from core.periods import Period, local_day, start_of_day

# A meter that said nothing for so long may have counted much more than is known.
SILENT_AFTER = timedelta(hours=36)
_PLACES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class NextTier:
    """
    A tier that the likely use reaches, in about so many days.

    Units: `above` the use in the tier's window (a bill, month or year) above which it begins.
    """

    tier: int
    above: Decimal
    window: TierWindow
    days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What the whole bill costs at the likely use, and at both ends of its range."""

    low: int
    likely: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """
    What the running bill comes to so far and at its end; nothing where it cannot be told.

    `cost_minor` is the bill if it ended today, `forecast` the use at its end and `costs` the bill
    for that. `by_bills` tells that only earlier bills say how much it may be. `tier` is reached,
    `began_tier` is the one of the bill's first unit.

    Units: minor units, the service's unit.
    """

    running: Running
    used: Decimal | None
    cost_minor: int | None
    heard_at: datetime | None
    is_estimated: bool
    is_silent: bool
    forecast: Forecast | None
    costs: Costs | None
    by_bills: bool
    tier: int
    began_tier: int
    next_tier: NextTier | None


async def get_outlook(session: AsyncSession, *, agreement_id: int, now: datetime) -> Outlook:
    """
    Return what the running bill comes to so far, and its forecast with a range.

    Raises:
        DomainError: those of `find_running`.
    """
    zone = ZoneInfo((await get_operator(session)).timezone)
    running = await find_running(session, agreement_id=agreement_id, now=now)
    period, today = running.basis.period, local_day(now, zone=zone)
    closings = [span.closing for span in running.spans]
    until = min(max((shown.at for shown in closings), default=now), now)
    left = start_of_day(period.ends, zone=zone) - until
    ahead, unread = _days(left), _days(now - until)
    heard_at = await _heard_at(session, running, now=now)
    cost, forecast, by_bills = None, None, False
    so_far = Period(period.starts, min(today + DAY, period.ends))
    if closings:
        cost = compute_bill(replace(running.basis, period=so_far)).total_minor
        rest, by_bills = await foresee_days(session, running, today=today, ahead=ahead, zone=zone)
        forecast = rest and rest.after(running.exact)
    first_unit = Decimal(1).scaleb(-running.digits)
    return Outlook(
        running=running,
        used=running.exact if closings else None,
        cost_minor=cost,
        heard_at=heard_at,
        is_estimated=any(shown.is_estimate for shown in closings),
        is_silent=heard_at is None or now - heard_at > SILENT_AFTER,
        forecast=forecast,
        costs=None if forecast is None else _costs(running, forecast),
        by_bills=by_bills,
        tier=_top_tier(running.price(max(running.exact, first_unit))),
        began_tier=_top_tier(running.price(first_unit)),
        next_tier=None
        if forecast is None
        else _next_tier(running, forecast, ahead=ahead, unread=unread),
    )


def _days(span: timedelta) -> Decimal:
    return divide(Decimal(span // timedelta(seconds=1)), 86_400, digits=_PLACES)


def _costs(running: Running, forecast: Forecast) -> Costs:
    return Costs(
        low=running.price(forecast.low).total_minor,
        likely=running.price(forecast.likely).total_minor,
        high=running.price(forecast.high).total_minor,
    )


async def _heard_at(session: AsyncSession, running: Running, *, now: datetime) -> datetime | None:
    """Return when the meter was last really read."""
    closing = [span.closing.at for span in running.spans if not span.closing.is_estimate]
    if closing and len(closing) == len(running.spans):
        return min(closing)
    heard_at: datetime | None = await session.scalar(
        select(func.max(Reading.taken_at))
        .join(Meter, Meter.id == Reading.meter_id)
        .where(
            Meter.service_point_id == running.service_point_id,
            Reading.status == ReadingStatus.ACCEPTED,
            Reading.source != Source.ESTIMATE,
            Reading.taken_at <= now,
        )
    )
    return heard_at


async def foresee_days(
    session: AsyncSession, running: Running, *, today: date, ahead: Decimal, zone: ZoneInfo
) -> tuple[Forecast | None, bool]:
    """
    Return the use of the days ahead by the days before, or else (true) by the bills before.

    Units: `ahead` days.
    """
    meters = await find_meters(
        session,
        (Meter.service_point_id == running.service_point_id) & Meter.removed_at.is_(None),
    )
    if len(meters) == 1:
        (meter,) = meters
        uses = await usage.usage_by_day(
            session, meter=meter, last_day=today - DAY, days=HISTORY_DAYS, zone=zone
        )
        then = start_of_day(today - timedelta(days=YEAR_DAYS), zone=zone)
        coming, before = [
            await usage.used_between(session, meter=meter, starts_at=starts_at, ends_at=ends_at)
            for starts_at, ends_at in (
                (then, then + timedelta(days=max(int(ahead), 1))),
                (then - timedelta(days=PACE_DAYS), then),
            )
        ]
        change = None
        if coming is not None and before:
            change = (coming / max(int(ahead), 1)) / (before / PACE_DAYS)
        found = foresee([use.value for use in uses], ahead=ahead, change=change)
        if found is not None:
            return found, False
    bills = await session.scalars(
        select(Bill).where(
            Bill.agreement_id == running.agreement_id,
            Bill.state.in_([BillState.ISSUED, BillState.SETTLED]),
            Bill.ends_date > today - timedelta(days=365),
        )
    )
    per_day = [bill.consumption / (bill.ends_date - bill.starts_date).days for bill in bills]
    return foresee_by_bills(per_day, ahead=ahead), True


def _top_tier(bill: ComputedBill) -> int:
    """Return the highest tier of a bill, 0 where there are none."""
    return max((line.tier or 0 for part in bill.parts for line in part.lines), default=0)


def _next_tier(
    running: Running, forecast: Forecast, *, ahead: Decimal, unread: Decimal
) -> NextTier | None:
    """
    Return the next tier that the likely use reaches before the bill ends, if any.

    Units: `ahead` days from the last reading to the end, `unread` those of them that have passed.
    """
    step = Decimal(1).scaleb(-running.digits)
    low, high = max(int(running.exact / step), 1), int(forecast.likely / step)
    reached = _top_tier(running.price(low * step))
    if ahead <= 0 or _top_tier(running.price(high * step)) <= reached:
        return None
    while high - low > 1:  # up to the first quantity with a unit in the next tier
        middle = (low + high) // 2
        is_beyond = _top_tier(running.price(middle * step)) > reached
        low, high = (low, middle) if is_beyond else (middle, high)
    lines = [line for part in running.price(high * step).parts for line in part.lines]
    tier, above = max((line.tier, line.tier_from or Decimal(0)) for line in lines if line.tier)
    pace = (forecast.likely - running.exact) / ahead
    days = max((high * step - running.exact) / pace - unread, Decimal(0))
    return NextTier(
        tier=tier,
        above=above,
        window=version_on(running.basis.versions, running.basis.period.last_day).window,
        days=int(days.to_integral_value()),
    )

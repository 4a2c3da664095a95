"""Master meters against the meters behind them: what goes in somewhere and comes out nowhere."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Row, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts import service as accounts
from core.accounts.areas import get_area
from core.accounts.models import Role, Service
from core.db import SCHEMA
from core.errors import DomainError
from core.money import divide
from core.monitoring.models import Meter
from core.monitoring.registers import advance
from core.monitoring.rows import array
from core.monitoring.service import TOTAL, NoSuchMeter
from core.notices import service as notices
from core.periods import local_day, start_of_day

SLACK = timedelta(hours=2)  # how old a reading may be to tell what is shown at a midnight
DAYS_IN_A_ROW = 3
MONTH_DAYS = 30
SHARE_DIGITS = 4

_METERS = text(
    f"""
    SELECT a.id AS area_id, p.service, m.id, m.digits, m.multiplier, m.loss_limit,
        m.master_of_id = a.id AS is_master
    FROM (
        SELECT DISTINCT b.id, b.path, q.service FROM {SCHEMA}.meters n
        JOIN {SCHEMA}.areas b ON b.id = n.master_of_id
        JOIN {SCHEMA}.service_points q ON q.id = n.service_point_id
        WHERE n.removed_at IS NULL
    ) a
    JOIN {SCHEMA}.areas s ON s.path LIKE a.path || '%'
    JOIN {SCHEMA}.service_points p ON p.area_id = s.id AND p.service = a.service
    JOIN {SCHEMA}.meters m ON m.service_point_id = p.id AND m.removed_at IS NULL
        AND (m.master_of_id IS NULL OR m.master_of_id = a.id)
    ORDER BY a.path, p.service, m.id
    """  # noqa: S608 (a constant)
)
_SHOWN = text(
    f"""
    SELECT m.id, t.at, r.value
    FROM unnest(CAST(:meters AS bigint[])) m (id)
    CROSS JOIN unnest(CAST(:moments AS timestamptz[])) t (at)
    CROSS JOIN LATERAL (
        SELECT value FROM {SCHEMA}.readings r
        WHERE r.meter_id = m.id AND r.register = :register AND r.status = 'accepted'
            AND r.source <> 'estimate'
            AND r.taken_at > t.at - CAST(:slack AS interval) AND r.taken_at <= t.at
        ORDER BY r.taken_at DESC LIMIT 1
    ) r
    """  # noqa: S608 (a constant)
)


class LossLimitNotSound(DomainError):
    """A loss limit is a share between nothing and everything."""

    code = "loss.limit_not_sound"


class Balance(NamedTuple):
    """
    What went in by the masters, what came out by the meters behind them that are known.

    Units: m³ or kWh.
    """

    master: Decimal
    subs: Decimal
    known: int
    all: int

    @property
    def is_whole(self) -> bool:
        """Whether every meter behind the masters is known."""
        return self.known == self.all > 0

    @property
    def loss(self) -> Decimal:
        """What is missing; below zero, more came out than went in."""
        return self.master - self.subs

    @property
    def share(self) -> Decimal:
        """The loss as a share of what went in."""
        return divide(self.loss, self.master, digits=SHARE_DIGITS) if self.master else Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaLoss:
    """
    The balance of an area over local days, from `starts` to before `ends`, if it is known.

    Units: `limit` the share that may be lost.
    """

    area_id: int
    name: str
    service: Service
    starts: date
    ends: date
    balance: Balance | None
    limit: Decimal


def weigh(masters: Sequence[Decimal | None], subs: Sequence[Decimal | None]) -> Balance | None:
    """Return the balance of what went through meters; none while a master is not known."""
    into = [use for use in masters if use is not None]
    out = [use for use in subs if use is not None]
    if not masters or len(into) < len(masters):
        return None
    return Balance(sum(into, Decimal(0)), sum(out, Decimal(0)), len(out), len(subs))


async def set_master(
    session: AsyncSession, *, serial: str, area_id: int | None, limit: Decimal, now: datetime
) -> None:
    """
    Say that a meter counts all that goes into an area, or (without one) that it does not.

    Raises:
        NoSuchMeter: there is no such meter in use.
        LossLimitNotSound: the limit is no share.
    """
    if not 0 < limit < 1:
        raise LossLimitNotSound
    changed = await session.execute(
        update(Meter)
        .where(Meter.serial == serial, Meter.removed_at.is_(None))
        .values(master_of_id=area_id, loss_limit=limit)
        .returning(Meter.id)
    )
    if changed.first() is None:
        raise NoSuchMeter
    audit.record(
        session,
        at=now,
        actor_id=None,
        action="meter.master_set",
        subject=f"meter:{serial}",
        area_id=area_id,
        limit=str(limit),
    )


async def list_losses(
    session: AsyncSession, *, days: Sequence[tuple[date, date]], zone: ZoneInfo
) -> list[AreaLoss]:
    """Return the balance of each area with a master over each of these spans of local days."""
    rows = (await session.execute(_METERS)).all()
    areas: dict[tuple[int, str], list[Row[Any]]] = defaultdict(list)
    for row in rows:
        areas[row.area_id, row.service].append(row)
    moments = {day: start_of_day(day, zone=zone) for span in days for day in span}
    found = await session.execute(
        _SHOWN,
        {
            "meters": array({row.id for row in rows}),
            "moments": array(moments.values()),
            "register": TOTAL,
            "slack": SLACK,
        },
    )
    shown = {(meter_id, at): value for meter_id, at, value in found}

    def use(row: Row[Any], span: tuple[date, date]) -> Decimal | None:
        first, last = (shown.get((row.id, moments[day])) for day in span)
        if first is None or last is None:
            return None
        went = advance(first, last, digits=row.digits)
        return None if went is None else went * row.multiplier

    return [
        AreaLoss(
            area_id=area_id,
            name=(await get_area(session, area_id=area_id)).full_name,
            service=Service(service),
            starts=span[0],
            ends=span[1],
            balance=weigh(
                [use(row, span) for row in meters if row.is_master],
                [use(row, span) for row in meters if not row.is_master],
            ),
            limit=min(row.loss_limit for row in meters if row.is_master),
        )
        for (area_id, service), meters in areas.items()
        for span in days
    ]


async def list_recent_losses(session: AsyncSession, *, now: datetime) -> list[AreaLoss]:
    """Return each area's balance of yesterday and of the last thirty days."""
    zone = ZoneInfo((await accounts.get_operator(session)).timezone)
    today = local_day(now, zone=zone)
    spans = [(today - timedelta(days=days), today) for days in (1, MONTH_DAYS)]
    return await list_losses(session, days=spans, zone=zone)


async def watch_losses(session: AsyncSession, *, now: datetime) -> None:
    """Tell managers, once a week while it lasts, of areas that lost too much on each last day."""
    zone = ZoneInfo((await accounts.get_operator(session)).timezone)
    today = local_day(now, zone=zone)
    spans = [
        (today - timedelta(days=back), today - timedelta(days=back - 1))
        for back in range(1, DAYS_IN_A_ROW + 1)
    ]
    areas: dict[tuple[int, Service], list[AreaLoss]] = defaultdict(list)
    for each in await list_losses(session, days=spans, zone=zone):
        areas[each.area_id, each.service].append(each)
    high = [key for key, days in areas.items() if all(is_too_much(day) for day in days)]
    year, week, _ = today.isocalendar()
    for area_id, service in high:
        await notices.enqueue(
            session,
            person_ids=await accounts.list_staff(session, role=Role.MANAGER),
            kind="loss.high",
            params={"area_id": area_id, "service": service},
            dedupe_key=f"loss.high:{area_id}:{service}:{year}-{week}",
            now=now,
        )


def is_too_much(found: AreaLoss) -> bool:
    """Tell whether an area certainly lost more than its limit: every meter of it is known."""
    balance = found.balance
    return balance is not None and balance.is_whole and balance.share > found.limit

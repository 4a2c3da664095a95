"""Registers that stand still though they usually move: a note to managers, never a reproach."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Premise, Service, ServicePoint, Supply
from core.db import SCHEMA
from core.money import divide
from core.monitoring.models import Meter, Standstill
from core.monitoring.registers import Shown, advance
from core.monitoring.service import TOTAL

STILL = timedelta(days=14)
BEFORE = timedelta(days=60)
BEFORE_MIN = timedelta(days=28)
SPEAKS = timedelta(days=40)  # a meter that is read once a month still counts as read
MOVES_MIN = 1  # less than this would go unseen on a coarse register
CHUNK = 2000
USUAL_DIGITS = 3

_CANDIDATES = text(
    f"""
    SELECT m.id, m.digits, m.multiplier, earlier.taken_at, earlier.value,
        still.taken_at, still.value, last.taken_at, last.value, (
            SELECT min(taken_at) FROM {SCHEMA}.readings r
            WHERE r.meter_id = m.id AND r.register = :register AND r.value = last.value
                AND r.taken_at BETWEEN earlier.taken_at AND last.taken_at
                AND r.status = 'accepted' AND r.source <> 'estimate'
        )
    FROM {SCHEMA}.meters m
    CROSS JOIN LATERAL (
        SELECT taken_at, value FROM {SCHEMA}.readings r
        WHERE r.meter_id = m.id AND r.register = :register
            AND r.taken_at BETWEEN CAST(:now AS timestamptz) - CAST(:speaks AS interval) AND :now
            AND r.status = 'accepted' AND r.source <> 'estimate'
        ORDER BY taken_at DESC LIMIT 1
    ) last
    CROSS JOIN LATERAL (
        SELECT taken_at, value FROM {SCHEMA}.readings r
        WHERE r.meter_id = m.id AND r.register = :register
            AND r.taken_at <= last.taken_at - CAST(:still AS interval)
            AND r.status = 'accepted' AND r.source <> 'estimate'
        ORDER BY taken_at DESC LIMIT 1
    ) still
    CROSS JOIN LATERAL (
        SELECT taken_at, value FROM {SCHEMA}.readings r
        WHERE r.meter_id = m.id AND r.register = :register
            AND r.taken_at BETWEEN still.taken_at - CAST(:before AS interval) AND still.taken_at
            AND r.status = 'accepted' AND r.source <> 'estimate'
        ORDER BY taken_at LIMIT 1
    ) earlier
    WHERE m.id = ANY(:meters) AND last.value = still.value
    """  # noqa: S608 (a constant)
)


class StillMeter(NamedTuple):
    """A meter that stands still, and where. Units: as `Standstill`."""

    serial: str
    service: Service
    address: str
    since: datetime
    value: Decimal
    usual: Decimal


def find_usual(earlier: Shown, still: Shown, last: Shown, *, digits: int) -> Decimal | None:
    """
    Return what a register usually goes on by a day, if it should have moved since, and did not.

    Units: of the register, before the multiplier.
    """
    went = advance(earlier.value, still.value, digits=digits)
    span = still.at - earlier.at
    if went is None or last.value != still.value or span < BEFORE_MIN:
        return None
    second, day = timedelta(seconds=1), timedelta(days=1)
    if went * ((last.at - still.at) // second) < MOVES_MIN * (span // second):
        return None
    return divide(went * (day // second), span // second, digits=USUAL_DIGITS)


async def note_standstills(session: AsyncSession, *, now: datetime) -> None:
    """Note the meters in use whose registers stand still; those that move are forgotten."""
    gone = select(Meter.id).where(Meter.removed_at.is_not(None))
    await session.execute(delete(Standstill).where(Standstill.meter_id.in_(gone)))
    after = 0
    while True:
        found = await session.scalars(
            select(Meter.id)
            .join(ServicePoint, ServicePoint.id == Meter.service_point_id)
            .where(
                Meter.id > after,
                Meter.removed_at.is_(None),
                ServicePoint.supply == Supply.CONNECTED,
            )
            .order_by(Meter.id)
            .limit(CHUNK)
        )
        meters = found.all()
        if not meters:
            return
        after = meters[-1]
        await _note(session, meters, now=now)


async def _note(session: AsyncSession, meters: Sequence[int], *, now: datetime) -> None:
    rows = await session.execute(
        _CANDIDATES,
        {
            "meters": list(meters),
            "register": TOTAL,
            "now": now,
            "speaks": SPEAKS,
            "still": STILL,
            "before": BEFORE,
        },
    )
    noted = []
    for meter_id, digits, multiplier, *shown, since in rows:
        earlier, still, last = (Shown(*shown[i : i + 2]) for i in (0, 2, 4))
        usual = find_usual(earlier, still, last, digits=digits)
        if usual is not None:
            values = {"since": since, "value": last.value, "usual": usual * multiplier}
            noted.append({"meter_id": meter_id, **values})
    await session.execute(
        delete(Standstill).where(
            Standstill.meter_id.in_(meters),
            Standstill.meter_id.not_in([note["meter_id"] for note in noted]),
        )
    )
    if noted:
        added = insert(Standstill)
        changed = {name: added.excluded[name] for name in ("since", "value", "usual")}
        await session.execute(
            added.on_conflict_do_update(index_elements=["meter_id"], set_=changed), noted
        )


async def list_standstills(
    session: AsyncSession, *, limit: int
) -> tuple[Sequence[StillMeter], int]:
    """Return the meters that stand still, the longest first, and how many there are."""
    total = await session.scalar(select(func.count()).select_from(Standstill))
    rows = await session.execute(
        select(
            Meter.serial,
            ServicePoint.service,
            Premise.address,
            Standstill.since,
            Standstill.value,
            Standstill.usual,
        )
        .join(Meter, Meter.id == Standstill.meter_id)
        .join(ServicePoint, ServicePoint.id == Meter.service_point_id)
        .join(Premise, Premise.id == ServicePoint.premise_id)
        .order_by(Standstill.since, Meter.serial)
        .limit(limit)
    )
    return [StillMeter._make(row) for row in rows], total or 0

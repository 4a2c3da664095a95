"""What the meters say about a repair: now, at its worst, and home by home for an incident."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from sqlalchemy import ColumnElement, ScalarSelect, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from core.accounts.models import Premise, ServicePoint
from core.monitoring.models import Alarm, Meter, Quantity, Sample
from core.monitoring.thresholds import SILENCE_MAX
from core.repairs.models import Follower, Repair

LISTED = 500
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """
    What a meter says about the cause; `latest` is empty when it is too old to speak of now.

    Units: as the quantity (kPa, V, hours).
    """

    quantity: Quantity
    limit: Decimal
    worst: Decimal
    began_at: datetime
    latest: Decimal | None
    latest_at: datetime | None
    ended_at: datetime | None
    end_value: Decimal | None

    @property
    def is_abnormal(self) -> bool:
        """Whether the value is still outside its range."""
        return self.ended_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowerLine:
    """One home of an incident, with the number of its own repair if that was filed before."""

    address: str
    serial: str
    quantity: Quantity
    worst: Decimal
    latest: Decimal | None
    began_at: datetime
    ended_at: datetime | None
    answered_at: datetime | None
    merged_number: str | None


def latest_sample(*, since: datetime) -> ScalarSelect[Decimal]:
    """Select the newest value of an alarm's meter that is not too old to speak of a moment."""
    return _latest(Sample.value, Sample.taken_at >= since - SILENCE_MAX)


def _latest(column: InstrumentedAttribute[T], *conditions: ColumnElement[bool]) -> ScalarSelect[T]:
    return (
        select(column)
        .where(Sample.meter_id == Alarm.meter_id, Sample.quantity == Alarm.quantity, *conditions)
        .order_by(Sample.taken_at.desc())
        .limit(1)
        .scalar_subquery()
    )


async def find_measured(
    session: AsyncSession, *, repair: Repair, points: Collection[int] = (), now: datetime
) -> Measured | None:
    """
    Return what the meter says about a repair that an alarm filed.

    Of an incident's homes it is the one that is abnormal still, then the worst; with `points`
    only these count.
    """
    query = select(
        Alarm.quantity,
        Alarm.limit,
        Alarm.worst,
        Alarm.began_at,
        Alarm.end_value,
        Alarm.ended_at,
        latest_sample(since=now).label("latest"),
        _latest(Sample.taken_at).label("latest_at"),
    )
    if repair.area_id is None:
        query = query.where(Alarm.id == repair.alarm_id)
    else:
        query = query.join(Follower, Follower.alarm_id == Alarm.id).where(
            Follower.repair_id == repair.id
        )
        if points:
            query = query.where(Follower.service_point_id.in_(points))
    rows = await session.execute(
        query.order_by(Alarm.ended_at.is_not(None), func.abs(Alarm.worst - Alarm.limit).desc())
        .order_by(Alarm.id)
        .limit(1)
    )
    row = rows.one_or_none()
    return None if row is None else Measured(**row._asdict())


async def list_followers(
    session: AsyncSession, *, repair_id: int, now: datetime
) -> list[FollowerLine]:
    """Return the homes of an incident, those first that are abnormal still."""
    own = (
        select(Repair.number)
        .where(
            Repair.merged_into_id == repair_id,
            Repair.area_id.is_(None),
            Repair.service_point_id == Follower.service_point_id,
        )
        .limit(1)
        .scalar_subquery()
    )
    rows = await session.execute(
        select(
            Premise.address,
            Meter.serial,
            Alarm.quantity,
            Alarm.worst,
            latest_sample(since=now).label("latest"),
            Follower.began_at,
            Alarm.ended_at,
            Follower.answered_at,
            own.label("merged_number"),
        )
        .join(Alarm, Alarm.id == Follower.alarm_id)
        .join(Meter, Meter.id == Alarm.meter_id)
        .join(ServicePoint, ServicePoint.id == Follower.service_point_id)
        .join(Premise, Premise.id == ServicePoint.premise_id)
        .where(Follower.repair_id == repair_id)
        .order_by(Alarm.ended_at.is_not(None), Premise.address)
        .limit(LISTED)
    )
    return [FollowerLine(**row._asdict()) for row in rows]


async def has_answered(session: AsyncSession, *, repair_id: int, points: Collection[int]) -> bool:
    """Tell whether nothing more is asked of these homes of an incident."""
    waiting = await session.scalar(
        select(Follower.service_point_id)
        .where(
            Follower.repair_id == repair_id,
            Follower.service_point_id.in_(points),
            Follower.answered_at.is_(None),
        )
        .limit(1)
    )
    return waiting is None


async def count_back(session: AsyncSession, *, repair_id: int) -> tuple[int, int, datetime | None]:
    """Return how many homes of an incident are back to normal, of how many, the last one when."""
    row = await session.execute(
        select(func.count(Alarm.end_taken_up_at), func.count(), func.max(Alarm.ended_at))
        .select_from(Follower)
        .join(Alarm, Alarm.id == Follower.alarm_id)
        .where(Follower.repair_id == repair_id)
    )
    back, homes, last = row.one()
    return back, homes, last

"""Readings that wait for a person: each is accepted, corrected or rejected, with a reason."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import ColumnElement, DateTime, Select, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts import service as accounts
from core.accounts.models import Premise, Role, Service, ServicePoint
from core.audit import AuditEntry
from core.errors import DomainError
from core.monitoring.feeds import hold_meter
from core.monitoring.models import Meter, Reading, ReadingStatus, Source
from core.monitoring.ranges import find_meters
from core.monitoring.registers import capacity_of
from core.monitoring.rows import Key
from core.monitoring.service import (
    RegisterValue,
    TooManyDigits,
    advance_or_refuse,
    find_latest_reading,
    find_meant_at,
    find_meter,
)
from core.monitoring.settling import decide
from core.notices import service as notices

WAITING = (ReadingStatus.HELD, ReadingStatus.DISPUTED, ReadingStatus.DOUBTED)
LATELY = timedelta(days=60)


class Decision(StrEnum):
    """What a person makes of a reading."""

    ACCEPT = "accept"
    CORRECT = "correct"
    REJECT = "reject"

    @classmethod
    def about(cls, status: ReadingStatus) -> Sequence["Decision"]:
        """Return what can be made of a reading now; what is accepted is not accepted again."""
        return [each for each in cls if (each, status) != (cls.ACCEPT, ReadingStatus.ACCEPTED)]


_IS_DECIDED = (Reading.status == ReadingStatus.ACCEPTED) & (Reading.source == Source.STAFF)


class NotHeld(DomainError):
    """The reading does not wait for a decision, or no longer."""

    code = "held.not_held"


class HeldReading(NamedTuple):
    """A reading that waits, and what was accepted before it. Units: before the multiplier."""

    meter_id: int
    register: str
    taken_at: datetime
    value: Decimal
    status: ReadingStatus
    source: Source
    serial: str
    service: Service
    address: str


def _readings(
    condition: ColumnElement[bool],
) -> Select[int, str, datetime, Decimal, ReadingStatus, Source, str, Service, str]:
    return (
        select(
            Reading.meter_id,
            Reading.register,
            Reading.taken_at,
            Reading.value,
            Reading.status,
            Reading.source,
            Meter.serial,
            ServicePoint.service,
            Premise.address,
        )
        .join(Meter, Meter.id == Reading.meter_id)
        .join(ServicePoint, ServicePoint.id == Meter.service_point_id)
        .join(Premise, Premise.id == ServicePoint.premise_id)
        .where(condition)
    )


async def list_held(
    session: AsyncSession, *, limit: int, offset: int = 0
) -> tuple[Sequence[HeldReading], int]:
    """Return the readings that wait, the first of each meter first, and how many there are."""
    total = await session.scalar(
        select(func.count()).select_from(Reading).where(Reading.status.in_(WAITING))
    )
    rows = await session.execute(
        _readings(Reading.status.in_(WAITING))
        .order_by(Meter.serial, Reading.register, Reading.taken_at)
        .limit(limit)
        .offset(offset)
    )
    return [HeldReading._make(row) for row in rows], total or 0


async def list_decided(
    session: AsyncSession, *, now: datetime, limit: int
) -> Sequence[HeldReading]:
    """Return the readings that people accepted or corrected lately and that stand, newest first."""
    decided = (
        select(
            AuditEntry.details["register"].astext.label("register"),
            cast(AuditEntry.details["taken_at"].astext, DateTime(timezone=True)).label("taken_at"),
            func.replace(AuditEntry.subject, "meter:", "").label("serial"),
            func.max(AuditEntry.id).label("id"),
        )
        .where(text(audit.ABOUT_READINGS), AuditEntry.at > now - LATELY)
        .group_by(text("1, 2, 3"))
        .subquery()
    )
    rows = await session.execute(
        _readings(_IS_DECIDED)
        .join(
            decided,
            (Meter.serial == decided.c.serial)
            & (Reading.register == decided.c.register)
            & (Reading.taken_at == decided.c.taken_at),
        )
        .order_by(decided.c.id.desc())
        .limit(limit)
    )
    return [HeldReading._make(row) for row in rows]


async def get_held(
    session: AsyncSession, *, key: Key, or_decided: bool = False
) -> tuple[HeldReading, RegisterValue | None]:
    """
    Return a reading that waits, or was accepted by a person, and the accepted one before it.

    Raises:
        NotHeld: it does not wait.
    """
    waits = Reading.status.in_(WAITING)
    rows = await session.execute(
        _readings(waits | _IS_DECIDED if or_decided else waits).where(
            Reading.meter_id == key.meter_id,
            Reading.register == key.name,
            Reading.taken_at == key.taken_at,
        )
    )
    row = rows.one_or_none()
    if row is None:
        raise NotHeld
    before = await find_latest_reading(
        session,
        meter_id=key.meter_id,
        register=key.name,
        at=key.taken_at - timedelta.resolution,
    )
    return HeldReading._make(row), before


async def find_meant(
    session: AsyncSession, *, reading: HeldReading, before: RegisterValue | None
) -> Decimal | None:
    """Return the number that a waiting reading was meant to be, if it looks like another unit."""
    if before is None:
        return None
    meter = await find_meter(session, meter_id=reading.meter_id)
    return await find_meant_at(
        session, meter, before, value=reading.value, taken_at=reading.taken_at
    )


async def check_value(session: AsyncSession, *, key: Key, value: Decimal) -> None:
    """
    Refuse a number that a register cannot have shown at a moment.

    Raises:
        TooManyDigits: the register cannot show it.
        ReadingGoesBackwards: more was accepted before it.
    """
    meter = await find_meter(session, meter_id=key.meter_id)
    capacity = capacity_of(meter.digits)
    if not 0 <= value < capacity:
        raise TooManyDigits(digits=len(str(capacity - 1)))
    before = await find_latest_reading(
        session, meter_id=key.meter_id, register=key.name, at=key.taken_at, is_real=True
    )
    if before is not None:
        advance_or_refuse(before, value, meter=meter)


async def decide_held(
    session: AsyncSession,
    *,
    key: Key,
    decision: Decision,
    value: Decimal | None,
    reason: str,
    person_id: int,
    now: datetime,
) -> None:
    """
    Accept a reading as it is, with another value, or reject it; all that follow are judged anew.

    Who accepts or corrects it vouches for it. It still cannot go back behind what was accepted
    before: then that earlier reading is wrong, or the meter was exchanged.

    Raises:
        NotHeld: it does not wait for a decision.
        TooManyDigits: the register cannot show the value.
        ReadingGoesBackwards: more was accepted before it.
    """
    (meter,) = await find_meters(session, Meter.id == key.meter_id)
    await hold_meter(session, meter)
    held, _ = await get_held(session, key=key)
    reading = await session.get_one(Reading, key)
    if decision is Decision.REJECT:
        reading.status = ReadingStatus.REJECTED
    else:
        right = held.value if value is None else value
        await check_value(session, key=key, value=right)
        reading.value = right
        reading.status, reading.source = ReadingStatus.HELD, Source.STAFF
    await session.flush()
    await decide(session, [key], {meter.id: meter})
    audit.record(
        session,
        at=now,
        actor_id=person_id,
        action=f"reading.{decision}",
        subject=f"meter:{meter.serial}",
        register=key.name,
        taken_at=key.taken_at.isoformat(),
        was=str(held.value),
        value=str(reading.value),
        reason=reason,
    )


async def remind_of_held(session: AsyncSession, *, now: datetime) -> None:
    """Tell managers that readings wait: when there are new ones, and again every week."""
    newest = await session.scalar(
        select(func.max(Reading.received_at)).where(Reading.status.in_(WAITING))
    )
    if newest is not None:
        year, week, _ = now.isocalendar()
        await notices.enqueue(
            session,
            person_ids=await accounts.list_staff(session, role=Role.MANAGER),
            kind="held.waiting",
            params={},
            dedupe_key=f"held.waiting:{newest.astimezone(UTC).isoformat()}:{year}-{week}",
            now=now,
        )

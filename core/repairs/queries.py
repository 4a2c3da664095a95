"""Reads of repairs: who may see which, the lists, and one repair with its whole history."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import Row, Select, and_, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from core.accounts.models import (
    AccountRight,
    Agreement,
    Person,
    Premise,
    Right,
    Role,
    Service,
    ServicePoint,
    Staff,
)
from core.monitoring.models import Alarm, Meter, Quantity, Sample, Side
from core.repairs import promises
from core.repairs.access import (
    RepairNotFound,
    is_repair,
    list_parties,
    mask_phone,
    may_see,
    short_name,
)
from core.repairs.models import Attachment, Cause, Repair, RepairEvent
from core.repairs.workflow import ENDED, UNCLAIMED, UNDERWAY, Party, State

RECENT = timedelta(days=90)
LISTED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairLine:
    """A repair as a line of a list."""

    id: int
    number: str
    version: int
    state: State
    cause: Cause
    service: Service
    address: str
    filed_at: datetime
    state_since: datetime
    promised_at: datetime | None
    promise_moves: int
    technician_id: int | None
    technician_name: str | None
    normal_at: datetime | None
    is_late: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One row of a repair's history; customers are named by their first name only."""

    event_id: int
    at: datetime
    who: str | None
    is_staff: bool
    kind: str
    state: State | None
    promised_at: datetime | None
    details: dict[str, str]
    photo_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the meter says about the cause. Units: as the quantity (kPa, V)."""

    quantity: Quantity
    side: Side
    limit: Decimal
    worst: Decimal
    latest: Decimal | None
    is_abnormal: bool
    end_value: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairView(RepairLine):
    """
    One repair with all that any of its parties may see.

    The contact is the reporter or the holder, by first name and masked phone: what a
    technician needs at the door and no more.
    """

    reopened_count: int
    meter_serial: str | None
    contact_name: str | None
    contact_phone: str | None
    measured: Measured | None
    history: tuple[Happening, ...]
    parties: frozenset[Party]


_technician = aliased(Person)
_LineRow = Row[Repair, ServicePoint, Premise, str | None]


def _lines() -> Select[Repair, ServicePoint, Premise, str | None]:
    return (
        select(Repair, ServicePoint, Premise, _technician.name)
        .join(ServicePoint, ServicePoint.id == Repair.service_point_id)
        .join(Premise, Premise.id == ServicePoint.premise_id)
        .outerjoin(_technician, _technician.id == Repair.technician_id)
        .execution_options(populate_existing=True)
    )


def _line_values(row: _LineRow, now: datetime) -> dict[str, object]:
    repair, point, premise, technician_name = row
    return {
        "id": repair.id,
        "number": repair.number,
        "version": repair.version,
        "state": repair.state,
        "cause": repair.cause,
        "service": point.service,
        "address": premise.address,
        "filed_at": repair.filed_at,
        "state_since": repair.state_since,
        "promised_at": repair.promised_at,
        "promise_moves": repair.promise_moves,
        "technician_id": repair.technician_id,
        "technician_name": technician_name,
        "normal_at": repair.normal_at,
        "is_late": promises.is_late(
            state=repair.state,
            state_since=repair.state_since,
            promised_at=repair.promised_at,
            now=now,
        ),
    }


async def _list(
    session: AsyncSession,
    query: Select[Repair, ServicePoint, Premise, str | None],
    now: datetime,
) -> list[RepairLine]:
    return [
        RepairLine(**_line_values(row, now))  # type: ignore[arg-type]  # its own fields by name
        for row in await session.execute(query)
    ]


async def list_for_customer(
    session: AsyncSession, *, person_id: int, now: datetime
) -> list[RepairLine]:
    """Return the repairs at a person's places: the open ones first, then the recently closed."""
    mine = (
        select(Agreement.service_point_id)
        .join(AccountRight, AccountRight.account_id == Agreement.account_id)
        .where(
            AccountRight.person_id == person_id,
            or_(Agreement.ends_date.is_(None), Agreement.ends_date > Repair.filed_at),
            or_(Repair.closed_at.is_(None), Agreement.starts_date <= Repair.closed_at),
        )
        .correlate(Repair)
    )
    return await _list(
        session,
        _lines()
        .where(
            Repair.service_point_id.in_(mine),
            or_(Repair.closed_at.is_(None), Repair.closed_at > now - RECENT),
        )
        .order_by(Repair.closed_at.desc().nulls_first(), Repair.id.desc())
        .limit(LISTED),
        now,
    )


async def list_for_technician(
    session: AsyncSession, *, person_id: int, now: datetime
) -> list[RepairLine]:
    """Return a technician's own jobs, the earliest promise first, then those that are free."""
    own = and_(Repair.technician_id == person_id, Repair.state.in_(UNDERWAY))
    return await _list(
        session,
        _lines()
        .where(or_(own, Repair.state.in_(UNCLAIMED)))
        .order_by(own.desc(), Repair.promised_at.nulls_last(), Repair.id)
        .limit(LISTED),
        now,
    )


async def list_open(
    session: AsyncSession, *, now: datetime, limit: int = LISTED, offset: int = 0
) -> tuple[list[RepairLine], int]:
    """Return open repairs and their total: the late ones first, then by the oldest promise."""
    is_open = Repair.state.not_in(ENDED)
    unaccepted = and_(
        Repair.state.in_(UNCLAIMED), Repair.state_since <= now - promises.ACCEPT_WITHIN
    )
    late = and_(Repair.state != State.FIXED, or_(unaccepted, Repair.promised_at <= now))
    total = await session.scalar(select(func.count()).select_from(Repair).where(is_open)) or 0
    lines = await _list(
        session,
        _lines()
        .where(is_open)
        .order_by(case((late, 0), else_=1), func.coalesce(Repair.promised_at, Repair.filed_at))
        .order_by(Repair.id)
        .limit(limit)
        .offset(offset),
        now,
    )
    return lines, total


async def get_line(session: AsyncSession, *, repair_id: int, now: datetime) -> RepairLine:
    """Return a repair as a line, for a message that was decided when it concerned its reader."""
    (line,) = await _list(session, _lines().where(Repair.id == repair_id), now)
    return line


async def get_repair_for(
    session: AsyncSession, *, person_id: int, repair: int | str, now: datetime
) -> RepairView:
    """
    Return a repair, by id or number, with its history.

    Raises:
        RepairNotFound: it does not exist, or is not this person's to see.
    """
    row = (await session.execute(_lines().where(is_repair(repair)))).one_or_none()
    if row is None:
        raise RepairNotFound
    found = row[0]
    parties = await list_parties(session, repair=found, person_id=person_id)
    if not may_see(found, parties):
        raise RepairNotFound
    contact = await _find_contact(session, found)
    return RepairView(
        **_line_values(row, now),  # type: ignore[arg-type]  # its own fields by name
        reopened_count=found.reopened_count,
        meter_serial=await session.scalar(
            select(Meter.serial).where(
                Meter.service_point_id == found.service_point_id, Meter.removed_at.is_(None)
            )
        ),
        contact_name=short_name(contact.name) if contact else None,
        contact_phone=mask_phone(contact.phone) if contact and contact.phone else None,
        measured=await find_measured(session, repair=found),
        history=await get_history(session, repair_id=found.id),
        parties=parties,
    )


async def _find_contact(session: AsyncSession, repair: Repair) -> Person | None:
    """Return the reporter, else the holder of the account that is supplied there."""
    if repair.reporter_id is not None:
        return await session.get(Person, repair.reporter_id)
    person: Person | None = await session.scalar(
        select(Person)
        .join(AccountRight, AccountRight.person_id == Person.id)
        .join(Agreement, Agreement.account_id == AccountRight.account_id)
        .where(Agreement.service_point_id == repair.service_point_id, Agreement.ends_date.is_(None))
        .order_by((AccountRight.right == Right.HOLDER).desc(), Person.id)
        .limit(1)
    )
    return person


async def find_measured(session: AsyncSession, *, repair: Repair) -> Measured | None:
    """Return what the meter says about a repair that an alarm filed."""
    if repair.alarm_id is None:
        return None
    alarm = await session.get_one(Alarm, repair.alarm_id, populate_existing=True)
    latest = await session.scalar(
        select(Sample.value)
        .where(Sample.meter_id == alarm.meter_id, Sample.quantity == alarm.quantity)
        .order_by(Sample.taken_at.desc())
        .limit(1)
    )
    return Measured(
        quantity=alarm.quantity,
        side=alarm.side,
        limit=alarm.limit,
        worst=alarm.worst,
        latest=latest,
        is_abnormal=alarm.ended_at is None,
        end_value=alarm.end_value,
    )


async def get_history(session: AsyncSession, *, repair_id: int) -> tuple[Happening, ...]:
    """Return everything that happened on a repair, in order: when, who, what, why."""
    photos: dict[int, list[int]] = {}
    for photo_id, event_id in await session.execute(
        select(Attachment.id, Attachment.event_id)
        .where(Attachment.repair_id == repair_id)
        .order_by(Attachment.id)
    ):
        photos.setdefault(event_id, []).append(photo_id)
    staff = select(Staff.person_id).where(Staff.person_id == Person.id).exists()
    rows = await session.execute(
        select(RepairEvent, Person.name, staff)
        .outerjoin(Person, Person.id == RepairEvent.actor_id)
        .where(RepairEvent.repair_id == repair_id)
        .order_by(RepairEvent.id)
    )
    return tuple(
        Happening(
            event_id=event.id,
            at=event.at,
            who=name if name is None or is_staff else short_name(name),
            is_staff=is_staff,
            kind=event.kind,
            state=event.state,
            promised_at=event.promised_at,
            details=event.details,
            photo_ids=tuple(photos.get(event.id, ())),
        )
        for event, name, is_staff in rows
    )


async def get_photos_for(
    session: AsyncSession, *, person_id: int, repair: int | str
) -> Sequence[tuple[int, str]]:
    """
    Return the photos of a repair as (id, the channel's reference), the newest first.

    Raises:
        RepairNotFound: it does not exist, or is not this person's to see.
    """
    found = await session.scalar(select(Repair).where(is_repair(repair)))
    if found is None or not may_see(
        found, await list_parties(session, repair=found, person_id=person_id)
    ):
        raise RepairNotFound
    rows = await session.execute(
        select(Attachment.id, Attachment.channel_ref)
        .where(Attachment.repair_id == found.id)
        .order_by(Attachment.id.desc())
    )
    return [(photo_id, channel_ref) for photo_id, channel_ref in rows]


async def list_technicians(session: AsyncSession) -> list[tuple[int, str, bool, int]]:
    """Return technicians for assigning: id, name, on duty, number of jobs; the free ones first."""
    jobs = (
        select(func.count())
        .select_from(Repair)
        .where(Repair.technician_id == Person.id, Repair.state.in_(UNDERWAY))
        .scalar_subquery()
    )
    rows = await session.execute(
        select(Person.id, Person.name, Staff.on_duty, jobs)
        .join(Staff, Staff.person_id == Person.id)
        .where(Staff.role == Role.TECHNICIAN)
        .order_by(Staff.on_duty.desc(), jobs, Person.id)
    )
    return [(person_id, name, on_duty, count) for person_id, name, on_duty, count in rows]

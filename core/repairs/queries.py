"""Reads of repairs: the lists, and one repair with its whole history."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, and_, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from core.accounts import areas
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
from core.monitoring.models import Meter
from core.monitoring.ranges import SWITCHED_OFF
from core.repairs.access import (
    RepairNotFound,
    find_repair,
    list_own_points,
    list_parties,
    mask_phone,
    short_name,
)
from core.repairs.evidence import Measured, count_back, find_measured, has_answered
from core.repairs.leaks import find_open_leak
from core.repairs.models import Attachment, Cause, Follower, Repair, RepairEvent
from core.repairs.promises import ACCEPT_WITHIN
from core.repairs.workflow import ENDED, UNCLAIMED, UNDERWAY, Party, State

CUSTOMER = frozenset({Party.CUSTOMER, Party.REPORTER})
RECENT = timedelta(days=90)
LISTED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairLine:
    """
    A repair as a line of a list.

    Of an incident the address is its area's, and `homes` follow it. `is_off`: a home is cut off.
    """

    id: int
    number: str
    version: int
    state: State
    cause: Cause
    service: Service
    address: str
    area_id: int | None
    homes: int
    filed_at: datetime
    state_since: datetime
    promised_at: datetime | None
    promise_moves: int
    technician_id: int | None
    technician_name: str | None
    normal_at: datetime | None
    is_late: bool
    is_off: bool
    severity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One row of a history; customers go by their first name."""

    event_id: int
    at: datetime
    who: str | None
    is_staff: bool
    kind: str
    state: State | None
    promised_at: datetime | None
    details: dict[str, str]
    photo_ids: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairView(RepairLine):
    """
    One repair with all that any of its parties may see.

    The contact is the reporter or the holder, by first name; the phone is whole for those who
    have to call (managers, and the technician who took it) and masked while it is only offered.
    An incident has neither contact nor meter. A customer sees there what the own meter says and
    no words of other homes, and has `answered` when nothing more is asked of them.
    """

    reopened_count: int
    meter_serial: str | None
    contact_name: str | None
    contact_phone: str | None
    measured: Measured | None
    homes_back: int
    answered: bool
    open_leak_id: int | None
    history: tuple[Happening, ...]
    parties: frozenset[Party]


def is_late(*, now: datetime, is_unsaid: bool = False) -> ColumnElement[bool]:
    """
    Return the condition that nobody accepted a repair in time, or that its promise has passed.

    With `is_unsaid` only what was not escalated counts; a new promise broken is a new breach.
    """

    def passed(moment: SQLColumnExpression[datetime | None]) -> ColumnElement[bool]:
        unsaid = or_(Repair.escalated_at.is_(None), Repair.escalated_at < moment)
        return and_(moment.is_not(None), moment <= now, unsaid if is_unsaid else true())

    unaccepted = and_(Repair.state.in_(UNCLAIMED), passed(Repair.state_since + ACCEPT_WITHIN))
    is_open = Repair.state.not_in({*ENDED, State.FIXED})
    return and_(is_open, or_(unaccepted, passed(Repair.promised_at)))


def _lines(now: datetime) -> Select[*tuple[object, ...]]:
    technician = aliased(Person)
    return (
        select(
            Repair.id,
            Repair.number,
            Repair.version,
            Repair.state,
            Repair.cause,
            ServicePoint.service,
            Premise.address,
            Repair.area_id,
            select(func.count())
            .where(Follower.repair_id == Repair.id)
            .scalar_subquery()
            .label("homes"),
            Repair.filed_at,
            Repair.state_since,
            Repair.promised_at,
            Repair.promise_moves,
            Repair.technician_id,
            technician.name.label("technician_name"),
            Repair.normal_at,
            is_late(now=now).label("is_late"),
            (Repair.area_id.is_(None) & ServicePoint.supply.in_(SWITCHED_OFF)).label("is_off"),
            Repair.severity,
        )
        .join(ServicePoint, ServicePoint.id == Repair.service_point_id)
        .join(Premise, Premise.id == ServicePoint.premise_id)
        .outerjoin(technician, technician.id == Repair.technician_id)
    )


async def _list(session: AsyncSession, query: Select[*tuple[object, ...]]) -> list[RepairLine]:
    lines = [RepairLine(**row._asdict()) for row in await session.execute(query)]
    names = {
        area_id: (await areas.get_area(session, area_id=area_id)).full_name
        for area_id in {line.area_id for line in lines if line.area_id is not None}
    }
    return [
        line if line.area_id is None else replace(line, address=names[line.area_id])
        for line in lines
    ]


async def list_for_customer(
    session: AsyncSession, *, person_id: int, now: datetime, service_point_id: int | None = None
) -> list[RepairLine]:
    """
    Return the repairs at a person's places: the open ones first, then the recently closed.

    With a service point only those at this place.
    """
    mine = (
        select(Agreement.service_point_id)
        .join(AccountRight, AccountRight.account_id == Agreement.account_id)
        .where(
            AccountRight.person_id == person_id,
            Agreement.service_point_id == service_point_id if service_point_id else true(),
            or_(Agreement.ends_date.is_(None), Agreement.ends_date > Repair.filed_at),
            or_(Repair.closed_at.is_(None), Agreement.starts_date <= Repair.closed_at),
        )
        .correlate(Repair)
    )
    follows = select(Follower.repair_id).where(
        Follower.repair_id == Repair.id, Follower.service_point_id.in_(mine)
    )
    return await _list(
        session,
        _lines(now)
        .where(
            or_(
                Repair.area_id.is_(None) & Repair.service_point_id.in_(mine),
                follows.correlate(Repair).exists(),
            ),
            or_(Repair.closed_at.is_(None), Repair.closed_at > now - RECENT),
        )
        .order_by(Repair.closed_at.desc().nulls_first(), Repair.id.desc())
        .limit(LISTED),
    )


async def list_for_technician(
    session: AsyncSession, *, person_id: int, now: datetime
) -> list[RepairLine]:
    """Return a technician's own jobs, the urgent and early first, then those that are free."""
    own = and_(Repair.technician_id == person_id, Repair.state.in_(UNDERWAY))
    return await _list(
        session,
        _lines(now)
        .where(or_(own, Repair.state.in_(UNCLAIMED)))
        .order_by(own.desc(), Repair.severity.desc())
        .order_by(Repair.promised_at.nulls_last(), Repair.id)
        .limit(LISTED),
    )


async def list_open(
    session: AsyncSession, *, now: datetime, limit: int = LISTED, offset: int = 0
) -> tuple[list[RepairLine], int]:
    """Return open repairs and their total: the late, the urgent, then by the oldest promise."""
    is_open = Repair.state.not_in(ENDED)
    total = await session.scalar(select(func.count()).select_from(Repair).where(is_open))
    lines = await _list(
        session,
        _lines(now)
        .where(is_open)
        .order_by(is_late(now=now).desc(), Repair.severity.desc())
        .order_by(func.coalesce(Repair.promised_at, Repair.filed_at), Repair.id)
        .limit(limit)
        .offset(offset),
    )
    return lines, total or 0


async def get_line(session: AsyncSession, *, repair_id: int, now: datetime) -> RepairLine:
    """Return a repair as a line, for a message that was decided when it concerned its reader."""
    (line,) = await _list(session, _lines(now).where(Repair.id == repair_id))
    return line


async def get_repair_for(
    session: AsyncSession, *, person_id: int, repair: int | str, now: datetime
) -> RepairView:
    """
    Return a repair, by id or number, with its history.

    Raises:
        RepairNotFound: it does not exist, or is not this person's to see.
    """
    found = await find_repair(session, repair)
    parties = await list_parties(session, repair=found, person_id=person_id)
    own = await list_own_points(session, repair=found, person_id=person_id)
    is_incident = found.area_id is not None
    contact = None if is_incident else await _find_contact(session, found)
    back, _, _ = await count_back(session, repair_id=found.id)
    phone = contact.phone if contact else None
    if phone and not parties & {Party.ASSIGNED, Party.MANAGER}:
        phone = mask_phone(phone)
    return RepairView(
        **asdict(await get_line(session, repair_id=found.id, now=now)),
        reopened_count=found.reopened_count,
        meter_serial=None
        if is_incident
        else await session.scalar(
            select(Meter.serial).where(
                Meter.service_point_id == found.service_point_id, Meter.removed_at.is_(None)
            )
        ),
        contact_name=short_name(contact.name) if contact else None,
        contact_phone=phone or None,
        measured=await find_measured(
            session, repair=found, points=own if parties <= CUSTOMER else (), now=now
        ),
        homes_back=back,
        answered=is_incident and await has_answered(session, repair_id=found.id, points=own),
        open_leak_id=await find_open_leak(session, repair_id=found.id),
        history=await get_history(
            session, repair_id=found.id, visible=_visible(found, parties, person_id)
        ),
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


def _visible(repair: Repair, parties: frozenset[Party], person_id: int) -> ColumnElement[bool]:
    """Return the condition of what somebody may read: no words of other homes of an incident."""
    if repair.area_id is None or not parties <= CUSTOMER:
        return true()
    return or_(
        RepairEvent.state.is_not(None),
        RepairEvent.actor_id.is_(None),
        RepairEvent.actor_id == person_id,
        RepairEvent.actor_id.in_(select(Staff.person_id)),
    )


async def get_history(
    session: AsyncSession, *, repair_id: int, visible: ColumnElement[bool] | None = None
) -> tuple[Happening, ...]:
    """Return everything that happened on a repair, in order: when, who, what, why."""
    photos = (
        select(Attachment.id).where(Attachment.event_id == RepairEvent.id).order_by(Attachment.id)
    )
    rows = await session.execute(
        select(
            RepairEvent.id.label("event_id"),
            RepairEvent.at,
            Person.name.label("who"),
            select(Staff).where(Staff.person_id == Person.id).exists().label("is_staff"),
            RepairEvent.kind,
            RepairEvent.state,
            RepairEvent.promised_at,
            RepairEvent.details,
            func.array(photos.scalar_subquery()).label("photo_ids"),
        )
        .outerjoin(Person, Person.id == RepairEvent.actor_id)
        .where(RepairEvent.repair_id == repair_id, true() if visible is None else visible)
        .order_by(RepairEvent.id)
    )
    return tuple(
        Happening(**{**row._asdict(), "who": row.who if row.is_staff else _first_name(row.who)})
        for row in rows
    )


def _first_name(name: str | None) -> str | None:
    return None if name is None else short_name(name)


async def get_photos_for(
    session: AsyncSession, *, person_id: int, repair: int | str
) -> Sequence[tuple[int, str]]:
    """
    Return the photos of a repair as (id, the channel's reference), the newest first.

    Raises:
        RepairNotFound: it does not exist, or is not this person's to see.
    """
    found = await find_repair(session, repair)
    parties = await list_parties(session, repair=found, person_id=person_id)
    rows = await session.execute(
        select(Attachment.id, Attachment.channel_ref)
        .join(RepairEvent, RepairEvent.id == Attachment.event_id)
        .where(Attachment.repair_id == found.id, _visible(found, parties, person_id))
        .order_by(Attachment.id.desc())
    )
    return [(photo_id, channel_ref) for photo_id, channel_ref in rows]


async def get_photo_for(
    session: AsyncSession, *, person_id: int, repair: int | str, photo_id: int
) -> tuple[str, bytes]:
    """
    Return the media type and the bytes of a photo; these are none when they are not kept.

    Raises:
        RepairNotFound: it does not exist, or is not this person's to see.
    """
    if photo_id not in dict(await get_photos_for(session, person_id=person_id, repair=repair)):
        raise RepairNotFound
    photo = await session.get_one(Attachment, photo_id)
    return photo.media_type, photo.content or b""


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

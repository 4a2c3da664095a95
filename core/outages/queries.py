"""What notices say now, whom they touch, and how far they have got."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import areas
from core.accounts.models import Area, Contact, Service, ServicePoint
from core.errors import DomainError
from core.notices.models import Card, Delivery, Outcome
from core.outages.models import (
    Outage,
    OutageKind,
    OutageRecipient,
    OutageState,
    OutageVersion,
)


class OutageNotFound(DomainError):
    """No notice has this number."""

    code = "outage.not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageView:
    """A notice as it stands; `earlier_ends` are promises that no longer hold, oldest first."""

    id: int
    number: str
    service: Service
    kind: OutageKind
    state: OutageState
    area_id: int
    area_name: str
    reason: str
    starts_at: datetime
    ends_at: datetime
    ended_at: datetime | None
    version: int
    earlier_ends: tuple[datetime, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How many of a notice's people have been told, and how many could not be."""

    people: int
    sent: int
    waiting: int
    failed: int


def card_of(outage_id: int) -> str:
    """Return the name of the card that shows a notice."""
    return f"outage:{outage_id}"


async def get_outage(session: AsyncSession, *, number: str) -> OutageView:
    """
    Return a notice.

    Raises:
        OutageNotFound: no notice has this number.
    """
    outage = await session.scalar(select(Outage).where(Outage.number == number))
    if outage is None:
        raise OutageNotFound(number=number)
    return await view_of(session, outage)


async def list_current(session: AsyncSession, *, person_id: int | None = None) -> list[OutageView]:
    """Return the notices that are not over, by start; with a person, those that touch them."""
    query = select(Outage).where(Outage.state == OutageState.ANNOUNCED).order_by(Outage.starts_at)
    if person_id is not None:
        query = query.join(OutageRecipient, OutageRecipient.outage_id == Outage.id).where(
            OutageRecipient.person_id == person_id
        )
    return [await view_of(session, outage) for outage in await session.scalars(query.limit(50))]


async def list_at(
    session: AsyncSession, *, service_point_id: int, now: datetime
) -> list[OutageView]:
    """Return the notices whose time has come for a service point."""
    point = await session.get_one(ServicePoint, service_point_id)
    leaf = await session.get_one(Area, point.area_id)
    outages = await session.scalars(
        select(Outage).where(
            Outage.state == OutageState.ANNOUNCED,
            Outage.service == point.service,
            Outage.starts_at <= now,
            Outage.area_id.in_([int(part) for part in leaf.path.strip("/").split("/")]),
        )
    )
    return [await view_of(session, outage) for outage in outages]


async def get_reach(session: AsyncSession, *, outage_id: int) -> Reach:
    """Return how far a notice has got among its people."""
    people = set(
        await session.scalars(
            select(OutageRecipient.person_id).where(OutageRecipient.outage_id == outage_id)
        )
    )
    rows = await session.execute(
        select(Contact.person_id, Delivery.outcome)
        .join(Contact, Contact.id == Delivery.contact_id)
        .where(Delivery.card == card_of(outage_id), Contact.person_id.in_(people))
        .order_by(Delivery.id)
    )
    latest = {row.person_id: row.outcome for row in rows}
    told = set(
        await session.scalars(
            select(Contact.person_id)
            .join(Card, Card.contact_id == Contact.id)
            .where(Card.card == card_of(outage_id), Contact.person_id.in_(people))
        )
    )
    open_ = {Outcome.DUE, Outcome.SENDING, Outcome.POSTPONED}
    waiting = {person for person, outcome in latest.items() if outcome in open_} - told
    return Reach(
        people=len(people),
        sent=len(told),
        waiting=len(waiting),
        failed=len(people - told - waiting),
    )


async def get_view(session: AsyncSession, *, outage_id: int) -> OutageView:
    """Return a notice by its id."""
    return await view_of(session, await session.get_one(Outage, outage_id))


async def view_of(session: AsyncSession, outage: Outage) -> OutageView:
    """Return a notice as it stands, with the end times that it no longer keeps."""
    area = await areas.get_area(session, area_id=outage.area_id)
    ends = await session.scalars(
        select(OutageVersion.ends_at)
        .where(OutageVersion.outage_id == outage.id)
        .order_by(OutageVersion.version)
    )
    earlier = dict.fromkeys(moment for moment in ends if moment != outage.ends_at)
    return OutageView(
        id=outage.id,
        number=outage.number,
        service=outage.service,
        kind=outage.kind,
        state=outage.state,
        area_id=outage.area_id,
        area_name=area.full_name,
        reason=outage.reason,
        starts_at=outage.starts_at,
        ends_at=outage.ends_at,
        ended_at=outage.ended_at,
        version=outage.version,
        earlier_ends=tuple(earlier),
    )

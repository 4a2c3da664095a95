"""What the demo lets go wrong: for which street, building or home, from when, and its end."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.demo.models import DemoEvent, DemoMeter
from bot.demo.signals import EventKind
from core.accounts import areas
from core.accounts.models import (
    Account,
    AccountRight,
    Area,
    AreaKind,
    Contact,
    Premise,
    Service,
    ServicePoint,
)
from core.monitoring.models import Meter


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something that can be chosen: a street, a building, or a meter with its home."""

    id: int
    label: str
    service: Service | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What can be chosen: streets and their buildings; homes of people with a phone come first."""

    areas: tuple[Target, ...]
    meters: tuple[Target, ...]
    accounts: tuple[Target, ...]


async def load_targets(session: AsyncSession) -> Targets:
    """Return what can be chosen; `accounts` are those that nobody's phone is linked to."""
    places = await session.scalars(
        select(Area.id)
        .where(Area.kind.in_((AreaKind.STREET, AreaKind.BUILDING)))
        .order_by(Area.kind.desc(), Area.id)
    )
    has_phone = (
        select(Contact.id)
        .join(AccountRight, AccountRight.person_id == Contact.person_id)
        .where(AccountRight.account_id == Account.id)
        .exists()
    )
    rows = await session.execute(
        select(Meter.id, Meter.serial, ServicePoint.service, Premise.address, Account.id, has_phone)
        .join(DemoMeter, DemoMeter.meter_id == Meter.id)
        .join(ServicePoint, ServicePoint.id == Meter.service_point_id)
        .join(Premise, Premise.id == ServicePoint.premise_id)
        .join(Account, Account.premise_id == Premise.id)
        .order_by(has_phone.desc(), Account.number, ServicePoint.service.desc())
    )
    found = rows.all()
    return Targets(
        areas=tuple(
            Target(id=area.id, label=area.full_name)
            for area in [await areas.get_area(session, area_id=place) for place in places]
        ),
        meters=tuple(
            Target(id=meter_id, label=f"{serial} {address}", service=service)
            for meter_id, serial, service, address, _, _ in found
        ),
        accounts=tuple(
            Target(id=account_id, label=address)
            for _, _, service, address, account_id, is_linked in found
            if service is Service.WATER and not is_linked
        ),
    )


async def begin_trouble(
    session: AsyncSession, *, kind: EventKind, target_id: int | None, now: datetime
) -> None:
    """Let something go wrong from now on: on a street, in a building, at one meter, everywhere."""
    is_of_area = kind is EventKind.PRESSURE_DROP
    session.add(
        DemoEvent(
            kind=kind,
            area_id=target_id if is_of_area else None,
            meter_id=None if is_of_area else target_id,
            began_at=now,
        )
    )
    await session.flush()


async def end_troubles(session: AsyncSession, *, now: datetime) -> None:
    """Let everything be well again from now on."""
    await session.execute(
        update(DemoEvent).where(DemoEvent.ended_at.is_(None)).values(ended_at=now)
    )

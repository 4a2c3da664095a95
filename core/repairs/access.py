"""Who may see a repair, what a person is to it, and what of people is shown."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import AccountRight, Agreement, Role, Staff
from core.errors import DomainError
from core.repairs.models import Follower, Repair
from core.repairs.workflow import UNCLAIMED, Party


class RepairNotFound(DomainError):
    """No such repair is visible to this person; a foreign one answers the same."""

    code = "repair.not_found"


def short_name(name: str) -> str:
    """Return the part of a name by which somebody is greeted: `Anna`, `李*`."""
    first = name.split(maxsplit=1)[0] if name.split() else name
    is_han = bool(first) and all("\u4e00" <= character <= "\u9fff" for character in first)
    return first[0] + "*" * (len(first) - 1) if is_han else first


def mask_phone(phone: str) -> str:
    """Return a phone number with its middle hidden: `138••••5678`."""
    if len(phone) < 8:  # noqa: PLR2004 (too short to hide a middle and still help)
        return "•" * len(phone)
    return f"{phone[:3]}{'•' * (len(phone) - 7)}{phone[-4:]}"


async def find_repair(session: AsyncSession, key: int | str, *, lock: bool = False) -> Repair:
    """
    Return a repair by its id (from a button) or its number (typed).

    Raises:
        RepairNotFound: there is none.
    """
    is_it = Repair.number == key if isinstance(key, str) else Repair.id == key
    query = select(Repair).where(is_it).execution_options(populate_existing=True)
    found: Repair | None = await session.scalar(query.with_for_update() if lock else query)
    if found is None:
        raise RepairNotFound
    return found


async def list_parties(
    session: AsyncSession, *, repair: Repair, person_id: int | None
) -> frozenset[Party]:
    """
    Return what a person is to a repair at this moment; nobody is the service itself.

    Raises:
        RepairNotFound: it is not theirs to see.
    """
    if person_id is None:
        return frozenset({Party.SERVICE})
    parties = set()
    roles = set(await session.scalars(select(Staff.role).where(Staff.person_id == person_id)))
    if Role.MANAGER in roles:
        parties.add(Party.MANAGER)
    if Role.TECHNICIAN in roles:
        parties.add(Party.TECHNICIAN)
        if repair.technician_id == person_id:
            parties.add(Party.ASSIGNED)
    if await list_own_points(session, repair=repair, person_id=person_id):
        parties.add(Party.CUSTOMER)
        if repair.reporter_id == person_id:
            parties.add(Party.REPORTER)
    is_offered = Party.TECHNICIAN in parties and repair.state in UNCLAIMED
    if not (is_offered or parties & {Party.CUSTOMER, Party.MANAGER, Party.ASSIGNED}):
        raise RepairNotFound
    return frozenset(parties)


def is_about(service_point_id: int) -> ColumnElement[bool]:
    """Return the condition that a repair is about a home: its own, or an incident there."""
    followed = select(Follower.repair_id).where(Follower.service_point_id == service_point_id)
    own = and_(Repair.area_id.is_(None), Repair.service_point_id == service_point_id)
    return or_(own, Repair.id.in_(followed))


async def list_points(session: AsyncSession, *, repair: Repair) -> Collection[int]:
    """Return the ids of the service points that a repair is about: one, or an incident's."""
    if repair.area_id is None:
        return [repair.service_point_id]
    followers = select(Follower.service_point_id).where(Follower.repair_id == repair.id)
    return (await session.scalars(followers.order_by(Follower.service_point_id))).all()


async def list_own_points(
    session: AsyncSession, *, repair: Repair, person_id: int
) -> Collection[int]:
    """Return those of its points where somebody was supplied while it was open, not only later."""
    points = await list_points(session, repair=repair)
    return (
        await session.scalars(
            select(Agreement.service_point_id)
            .distinct()
            .join(AccountRight, AccountRight.account_id == Agreement.account_id)
            .where(
                AccountRight.person_id == person_id,
                Agreement.service_point_id.in_(points),
                or_(Agreement.ends_date.is_(None), Agreement.ends_date > repair.filed_at),
                *([Agreement.starts_date <= repair.closed_at] if repair.closed_at else []),
            )
            .order_by(Agreement.service_point_id)
        )
    ).all()

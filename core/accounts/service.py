"""People and their rights: who is speaking, who may see what, who lives where."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import (
    Account,
    AccountRight,
    Agreement,
    Area,
    Contact,
    Operator,
    Person,
    Premise,
    Role,
    Service,
    ServicePoint,
    Staff,
)
from core.errors import DomainError

TELEGRAM = "telegram"


class AccountNotFound(DomainError):
    """No account of this number is visible to this person."""

    code = "account.not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """
    A contact and the person behind it, with the roles the person holds.

    `has_new_language`: their phone speaks another one than before, and so do we from now on.
    """

    contact_id: int
    person_id: int
    address: str
    name: str
    locale: str
    roles: frozenset[Role]
    is_customer: bool
    language_code: str | None = None
    is_reachable: bool = True
    has_new_language: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A service point as people know it: whose account, which address, which service."""

    service_point_id: int
    service: Service
    premise_id: int
    address: str
    area_id: int
    account_id: int
    account_number: str
    agreement_id: int
    holder_name: str
    supply: str
    is_prepaid: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepaying:
    """
    How homes pay ahead: see `Operator`; the steps are those of Changsha's utility.

    Units: `*_minor` minor units; hours of the operator's local time.
    """

    steps_minor: Sequence[int] = (200_00, 120_00, 100_00, 50_00, 30_00, 10_00)
    emergency_minor: int = 20_00
    cut_from: int = 9
    cut_until: int = 14


async def get_operator(session: AsyncSession) -> Operator:
    """Return the operator of this installation; a session asks the database once."""
    operator = await session.get_one(Operator, 1)
    session.info["operator"] = operator  # which keeps it in the session
    return operator


async def keep_operator(
    session: AsyncSession,
    *,
    name: str,
    hotline: str,
    timezone: str,
    currency: str,
    locale: str,
    reading_days: tuple[int, int],
    back_billing_days: int = 365,
    dispute_days: int = 7,
    plan_parts_max: int = 6,
    plan_part_minor_min: int = 10_00,
    plan_days: int = 30,
    plan_grace_days: int = 3,
    approves_bills: bool = True,
    prepaid: Prepaying = Prepaying(),
    is_start: bool = True,
) -> None:
    """Make the operator of this installation; a start also brings it up to date."""
    first, last = reading_days
    values = {
        "reading_first_day": first,
        "reading_last_day": last,
        "back_billing_days": back_billing_days,
        "dispute_days": dispute_days,
        "plan_parts_max": plan_parts_max,
        "plan_part_minor_min": plan_part_minor_min,
        "plan_days": plan_days,
        "plan_grace_days": plan_grace_days,
        "approves_bills": approves_bills,
        "prepaid_steps": list(prepaid.steps_minor),
        "emergency_minor": prepaid.emergency_minor,
        "prepaid_cut_from": prepaid.cut_from,
        "prepaid_cut_until": prepaid.cut_until,
        "name": name,
        "hotline": hotline,
        "timezone": timezone,
        "currency": currency,
        "locale": locale,
    }
    made = insert(Operator).values(id=1, **values)
    await session.execute(
        made.on_conflict_do_update(index_elements=["id"], set_=values)
        if is_start
        else made.on_conflict_do_nothing(index_elements=["id"])
    )


async def meet(
    session: AsyncSession,
    *,
    channel: str,
    address: str,
    name: str,
    locale: str,
    language_code: str | None = None,
    now: datetime,
) -> Speaker:
    """
    Return who speaks from an address, getting to know them at the first word.

    Whoever writes can be reached again, so the address is no longer unreachable. Somebody whose
    phone speaks another language than before is spoken to in that `locale`.
    """
    known = (Contact.channel == channel) & (Contact.address == address)
    speaker = await _find_speaker(session, known)
    if speaker is None:
        person = Person(name=name, locale=locale, created_at=now)
        session.add(person)
        await session.flush()
        session.add(
            Contact(
                person_id=person.id, channel=channel, address=address, language_code=language_code
            )
        )
        await session.flush()
        speaker = await _find_speaker(session, known)
        assert speaker is not None  # noqa: S101 (just added)
    elif language_code and language_code != speaker.language_code:
        if speaker.language_code is not None:
            (await session.get_one(Person, speaker.person_id)).locale = locale
            speaker = replace(speaker, locale=locale, has_new_language=True)
        (await session.get_one(Contact, speaker.contact_id)).language_code = language_code
    if not speaker.is_reachable:
        await note_reachable(session, channel=channel, address=address, since=None)
    return speaker


async def get_speaker(session: AsyncSession, *, contact_id: int) -> Speaker:
    """Return the person behind a contact with their roles."""
    speaker = await _find_speaker(session, Contact.id == contact_id)
    assert speaker is not None  # noqa: S101 (contacts are never deleted)
    return speaker


async def _find_speaker(session: AsyncSession, which: ColumnElement[bool]) -> Speaker | None:
    roles = select(Staff.role).where(Staff.person_id == Person.id)
    right = select(AccountRight.account_id).where(AccountRight.person_id == Person.id)
    row = (
        await session.execute(
            select(
                Contact.id,
                Contact.person_id,
                Contact.address,
                Contact.language_code,
                Contact.unreachable_since,
                Person.name,
                Person.locale,
                func.array(roles.scalar_subquery()).label("roles"),
                right.exists().label("is_customer"),
            )
            .join(Person, Person.id == Contact.person_id)
            .where(which)
        )
    ).one_or_none()
    if row is None:
        return None
    return Speaker(
        contact_id=row.id,
        person_id=row.person_id,
        address=row.address,
        name=row.name,
        locale=row.locale,
        language_code=row.language_code,
        roles=frozenset(Role(role) for role in row.roles),
        is_customer=row.is_customer,
        is_reachable=row.unreachable_since is None,
    )


async def get_account(session: AsyncSession, *, number: str) -> int:
    """
    Return the id of the account with this number.

    Raises:
        AccountNotFound: there is none.
    """
    found = await session.scalar(select(Account.id).where(Account.number == number))
    if found is None:
        raise AccountNotFound
    return found


async def set_locale(session: AsyncSession, *, person_id: int, locale: str) -> None:
    """Remember the language a person wants."""
    person = await session.get_one(Person, person_id)
    person.locale = locale


async def set_unreachable(
    session: AsyncSession, *, contact_id: int, since: datetime | None
) -> None:
    """Note that a contact refuses messages (blocked us), or takes them again."""
    contact = await session.get_one(Contact, contact_id)
    contact.unreachable_since = since


async def note_reachable(
    session: AsyncSession, *, channel: str, address: str, since: datetime | None
) -> None:
    """Note that whoever is behind an address blocked us, or takes messages again."""
    await session.execute(
        update(Contact)
        .where(Contact.channel == channel, Contact.address == address)
        .values(unreachable_since=since)
    )


async def list_staff(session: AsyncSession, *, role: Role, on_duty_only: bool = False) -> list[int]:
    """Return the ids of the people who hold a role, in a stable order."""
    query = select(Staff.person_id).where(Staff.role == role).order_by(Staff.person_id)
    if on_duty_only:
        query = query.where(Staff.on_duty)
    return list(await session.scalars(query))


async def list_places(session: AsyncSession, *, person_id: int) -> list[Place]:
    """Return the supplied places that a person has a right on, by account and service."""
    rows = await session.execute(
        select(
            ServicePoint.id.label("service_point_id"),
            ServicePoint.service,
            ServicePoint.premise_id,
            Premise.address,
            ServicePoint.area_id,
            Agreement.account_id,
            Account.number.label("account_number"),
            Agreement.id.label("agreement_id"),
            Account.holder_name,
            ServicePoint.supply,
            Agreement.is_prepaid,
        )
        .join(Premise, Premise.id == ServicePoint.premise_id)
        .join(
            Agreement,
            (Agreement.service_point_id == ServicePoint.id) & Agreement.ends_date.is_(None),
        )
        .join(Account, Account.id == Agreement.account_id)
        .join(AccountRight, AccountRight.account_id == Account.id)
        .where(AccountRight.person_id == person_id)
        .order_by(Account.number, ServicePoint.service.desc())
    )
    return [Place(**row._asdict()) for row in rows]


async def get_place_of(session: AsyncSession, *, person_id: int, service_point_id: int) -> Place:
    """
    Return a place if this person has a right on its account.

    Raises:
        AccountNotFound: the place does not exist or is somebody else's; both answer the same.
    """
    places = await list_places(session, person_id=person_id)
    for place in places:
        if place.service_point_id == service_point_id:
            return place
    raise AccountNotFound


async def list_people_at(session: AsyncSession, *, service_point_ids: Collection[int]) -> list[int]:
    """Return the ids of the people with a right on an account that is supplied there."""
    return list(
        await session.scalars(
            select(AccountRight.person_id)
            .distinct()
            .join(Agreement, Agreement.account_id == AccountRight.account_id)
            .where(Agreement.service_point_id.in_(service_point_ids), Agreement.ends_date.is_(None))
            .order_by(AccountRight.person_id)
        )
    )


async def list_audience(
    session: AsyncSession, *, area_id: int, service: Service | None
) -> list[int]:
    """
    Return the ids of exactly the people whose supply comes through an area.

    An area holds all that hangs below it in the tree: a street its buildings, risers, feeders.
    """
    area = await session.get_one(Area, area_id)
    query = (
        select(AccountRight.person_id)
        .distinct()
        .join(Agreement, Agreement.account_id == AccountRight.account_id)
        .join(ServicePoint, ServicePoint.id == Agreement.service_point_id)
        .join(Area, Area.id == ServicePoint.area_id)
        .where(Agreement.ends_date.is_(None), Area.path.startswith(area.path))
        .order_by(AccountRight.person_id)
    )
    if service is not None:
        query = query.where(ServicePoint.service == service)
    return list(await session.scalars(query))

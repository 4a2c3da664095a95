"""Areas, homes, accounts and agreements from the rows of a file, all of it or nothing."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts.areas import AreaTree
from core.accounts.models import (
    Account,
    AccountRight,
    Agreement,
    AreaKind,
    Contact,
    Person,
    Premise,
    Right,
    Service,
    ServicePoint,
)
from core.accounts.service import get_operator
from core.db import Base
from core.importing import Fault, Outcome, Shelf, agree, among, wait_for_others

BRANCHES = {Service.WATER: AreaKind.RISER, Service.ELECTRICITY: AreaKind.FEEDER}
At = tuple[str, Service]  # an address and a service


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRow:
    """
    One service of one account; `place` is the way from the district, `branch` riser or feeder.

    What is None is not told: a new record gets the usual, a known one keeps what it has, and
    attributes that are not named.
    """

    position: int
    account: str
    service: Service
    holder: str
    address: str
    tariff: str
    starts: date
    place: tuple[tuple[AreaKind, str], ...] | None = None
    branch: str | None = None
    people: int | None = None
    customer_class: str | None = None
    attributes: Mapping[str, str] | None = None
    prepaid: bool | None = None
    phone: str | None = None
    language: str | None = None


class _Told:
    """What the rows tell, by address, by account, and by address and service."""

    def __init__(self, rows: Sequence[AccountRow], faults: list[Fault]) -> None:
        self.rows = rows
        self.premises = agree(
            rows, by=lambda row: row.address, fields="place people", faults=faults
        )
        self.accounts = agree(
            rows, by=lambda row: row.account, fields="address holder phone language", faults=faults
        )
        self.supplies = agree(
            rows,
            by=lambda row: (row.address, row.service),
            fields="account tariff starts branch customer_class attributes prepaid",
            faults=faults,
        )


@dataclass(frozen=True, slots=True)
class _Known:
    """What the database knows of the rows' accounts and homes."""

    accounts: Mapping[str, tuple[Account, str]]
    premises: Mapping[str, Premise]
    points: Mapping[At, ServicePoint]
    agreements: Mapping[At, Sequence[tuple[str, Agreement]]]

    def is_over(self, row: AccountRow) -> bool:
        """Tell whether a row repeats an agreement that has ended."""
        return any(
            number == row.account and agreement.ends_date and row.starts < agreement.ends_date
            for number, agreement in self.agreements.get((row.address, row.service), ())
        )

    def current(self, at: At, starts: date) -> tuple[str, Agreement] | tuple[None, None]:
        """Return the agreement, and whose it is, that is not over when another one starts."""
        for number, agreement in self.agreements.get(at, ()):
            if agreement.ends_date is None or agreement.ends_date > starts:
                return number, agreement
        return None, None


async def import_accounts(
    session: AsyncSession,
    rows: Sequence[AccountRow],
    *,
    tariffs: Mapping[str, Service],
    now: datetime,
) -> Outcome:
    """
    Store accounts with all that they need, or tell why that cannot be.

    The result does not depend on the order of the rows, and the same rows again change nothing.
    An account stays at its address and an agreement keeps its first day; rows about agreements
    that have ended are left alone. A holder with a phone number is a person with a right on the
    account; a number that is replaced before a chat was linked loses its right.
    """
    await wait_for_others(session)
    known = await _load(session, rows)
    faults: list[Fault] = []
    told = _Told([row for row in rows if not known.is_over(row)], faults)
    for row in told.rows:
        faults += _find_faults(row, known, told, tariffs)
    if faults:
        return Outcome(faults=faults)
    shelf = Shelf(session)
    supplied = await _store(session, shelf, known, told, now=now)
    counted = Counter[str]()
    for number, records in supplied:
        changes = shelf.changes_of(*records)
        became = "new" if shelf.is_new(records[-1]) else "changed" if changes else "same"
        counted[became] += 1
        if became != "same":
            about = f"account:{number}"
            audit.record(
                session, at=now, actor_id=None, action="account.imported", subject=about, **changes
            )
    new, changed = counted["new"], counted["changed"]
    return Outcome(new=new, changed=changed, unchanged=len(rows) - new - changed)


async def _load(session: AsyncSession, rows: Sequence[AccountRow]) -> _Known:
    accounts = await session.execute(
        select(Account, Premise.address)
        .join(Premise, Premise.id == Account.premise_id)
        .where(among(Account.number, (row.account for row in rows)))
    )
    premises: dict[str, Premise] = {}
    points: dict[At, ServicePoint] = {}
    agreements: dict[At, list[tuple[str, Agreement]]] = {}
    for premise, point, agreement, number in await session.execute(
        select(Premise, ServicePoint, Agreement, Account.number)
        .outerjoin(ServicePoint, ServicePoint.premise_id == Premise.id)
        .outerjoin(Agreement, Agreement.service_point_id == ServicePoint.id)
        .outerjoin(Account, Account.id == Agreement.account_id)
        .where(among(Premise.address, (row.address for row in rows)))
    ):
        premises[premise.address] = premise
        if point is not None:
            points[premise.address, point.service] = point
        if agreement is not None:
            at = (premise.address, point.service)
            agreements.setdefault(at, []).append((number, agreement))
    by_number = {account.number: (account, address) for account, address in accounts}
    return _Known(by_number, premises, points, agreements)


def _find_faults(
    row: AccountRow, known: _Known, told: _Told, tariffs: Mapping[str, Service]
) -> Iterator[Fault]:
    if tariffs.get(row.tariff) is not row.service:
        yield Fault(row.position, "tariff", "import.no_tariff", {"value": row.tariff})
    _, address = known.accounts.get(row.account, (None, row.address))
    if address != row.address:
        yield Fault(row.position, "address", "import.fixed", {"value": address})
    if row.address not in known.premises and "place" not in told.premises[row.address]:
        yield Fault(row.position, "building", "import.missing", {})
    number, agreement = known.current((row.address, row.service), row.starts)
    if number not in (None, row.account):
        yield Fault(row.position, "account", "import.supplied_to", {"value": number})
    elif agreement is not None and agreement.starts_date != row.starts:
        yield Fault(row.position, "starts", "import.fixed", {"value": agreement.starts_date})
    elif agreement is not None and row.prepaid not in {None, agreement.is_prepaid}:
        # A manager switches what runs, who sees whether something is owed.
        value = "yes" if agreement.is_prepaid else "no"
        yield Fault(row.position, "prepaid", "import.fixed", {"value": value})


async def _store(
    session: AsyncSession, shelf: Shelf, known: _Known, told: _Told, *, now: datetime
) -> list[tuple[str, tuple[Base, ...]]]:
    """Store what was told; return each supply's account number and records, the agreement last."""
    areas = await AreaTree.load(session)
    area_ids = {
        address: await areas.below(None, *said.get("place", ()))
        for address, said in sorted(told.premises.items())
    }
    premises = {
        address: shelf.put(
            Premise,
            known.premises.get(address),
            address=address,
            area_id=area_ids[address],
            household_size=said.get("people"),
        )
        for address, said in told.premises.items()
    }
    await session.flush()
    accounts = {
        number: shelf.put(
            Account,
            known.accounts.get(number, (None,))[0],
            number=number,
            premise_id=premises[said["address"]].id,
            holder_name=said["holder"],
        )
        for number, said in told.accounts.items()
    }
    await session.flush()
    await _store_holders(session, shelf, accounts, told, now=now)
    branches = {
        at: await areas.below(premises[at[0]].area_id, (BRANCHES[at[1]], said["branch"]))
        for at, said in sorted(told.supplies.items())
        if "branch" in said
    }
    for at in told.supplies:
        if at not in known.points or "area_id" in shelf.changes_of(premises[at[0]]):
            branches.setdefault(at, premises[at[0]].area_id)
    points = {
        at: shelf.put(
            ServicePoint,
            known.points.get(at),
            premise_id=premises[at[0]].id,
            service=at[1],
            area_id=branches.get(at),
            customer_class=said.get("customer_class"),
            attributes=_attributes(known.points.get(at), said.get("attributes")),
        )
        for at, said in told.supplies.items()
    }
    await session.flush()
    supplied: list[tuple[str, tuple[Base, ...]]] = []
    for at, said in told.supplies.items():
        account = accounts[said["account"]]
        agreement = shelf.put(
            Agreement,
            known.current(at, said["starts"])[1],
            account_id=account.id,
            service_point_id=points[at].id,
            tariff_code=said["tariff"],
            starts_date=said["starts"],
            is_prepaid=said.get("prepaid"),
        )
        supplied.append((account.number, (premises[at[0]], account, points[at], agreement)))
    await session.flush()
    return supplied


def _attributes(
    known: ServicePoint | None, told: Mapping[str, str] | None
) -> dict[str, str] | None:
    """Return all attributes of a service point after some were told."""
    return None if told is None else {**(known.attributes if known else {}), **told}


async def _store_holders(
    session: AsyncSession,
    shelf: Shelf,
    accounts: Mapping[str, Account],
    told: _Told,
    *,
    now: datetime,
) -> None:
    """Let whoever has a told phone number be the account's holder."""
    phones = {n: said["phone"] for n, said in sorted(told.accounts.items()) if "phone" in said}
    found = await session.scalars(select(Person).where(among(Person.phone, phones.values())))
    people = {person.phone: person for person in found}
    default = (await get_operator(session)).locale
    for number, phone in phones.items():
        if phone not in people:
            said = told.accounts[number]
            locale = said.get("language", default)
            people[phone] = Person(name=said["holder"], phone=phone, locale=locale, created_at=now)
            session.add(people[phone])
    await session.flush()
    wanted = {accounts[number].id: people[phone].id for number, phone in phones.items()}
    is_linked = Person.phone.is_(None) | exists().where(Contact.person_id == Person.id)
    rights = await session.execute(
        select(AccountRight, is_linked)
        .join(Person, Person.id == AccountRight.person_id)
        .where(among(AccountRight.account_id, wanted), AccountRight.right == Right.HOLDER)
    )
    held = set()
    for right, stays in rights:
        if right.person_id == wanted[right.account_id]:
            held.add(right.account_id)
        elif not stays:
            await session.delete(right)
    for number, phone in phones.items():
        account = accounts[number]
        if account.id not in held:
            session.add(
                AccountRight(
                    account_id=account.id,
                    person_id=wanted[account.id],
                    right=Right.HOLDER,
                    since=now,
                )
            )
            shelf.note(account, "phone", "", phone)

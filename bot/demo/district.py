"""The demo's district: two streets of homes with both services, and the people who live there."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.api.auth import issue_token
from bot.demo import names
from bot.demo.cast import CAST
from bot.demo.homes import (
    BUILDINGS,
    FLATS,
    FLOORS,
    HIGH_ZONE,
    ZONE,
    Home,
    first_day,
    homes,
    tariff_of,
)
from bot.demo.models import DemoAccess, DemoMeter
from bot.demo.signals import SLOT, dice
from bot.settings import Settings
from core.accounts.models import (
    Account,
    AccountRight,
    Agreement,
    ApiKey,
    Area,
    AreaKind,
    Contact,
    Operator,
    Person,
    Premise,
    Right,
    Role,
    Service,
    ServicePoint,
    Staff,
)
from core.accounts.service import TELEGRAM
from core.db import Base
from core.monitoring.gateway_models import Hearing
from core.monitoring.models import Limit, Meter, Quantity
from core.periods import start_of_day

SCOPES = ("admin", "gateway")
HOLD_SECONDS = 20 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplied:
    """A home in the database, with the agreement and the meter of each service."""

    home: Home
    holder_id: int
    agreements: dict[Service, int]
    meters: dict[Service, Meter]


async def build_district(session: AsyncSession, *, seed: int, now: datetime) -> list[Supplied]:
    """Put the district into an empty database: places, people, meters, what is normal."""
    session.add(
        Operator(
            id=1,
            name=names.OPERATOR,
            timezone=ZONE.key,
            currency="CNY",
            locale="zh_CN",
            hotline=names.HOTLINE,
        )
    )
    areas = await _add_areas(session)
    for scope in SCOPES:
        token = await issue_token(session, name=f"demo-{scope}", scope=scope, now=now)
        session.add(DemoAccess(name=scope, token=token))
    _add_limits(session, areas)
    await _add_staff(session, now=now)
    gateway_id = await session.scalar(select(ApiKey.id).where(ApiKey.scope == "gateway"))
    assert gateway_id is not None  # noqa: S101 (issued above)
    building = _Homes(session, areas, now=now)
    holders = await building.add_people()
    agreements = await building.add_agreements(await building.add_accounts(holders))
    meters = await building.add_meters(agreements, gateway_id=gateway_id, seed=seed)
    return [
        Supplied(
            home=home,
            holder_id=holders[home].id,
            agreements={service: agreements[home, service].id for service in Service},
            meters={service: meters[home, service] for service in Service},
        )
        for home in building.homes
    ]


async def choose_approval(session: AsyncSession, given: Settings) -> None:
    """Have a manager approve the district's bills only where somebody set that for this start."""
    is_wanted = "approve_bills" in given.model_fields_set and given.approve_bills
    (await session.get_one(Operator, 1)).approves_bills = is_wanted


async def _store(session: AsyncSession, rows: Iterable[Base]) -> None:
    session.add_all(rows)
    await session.flush()


Areas = dict[tuple[object, ...], Area]


async def _add_areas(session: AsyncSession) -> Areas:
    """Store the area tree, level by level, and return its areas by their place."""
    areas: Areas = {}

    async def add(kind: AreaKind, level: dict[tuple[object, ...], str]) -> None:
        for place, name in level.items():
            parent = areas.get(place[:-1])
            areas[place] = Area(kind=kind, name=name, parent_id=parent and parent.id, path="")
        await _store(session, [areas[place] for place in level])
        for place in level:
            above = areas.get(place[:-1])
            areas[place].path = f"{above.path if above else '/'}{areas[place].id}/"

    root: tuple[object, ...] = ("district",)
    streets = {(*root, street): names.name_street(street) for street in range(len(names.STREETS))}
    buildings = {
        (*street, building): f"{building + 1}号楼 (No. {building + 1})"
        for street in streets
        for building in range(BUILDINGS)
    }
    await add(AreaKind.DISTRICT, {root: names.DISTRICT})
    await add(AreaKind.STREET, streets)
    await add(AreaKind.BUILDING, buildings)
    for kind, word in ((AreaKind.RISER, "立管"), (AreaKind.FEEDER, "线路")):
        await add(
            kind,
            {
                (*building, f"{kind}{n}"): f"{n}号{word} ({kind.capitalize()} {n})"
                for building in buildings
                for n in (1, 2)
            },
        )
    return areas


def _area_of(home: Home, service: Service | None) -> tuple[object, ...]:
    building = ("district", home.street, home.building)
    if service is None:
        return building
    if service is Service.WATER:
        return (*building, f"riser{1 if home.flat < FLATS else 2}")
    return (*building, f"feeder{1 if home.floor <= FLOORS // 2 + 1 else 2}")


def _add_limits(session: AsyncSession, areas: Areas) -> None:
    """Say what is normal: pressure anywhere and on the hill, voltage by the 220 V rule."""
    high_zone = areas[("district", *HIGH_ZONE)].id
    for quantity, area_id, low, high in (
        (Quantity.PRESSURE, None, Decimal(140), Decimal(600)),
        (Quantity.PRESSURE, high_zone, Decimal(80), Decimal(600)),
        (Quantity.VOLTAGE, None, Decimal("198.0"), Decimal("235.4")),
    ):
        session.add(
            Limit(
                quantity=quantity,
                area_id=area_id,
                low=low,
                high=high,
                deadband=(low * 2 / 100).quantize(Decimal("0.1")),
                hold_seconds=HOLD_SECONDS,
            )
        )


async def _add_staff(session: AsyncSession, *, now: datetime) -> None:
    staff = {
        player: Person(name=player.name, locale=player.locale, created_at=now)
        for player in CAST
        if player.role
    }
    second = Person(name=names.SECOND_TECHNICIAN, locale="zh_CN", created_at=now)
    await _store(session, [*staff.values(), second])
    session.add(Staff(person_id=second.id, role=Role.TECHNICIAN, on_duty=False))
    session.add_all(
        Staff(person_id=person.id, role=Role(player.role), on_duty=True)
        for player, person in staff.items()
        if player.role
    )


class _Homes:
    """The homes on their way into the database, one kind of row after the other."""

    def __init__(self, session: AsyncSession, areas: Areas, *, now: datetime) -> None:
        self._session = session
        self._areas = areas
        self.homes = list(homes())
        self.first_days = {home: first_day(home, now=now) for home in self.homes}
        self.moved_in = {
            home: start_of_day(day, zone=ZONE) for home, day in self.first_days.items()
        }
        self.each = [(home, service) for home in self.homes for service in Service]

    async def add_people(self) -> dict[Home, Person]:
        """Store everybody in whose name a home is supplied."""
        holders = {home: _holder(home, since=self.moved_in[home]) for home in self.homes}
        await _store(self._session, holders.values())
        return holders

    async def add_accounts(self, holders: dict[Home, Person]) -> dict[Home, Account]:
        """Store the homes with their accounts."""
        premises = {
            home: Premise(
                area_id=self._areas[_area_of(home, None)].id,
                address=home.address,
                household_size=home.people,
            )
            for home in self.homes
        }
        await _store(self._session, premises.values())
        accounts = {
            home: Account(
                number=str(home.number),
                premise_id=premises[home].id,
                holder_name=holders[home].name,
            )
            for home in self.homes
        }
        await _store(self._session, accounts.values())
        self._session.add_all(
            AccountRight(
                account_id=accounts[home].id,
                person_id=holders[home].id,
                right=Right.HOLDER,
                since=self.moved_in[home],
            )
            for home in self.homes
        )
        return accounts

    async def add_agreements(
        self, accounts: dict[Home, Account]
    ) -> dict[tuple[Home, Service], Agreement]:
        """Store where each service reaches a home, and by which tariff it is charged."""
        points = {
            (home, service): ServicePoint(
                premise_id=accounts[home].premise_id,
                service=service,
                area_id=self._areas[_area_of(home, service)].id,
                supply_since=self.moved_in[home],
            )
            for home, service in self.each
        }
        await _store(self._session, points.values())
        agreements = {
            (home, service): Agreement(
                account_id=accounts[home].id,
                service_point_id=point.id,
                tariff_code=tariff_of(home, service),
                starts_date=self.first_days[home],
                is_prepaid=home.pays_ahead(service),
            )
            for (home, service), point in points.items()
        }
        await _store(self._session, agreements.values())
        return agreements

    async def add_meters(
        self, agreements: dict[tuple[Home, Service], Agreement], *, gateway_id: int, seed: int
    ) -> dict[tuple[Home, Service], Meter]:
        """Store the meters, and what plays them."""
        meters = {
            (home, service): Meter(
                serial=f"{service[0].upper()}-{home.number}",
                service_point_id=agreement.service_point_id,
                digits=5 if service is Service.WATER else 6,
                multiplier=Decimal(1),
                installed_at=self.moved_in[home],
                gateway_id=gateway_id,
                switchable=True,
            )
            for (home, service), agreement in agreements.items()
        }
        await _store(self._session, meters.values())
        self._session.add_all(
            DemoMeter(
                meter_id=meters[home, service].id,
                traits=home.traits(service),
                register=Decimal(dice(seed, home.number, service)),
                played_until=self.moved_in[home],
            )
            for home, service in self.each
        )
        # The history has daily registers only; that they will speak every ten minutes is known.
        self._session.add_all(
            Hearing(
                meter_id=meters[home, service].id,
                looked_at=self.moved_in[home],
                known_since=self.moved_in[home],
                usual_seconds=SLOT // timedelta(seconds=1),
                allowed_seconds=0,
            )
            for home, service in self.each
        )
        await self._session.flush()
        return meters


def _holder(home: Home, *, since: datetime) -> Person:
    name, locale = names.name_person(home.number)
    if home.player is not None:
        name, locale = home.player.name, home.player.locale
    return Person(name=name, phone=f"+8655158{home.number}", locale=locale, created_at=since)


async def open_phones(session: AsyncSession, supplied: Iterable[Supplied]) -> None:
    """Let the cast be reached in their chats."""
    people = {each.home.player: each.holder_id for each in supplied if each.home.player}
    staff = await session.scalars(select(Person).join(Staff, Staff.person_id == Person.id))
    by_name = {person.name: person.id for person in staff}
    session.add_all(
        Contact(
            person_id=people.get(player) or by_name[player.name],
            channel=TELEGRAM,
            address=str(player.chat),
        )
        for player in CAST
    )

"""A very small district for tests: Linden Street, one building, two homes, four kinds of people."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from core.accounts.models import (
    Account,
    AccountRight,
    Agreement,
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
from core.db import Database
from core.monitoring.models import Limit, Meter, Quantity

NOON = datetime(2026, 11, 2, 4, 0, tzinfo=UTC)  # 12:00 in Asia/Shanghai
TARIFFS = {Service.WATER: "hefei-water", Service.ELECTRICITY: "anhui-electricity"}


@dataclass(frozen=True, slots=True)
class Home:
    """One home and everything that hangs on it, by id."""

    premise: int
    account: int
    account_number: str
    holder: int
    holder_contact: int
    points: dict[Service, int]
    agreements: dict[Service, int]
    meters: dict[Service, int]


@dataclass(frozen=True, slots=True)
class World:
    """Ids of what `build_world` made."""

    street: int
    building: int
    riser: int
    feeder: int
    home: Home
    neighbour: Home
    technician: int
    technician_contact: int
    manager: int
    manager_contact: int
    second_manager: int


async def build_world(database: Database) -> World:
    async with database.transaction() as session:
        session.add(
            Operator(
                id=1,
                name="Linden Water & Power",
                timezone="Asia/Shanghai",
                currency="CNY",
                locale="zh_CN",
                hotline="0551-5550100",
                approves_bills=False,  # a month's bills wait only where a test is about that
            )
        )

        async def area(kind: AreaKind, name: str, parent: Area | None) -> Area:
            made = Area(kind=kind, name=name, parent_id=parent and parent.id, path="")
            session.add(made)
            await session.flush()
            made.path = f"{parent.path if parent else '/'}{made.id}/"
            return made

        async def person(name: str, locale: str, chat: int) -> tuple[int, int]:
            made = Person(name=name, locale=locale, created_at=NOON)
            session.add(made)
            await session.flush()
            contact = Contact(person_id=made.id, channel="telegram", address=str(chat))
            session.add(contact)
            await session.flush()
            return made.id, contact.id

        district = await area(AreaKind.DISTRICT, "Old Town", None)
        street = await area(AreaKind.STREET, "Linden Street", district)
        building = await area(AreaKind.BUILDING, "No. 1", street)
        riser = await area(AreaKind.RISER, "Riser 1", building)
        feeder = await area(AreaKind.FEEDER, "Feeder 1", building)

        async def home(number: str, flat: str, name: str, locale: str, chat: int) -> Home:
            premise = Premise(area_id=building.id, address=f"Linden Street 1-{flat}")
            session.add(premise)
            await session.flush()
            holder, contact = await person(name, locale, chat)
            account = Account(number=number, premise_id=premise.id, holder_name=name)
            session.add(account)
            await session.flush()
            session.add(
                AccountRight(
                    account_id=account.id, person_id=holder, right=Right.HOLDER, since=NOON
                )
            )
            points, agreements, meters = {}, {}, {}
            for service, leaf in ((Service.WATER, riser), (Service.ELECTRICITY, feeder)):
                point = ServicePoint(premise_id=premise.id, service=service, area_id=leaf.id)
                session.add(point)
                await session.flush()
                agreement = Agreement(
                    account_id=account.id,
                    service_point_id=point.id,
                    tariff_code=TARIFFS[service],
                    starts_date=date(2026, 1, 1),
                )
                meter = Meter(
                    serial=f"{service.value[0].upper()}-{number}",
                    service_point_id=point.id,
                    digits=5 if service is Service.WATER else 6,
                    multiplier=Decimal(1),
                    installed_at=datetime(2026, 1, 1, tzinfo=UTC),
                    switchable=True,
                )
                session.add_all([agreement, meter])
                await session.flush()
                points[service] = point.id
                agreements[service] = agreement.id
                meters[service] = meter.id
            return Home(premise.id, account.id, number, holder, contact, points, agreements, meters)

        first = await home("10001", "101", "Li Hua", "zh_CN", 1001)
        second = await home("10002", "102", "Anna Petrova", "ru", 1002)
        technician, technician_contact = await person("Wang Qiang", "zh_CN", 2001)
        manager, manager_contact = await person("Maya Stone", "en", 3001)
        second_manager, _ = await person("Chen Yu", "zh_TW", 3002)
        session.add_all(
            [
                Staff(person_id=technician, role=Role.TECHNICIAN, on_duty=True),
                Staff(person_id=manager, role=Role.MANAGER, on_duty=True),
                Staff(person_id=second_manager, role=Role.MANAGER, on_duty=True),
                Limit(
                    quantity=Quantity.PRESSURE,
                    low=Decimal(140),
                    high=Decimal(600),
                    deadband=Decimal(8),
                    hold_seconds=1200,
                ),
                Limit(
                    quantity=Quantity.VOLTAGE,
                    low=Decimal("198.0"),
                    high=Decimal("235.4"),
                    deadband=Decimal("4.4"),
                    hold_seconds=1200,
                ),
            ]
        )
        return World(
            street.id,
            building.id,
            riser.id,
            feeder.id,
            first,
            second,
            technician,
            technician_contact,
            manager,
            manager_contact,
            second_manager,
        )

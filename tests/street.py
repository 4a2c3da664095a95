"""A street beside the world's: two buildings with two risers each, and water meters at home."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import insert

from core.accounts.models import (
    Account,
    AccountRight,
    Agreement,
    Area,
    AreaKind,
    Contact,
    Person,
    Premise,
    Right,
    Service,
    ServicePoint,
)
from core.db import Database
from core.monitoring.models import Alarm, Meter, Quantity, Side
from tests.world import NOON, World

LOCALES = ("zh_CN", "ru", "en", "zh_TW")


@dataclass(frozen=True, slots=True)
class StreetHome:
    """A home of the street; `area` is its riser."""

    flat: int
    area: int
    building: int
    premise: int
    point: int
    meter: int
    holder: int
    chat: int


@dataclass(frozen=True, slots=True)
class Street:
    """Ids of the street, and its homes riser by riser."""

    id: int
    buildings: tuple[int, ...]
    homes: list[StreetHome]


async def build_street(database: Database, world: World, *, homes_a_riser: int = 3) -> Street:
    async with database.transaction() as session:
        district = (await session.get_one(Area, world.street)).parent_id

        async def store(row):
            session.add(row)
            await session.flush()
            return row.id

        async def area(kind, name, parent_id):
            parent = await session.get_one(Area, parent_id)
            made = Area(kind=kind, name=name, parent_id=parent_id, path="")
            await store(made)
            made.path = f"{parent.path}{made.id}/"
            return made.id

        async def home(flat, riser, building):
            premise = await store(Premise(area_id=building, address=f"Maple Street {flat}"))
            locale = LOCALES[len(homes) % len(LOCALES)]
            holder = await store(Person(name=f"Holder {flat}", locale=locale, created_at=NOON))
            chat = 5000 + flat
            await store(Contact(person_id=holder, channel="telegram", address=str(chat)))
            account = await store(
                Account(number=f"5{flat}", premise_id=premise, holder_name=f"Holder {flat}")
            )
            session.add(
                AccountRight(account_id=account, person_id=holder, right=Right.HOLDER, since=NOON)
            )
            point = await store(
                ServicePoint(premise_id=premise, service=Service.WATER, area_id=riser)
            )
            await store(
                Agreement(
                    account_id=account,
                    service_point_id=point,
                    tariff_code="hefei-water",
                    starts_date=date(2026, 1, 1),
                )
            )
            meter = await store(
                Meter(
                    serial=f"W-5{flat}",
                    service_point_id=point,
                    digits=5,
                    multiplier=Decimal(1),
                    installed_at=datetime(2026, 1, 1, tzinfo=UTC),
                )
            )
            return StreetHome(flat, riser, building, premise, point, meter, holder, chat)

        street = await area(AreaKind.STREET, "Maple Street", district)
        buildings, homes = [], []
        for number in (1, 2):
            building = await area(AreaKind.BUILDING, f"No. {number}", street)
            buildings.append(building)
            for place in (1, 2):
                riser = await area(AreaKind.RISER, f"Riser {place}", building)
                for flat in range(1, homes_a_riser + 1):
                    made = await home(number * 1000 + place * 100 + flat, riser, building)
                    homes.append(made)
        return Street(street, tuple(buildings), homes)


async def raise_alarms(database: Database, homes, *, at=NOON, value=92):
    """Raise a low-pressure alarm at each home and return the alarms' ids."""
    async with database.transaction() as session:
        return list(
            await session.scalars(
                insert(Alarm).returning(Alarm.id, sort_by_parameter_order=True),
                [
                    {
                        "meter_id": home.meter,
                        "quantity": Quantity.PRESSURE,
                        "side": Side.LOW,
                        "limit": Decimal(140),
                        "worst": Decimal(value),
                        "began_at": at - timedelta(minutes=20),
                        "raised_at": at,
                    }
                    for home in homes
                ],
            )
        )

"""A water network whose nodes' pressures were simulated: streets at its nodes, homes on floors."""

import csv
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import delete

from bot.demo.recorded import DATA
from core.accounts.models import (
    Account,
    AccountRight,
    Agreement,
    ApiKey,
    Area,
    AreaKind,
    Contact,
    Person,
    Premise,
    Right,
    Service,
    ServicePoint,
)
from core.monitoring.models import Limit, Meter
from core.monitoring.ranges import ensure_default_limits
from tests.world import NOON

FILE = DATA / "wntr-net3/pressure_register_10min.csv"
BEGAN = datetime(2026, 3, 2, tzinfo=UTC)
STEP = timedelta(minutes=10)
BURST_FROM, BURST_TO = timedelta(hours=30), timedelta(hours=35)
FLOORS = 6
FLOOR_KPA = 30  # three metres of water
BUILDINGS = 2
GATEWAYS = 4
# The nodes behind the burst main: where the simulation has the pressure fall by a third and more.
VALLEY = ("W-n3-113", "W-n3-193")


@dataclass(frozen=True, slots=True)
class NodeHome:
    """A home at a node; its pressure is the node's less the height, and never below 0."""

    node: str
    floor: int
    point: int
    serial: str
    holder: int
    gateway: int

    def pressure(self, at_node: Decimal) -> Decimal:
        return max(Decimal(0), at_node - (self.floor - 1) * FLOOR_KPA)


@dataclass(slots=True)
class Network:
    """The streets' areas by their nodes, the valley's, and all homes."""

    streets: dict[str, int] = field(default_factory=dict)
    valley: int | None = None
    homes: list[NodeHome] = field(default_factory=list)


def node_pressures() -> dict[str, list[tuple[datetime, Decimal]]]:
    """The simulated pressure of each node."""
    found = defaultdict(list)
    with FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            at = datetime.fromisoformat(row["ts"])
            found[row["meter"]].append((at, Decimal(row["pressure_kpa"])))
    return dict(found)


async def build_network(database, *, floors: bool, has_valley: bool) -> Network:
    """Put a street with two buildings of six homes each at every node; default limits hold."""
    network = Network()
    async with database.transaction() as session:

        async def store(row):
            session.add(row)
            await session.flush()
            return row

        async def area(kind, name, parent):
            made = await store(Area(kind=kind, name=name, parent_id=parent and parent.id, path=""))
            made.path = f"{parent.path if parent else '/'}{made.id}/"
            return made

        async def home(node, building, number, gateway):
            floor = number % FLOORS + 1 if floors else 1
            name = f"{node}-{number}"
            premise = await store(Premise(area_id=building.id, address=name))
            holder = await store(Person(name=name, locale="en", created_at=NOON))
            contact = Contact(person_id=holder.id, channel="telegram", address=f"7{holder.id}")
            account = await store(Account(number=name, premise_id=premise.id, holder_name=name))
            point = await store(
                ServicePoint(premise_id=premise.id, service=Service.WATER, area_id=building.id)
            )
            session.add_all(
                [
                    contact,
                    AccountRight(
                        account_id=account.id, person_id=holder.id, right=Right.HOLDER, since=BEGAN
                    ),
                    Agreement(
                        account_id=account.id,
                        service_point_id=point.id,
                        tariff_code="hefei-water",
                        starts_date=date(2026, 1, 1),
                    ),
                    Meter(
                        serial=name,
                        service_point_id=point.id,
                        digits=5,
                        multiplier=Decimal(1),
                        installed_at=BEGAN - timedelta(days=1),
                        gateway_id=gateway,
                    ),
                ]
            )
            network.homes.append(NodeHome(node, floor, point.id, name, holder.id, gateway))

        await session.execute(delete(Limit))
        await ensure_default_limits(session)
        gateways = [
            await store(ApiKey(name=f"g{i}", token_hash=f"g{i}", scope="gateway", created_at=NOON))
            for i in range(GATEWAYS)
        ]
        district = await area(AreaKind.DISTRICT, "Net3", None)
        valley = await area(AreaKind.DISTRICT, "Valley", district) if has_valley else None
        network.valley = valley and valley.id
        for node in sorted(node_pressures()):
            parent = valley if valley is not None and node in VALLEY else district
            street = await area(AreaKind.STREET, node, parent)
            network.streets[node] = street.id
            for number in range(BUILDINGS):
                building = await area(AreaKind.BUILDING, f"No. {number + 1}", street)
                for flat in range(FLOORS):
                    place = number * FLOORS + flat
                    await home(node, building, place, gateways[place % GATEWAYS].id)
    return network

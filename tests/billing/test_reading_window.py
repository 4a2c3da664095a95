"""Who is asked to read a meter, and who is left in peace."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import delete, update

from core.accounts.models import Agreement, ApiKey, Operator, Service
from core.billing.reading_window import list_unread, remind_to_read
from core.db import Database
from core.monitoring.models import Meter, ReadingStatus, Source
from core.periods import start_of_day
from tests.billing.books import ZONE, ask, keep, load_shipped, read
from tests.world import World


def nine(day: date) -> datetime:
    return start_of_day(day, zone=ZONE) + timedelta(hours=9)


OCTOBER_25, OCTOBER_26, OCTOBER_28 = (nine(date(2026, 10, day)) for day in (25, 26, 28))


async def told(database: Database, *moments: datetime) -> list[tuple[object, ...]]:
    """Remind at these moments, and return whom and as what, each once."""
    for moment in moments:
        async with database.transaction() as session:
            await remind_to_read(session, now=moment)
    return await ask(
        database,
        "SELECT c.person_id, split_part(d.dedupe_key, ':', 3) FROM shuidian.deliveries d"
        " JOIN shuidian.contacts c ON c.id = d.contact_id WHERE d.kind = 'reading.asked'"
        " ORDER BY d.id",
    )


async def unread(database: Database, person: int, now: datetime) -> list[int]:
    async with database.transaction() as session:
        found = await list_unread(session, person_id=person, now=now)
    return [] if found is None else list(found[1])


@pytest.fixture
async def tariffs(database: Database, world: World) -> None:
    assert world
    await load_shipped(database)


@pytest.mark.usefixtures("tariffs")
class TestRemindToRead:
    async def test_asks_on_the_first_day_and_the_last(
        self, database: Database, world: World
    ) -> None:
        people = sorted([world.home.holder, world.neighbour.holder])
        days = [nine(date(2026, 10, day)) for day in range(20, 31)]

        found = await told(database, *days, *days)

        assert found == [(person, "first") for person in people] + [
            (person, "last") for person in people
        ]

    async def test_asks_on_the_next_day_if_the_first_was_missed(
        self, database: Database, world: World
    ) -> None:
        people = sorted([world.home.holder, world.neighbour.holder])
        asked = await told(database, OCTOBER_26, nine(date(2026, 10, 27)))
        assert asked == [(person, "first") for person in people]

    @pytest.mark.parametrize("status", ["accepted", "held", "disputed"])
    async def test_leaves_in_peace_who_gave_a_reading(
        self, database: Database, world: World, status: str
    ) -> None:
        async with database.transaction() as session:
            given = [
                read(meter, date(2026, 10, 26), "5", source=Source.CUSTOMER)
                for meter in world.home.meters.values()
            ]
            for reading in given:
                reading.status = ReadingStatus(status)
            await keep(session, given)

        assert await told(database, OCTOBER_28) == [(world.neighbour.holder, "last")]
        assert await unread(database, world.home.holder, OCTOBER_28) == []

    async def test_takes_no_estimate_and_no_older_reading_for_one(
        self, database: Database, world: World
    ) -> None:
        water, electricity = world.home.meters.values()
        async with database.transaction() as session:
            await keep(
                session,
                [
                    read(water, date(2026, 10, 26), "5", source=Source.ESTIMATE),
                    read(electricity, date(2026, 10, 24), "5"),
                ],
            )
        assert await unread(database, world.home.holder, OCTOBER_26) == [water, electricity]

    async def test_asks_nobody_whose_meter_is_on_a_gateway_removed_or_not_billed(
        self, database: Database, world: World
    ) -> None:
        home, neighbour = world.home, world.neighbour
        water, electricity = Service.WATER, Service.ELECTRICITY
        async with database.transaction() as session:
            key = ApiKey(name="cellar", token_hash="x", scope="gateway", created_at=OCTOBER_25)  # noqa: S106 (no secret)
            session.add(key)
            await session.flush()
            for meter, values in (
                (home.meters[water], {"gateway_id": key.id}),
                (home.meters[electricity], {"removed_at": datetime(2026, 10, 1, tzinfo=UTC)}),
            ):
                await session.execute(update(Meter).where(Meter.id == meter).values(**values))
            ended = update(Agreement).where(Agreement.id == neighbour.agreements[water])
            await session.execute(ended.values(ends_date=date(2026, 10, 20)))

        assert await told(database, OCTOBER_25) == [(neighbour.holder, "first")]
        assert await unread(database, neighbour.holder, OCTOBER_25) == [
            neighbour.meters[electricity]
        ]

    async def test_asks_only_when_a_bill_is_near(self, database: Database, world: World) -> None:
        """Water is billed every second month here, electricity every month."""
        september = nine(date(2026, 9, 25))
        assert await unread(database, world.home.holder, september) == [
            world.home.meters[Service.ELECTRICITY]
        ]

    async def test_keeps_to_the_days_that_the_operator_set(
        self, database: Database, world: World
    ) -> None:
        async with database.transaction() as session:
            await session.execute(
                update(Operator).values(reading_first_day=26, reading_last_day=26)
            )
            await session.execute(
                delete(Agreement).where(Agreement.id.in_(world.neighbour.agreements.values()))
            )
        assert await told(database, OCTOBER_25, OCTOBER_26, OCTOBER_28) == [
            (world.home.holder, "last")
        ]
        assert await unread(database, world.home.holder, OCTOBER_28) == []


def test_the_usual_days_lie_in_the_week_that_a_bill_looks_back() -> None:
    days = Operator.__table__.c
    first, last = (
        int(str(days[name].server_default.arg))  # type: ignore[union-attr]  # they have one
        for name in ("reading_first_day", "reading_last_day")
    )
    for month in range(1, 13):
        ends = date(2027 + month // 12, month % 12 + 1, 1)
        read_on = ends - timedelta(days=1)
        assert start_of_day(read_on.replace(day=first), zone=ZONE) >= start_of_day(
            ends, zone=ZONE
        ) - timedelta(days=7), Decimal(month)
        assert last <= read_on.day

"""Master meters against the meters behind them: only what is known is counted."""

from datetime import UTC, date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from core.accounts.models import Premise, Service, ServicePoint
from core.db import Database
from core.monitoring.losses import (
    AreaLoss,
    LossLimitNotSound,
    list_losses,
    list_recent_losses,
    set_master,
    watch_losses,
    weigh,
)
from core.monitoring.models import Meter
from core.monitoring.service import MeterNotFound
from core.periods import start_of_day
from tests.billing.books import ZONE, ask, show
from tests.world import World

TODAY = date(2026, 11, 2)
NOW = start_of_day(TODAY, zone=ZONE) + timedelta(hours=9)
USES = st.lists(st.none() | st.decimals(0, 1000, places=2), max_size=6)


class TestWeigh:
    @given(masters=USES, subs=USES)
    def test_never_makes_up_what_is_not_known(
        self, masters: list[Decimal | None], subs: list[Decimal | None]
    ) -> None:
        found = weigh(masters, subs)
        if not masters or None in masters:
            assert found is None
            return
        assert found is not None
        known = [use for use in subs if use is not None]
        assert (found.known, found.all) == (len(known), len(subs))
        assert found.loss + sum(known) == found.master
        assert found.is_whole == (None not in subs and len(subs) > 0)
        assert found.master or found.share == 0


@pytest.fixture
async def cellar(database: Database, world: World) -> int:
    """A master meter of the building's water in its cellar; return its id."""
    async with database.transaction() as session:
        premise = Premise(area_id=world.building, address="Linden Street 1, cellar")
        session.add(premise)
        await session.flush()
        point = ServicePoint(premise_id=premise.id, service=Service.WATER, area_id=world.building)
        session.add(point)
        await session.flush()
        installed = start_of_day(date(2026, 1, 1), zone=ZONE).astimezone(UTC)
        meter = Meter(serial="M-1", service_point_id=point.id, digits=6, installed_at=installed)
        session.add(meter)
        await session.flush()
        await set_master(
            session, serial="M-1", area_id=world.building, limit=Decimal("0.2"), now=NOW
        )
    return meter.id


async def flow(database: Database, meter: int, a_day: str, *, days: int = 4) -> None:
    """Have a meter count so much on each of the last days."""
    values = {
        TODAY - timedelta(days=back): str(100 + Decimal(a_day) * (days - back))
        for back in range(days + 1)
    }
    await show(database, meter, values)


async def losses(database: Database) -> list[AreaLoss]:
    async with database.transaction() as session:
        yesterday = (TODAY - timedelta(days=1), TODAY)
        return await list_losses(session, days=[yesterday], zone=ZONE)


class TestListLosses:
    async def test_counts_what_is_missing_in_the_building(
        self, database: Database, world: World, cellar: int
    ) -> None:
        for meter, a_day in (
            (cellar, "10"),
            (world.home.meters[Service.WATER], "4"),
            (world.neighbour.meters[Service.WATER], "3.5"),
            (world.home.meters[Service.ELECTRICITY], "9"),
        ):
            await flow(database, meter, a_day)

        (found,) = await losses(database)

        assert (found.name, found.service) == ("Linden Street · No. 1", "water")
        assert found.balance is not None
        assert (found.balance.master, found.balance.subs, found.balance.loss) == (
            10,
            Decimal("7.5"),
            Decimal("2.5"),
        )
        assert found.balance.share == Decimal("0.25")
        async with database.transaction() as session:
            day, month = await list_recent_losses(session, now=NOW)
        assert day.balance == found.balance
        assert month.balance is None  # the master was not read thirty days ago

    async def test_says_how_many_meters_are_known(
        self, database: Database, world: World, cellar: int
    ) -> None:
        await flow(database, cellar, "10")
        await flow(database, world.home.meters[Service.WATER], "4")
        # Read once, and too early to tell what it showed at midnight.
        await flow(database, world.neighbour.meters[Service.WATER], "3", days=0)

        (found,) = await losses(database)

        assert found.balance is not None
        assert (found.balance.known, found.balance.all) == (1, 2)
        assert not found.balance.is_whole


class TestWatchLosses:
    async def told(self, database: Database) -> int:
        for days in range(3):
            async with database.transaction() as session:
                await watch_losses(session, now=NOW + timedelta(minutes=days))
        count = "SELECT count(*) FROM shuidian.deliveries WHERE kind = 'loss.high'"
        return int(str((await ask(database, count))[0][0]))

    @pytest.mark.parametrize(
        ("master", "neighbour", "told"),
        [("10", "3.5", 2), ("10", "4", 0), ("10", None, 0), (None, "1", 0)],
        ids=["above its limit", "at its limit", "a meter is unknown", "the master is unknown"],
    )
    async def test_tells_each_manager_once_when_it_is_certain(
        self,
        database: Database,
        world: World,
        cellar: int,
        *,
        master: str | None,
        neighbour: str | None,
        told: int,
    ) -> None:
        await flow(database, world.home.meters[Service.WATER], "4")
        for meter, a_day in ((cellar, master), (world.neighbour.meters[Service.WATER], neighbour)):
            if a_day is not None:
                await flow(database, meter, a_day)

        assert await self.told(database) == told


class TestSetMaster:
    async def test_needs_a_meter_in_use_and_a_share(
        self, database: Database, world: World, cellar: int
    ) -> None:
        async with database.transaction() as session:
            for limit in (Decimal(0), Decimal(1)):
                with pytest.raises(LossLimitNotSound):
                    await set_master(
                        session, serial="M-1", area_id=world.riser, limit=limit, now=NOW
                    )
            await session.execute(update(Meter).where(Meter.id == cellar).values(removed_at=NOW))
            with pytest.raises(MeterNotFound):
                await set_master(session, serial="M-1", area_id=None, limit=Decimal("0.1"), now=NOW)
        async with database.transaction() as session:
            master = await session.scalar(select(Meter.master_of_id).where(Meter.id == cellar))
        assert master == world.building

"""Registers that stand still: noted when they should have moved, forgotten when they do."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from core.accounts.models import Service
from core.db import Database
from core.monitoring.models import Reading, ReadingStatus, Source
from core.monitoring.registers import Shown
from core.monitoring.standstills import (
    BEFORE_MIN,
    STILL,
    StillMeter,
    find_usual,
    list_standstills,
    note_standstills,
)
from tests.billing.books import keep
from tests.world import NOON, World

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def shown(days: int, value: str | int | Decimal) -> Shown:
    return Shown(START + days * DAY, Decimal(value))


class TestFindUsual:
    def test_asks_for_a_unit_that_is_missing(self) -> None:
        # 30 in 60 days is half a unit a day: a fortnight is seven.
        assert find_usual(shown(0, 10), shown(60, 40), shown(74, 40), digits=5) == Decimal("0.5")
        # 4 in 60 days: in a fortnight less than one, which a coarse register would not show.
        assert find_usual(shown(0, 10), shown(60, 14), shown(74, 14), digits=5) is None

    @given(
        use=st.decimals(0, 500, places=2),
        moved=st.decimals(0, 5, places=2),
        days=st.integers(1, 90),
        still=st.integers(STILL.days, 60),
    )
    def test_notes_exactly_what_should_have_moved_and_did_not(
        self, use: Decimal, moved: Decimal, days: int, still: int
    ) -> None:
        last = shown(days + still, 100 + use + moved)
        found = find_usual(shown(0, 100), shown(days, 100 + use), last, digits=6)
        is_noted = moved == 0 and days >= BEFORE_MIN.days and use * still >= days
        assert (found is not None) == is_noted


class TestNoteStandstills:
    async def read(self, database: Database, meter: int, values: dict[int, str]) -> None:
        """Have a meter show values some days before noon."""
        async with database.transaction() as session:
            await keep(
                session,
                [
                    Reading(
                        meter_id=meter,
                        register="total",
                        taken_at=NOON - days * DAY,
                        value=Decimal(value),
                        source=Source.GATEWAY,
                        status=ReadingStatus.ACCEPTED,
                        received_at=NOON,
                    )
                    for days, value in values.items()
                ],
            )

    async def noted(self, database: Database, now: datetime) -> list[StillMeter]:
        for _ in range(2):
            async with database.transaction() as session:
                await note_standstills(session, now=now)
        async with database.transaction() as session:
            found, total = await list_standstills(session, limit=9)
        assert total == len(found)
        return list(found)

    async def test_notes_and_forgets(self, database: Database, world: World) -> None:
        still, moves = world.home.meters[Service.WATER], world.neighbour.meters[Service.WATER]
        before = {79: "100", 50: "115", 20: "130"}
        await self.read(database, still, {**before, 19: "130", 10: "130", 1: "130"})
        await self.read(database, moves, {**before, 19: "130", 10: "130", 1: "130.5"})

        (found,) = await self.noted(database, NOON)

        assert (found.serial, found.value, found.usual) == ("W-10001", 130, Decimal("0.5"))
        assert found.since == NOON - 20 * DAY
        await self.read(database, still, {0: "130.2"})
        assert await self.noted(database, NOON) == []

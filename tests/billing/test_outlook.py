"""The running bill: exact so far, honest ahead, silent where nothing is known, told once."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from bot.handlers.outlook_words import describe_what_if
from bot.texts import Texts
from core.accounts.models import Contact, Service
from core.accounts.service import list_places
from core.billing.budgets import BudgetNotFound, BudgetNotPossible, set_budget, stop_budget
from core.billing.early_warnings import list_watched, warn_early
from core.billing.forecasts import Forecast
from core.billing.models import Bill
from core.billing.outlook import get_outlook
from core.billing.running import (
    AgreementNotFound,
    QuantityNotPossible,
    find_running,
    what_if,
)
from core.money import Money, round_to
from core.notices.models import Delivery
from core.periods import month_of, start_of_day
from tests.billing.books import NOVEMBER, OCTOBER, SEPTEMBER, ZONE, load_shipped, run_bills, show

POWER, WATER = Service.ELECTRICITY, Service.WATER
DAY = timedelta(days=1)
FIRST = date(2026, 9, 1)
# Anhui: 0.5653 a kWh up to 2160 a year, 0.6153 above.
TIER = Decimal(2160)


def noon(day: date) -> datetime:
    return start_of_day(day, zone=ZONE) + timedelta(hours=12)


def steadily(last: date, a_day: str, *, begins: str = "0", first: date = FIRST) -> dict[date, str]:
    """A register that goes on by the same amount every day."""
    days = range((last - first).days + 1)
    return {first + i * DAY: str(Decimal(begins) + i * Decimal(a_day)) for i in days}


async def read_and_bill(database, world, values: dict[date, str], *, service=POWER) -> int:
    """Load tariffs, show the neighbour's register, bill September and October."""
    await load_shipped(database)
    await show(database, world.neighbour.meters[service], values)
    for period in (SEPTEMBER, OCTOBER):
        await run_bills(database, service, period)
    return world.neighbour.agreements[service]


async def look(database, agreement: int, now: datetime):
    async with database.transaction() as session:
        return await get_outlook(session, agreement_id=agreement, now=now)


class TestGetOutlook:
    async def test_costs_what_a_bill_of_these_days_would(self, database, world) -> None:
        last = date(2026, 11, 12)
        agreement = await read_and_bill(database, world, steadily(last, "10"))

        found = await look(database, agreement, noon(last))

        assert found.used == 110
        assert found.cost_minor == 6218  # 110 kWh at 0.5653
        assert not found.is_silent
        assert not found.is_estimated
        assert not found.running.is_bill_due
        assert found.running.basis.used == {"total": Decimal(610)}
        assert (found.running.basis.period.starts, found.running.basis.period.ends) == (
            NOVEMBER.starts,
            NOVEMBER.ends,
        )

    async def test_foresees_exactly_the_bill_that_comes_of_the_likely_use(
        self, database, world
    ) -> None:
        last = date(2026, 11, 12)
        agreement = await read_and_bill(database, world, steadily(last, "10"))

        found = await look(database, agreement, noon(last))
        assert found.forecast is not None
        assert found.costs is not None
        ends = Decimal(610) + found.forecast.likely
        await show(database, world.neighbour.meters[POWER], {NOVEMBER.ends: str(ends)})
        await run_bills(database, POWER, NOVEMBER, now=noon(NOVEMBER.ends))

        assert found.forecast.likely == 300
        assert found.forecast.low < 300 < found.forecast.high
        assert found.costs.low < found.costs.likely < found.costs.high
        async with database.transaction() as session:
            bill = await session.scalar(select(Bill).where(Bill.starts_date == NOVEMBER.starts))
        assert bill is not None
        assert (bill.consumption, bill.total_minor) == (300, found.costs.likely)

    async def test_counts_the_days_to_the_next_tier(self, database, world) -> None:
        last = date(2026, 11, 12)
        # 31 kWh a day: 1891 are billed up to November, and 2160 are passed on its ninth day.
        agreement = await read_and_bill(database, world, steadily(date(2026, 11, 5), "31"))

        before = await look(database, agreement, noon(date(2026, 11, 5)))
        await show(
            database,
            world.neighbour.meters[POWER],
            steadily(last, "31", begins="2046", first=date(2026, 11, 6)),
        )
        after = await look(database, agreement, noon(last))

        assert (before.tier, before.began_tier) == (1, 1)
        assert before.next_tier is not None
        assert (before.next_tier.tier, before.next_tier.above) == (2, TIER)
        assert before.next_tier.days == 4  # 4.7 after the reading at midnight
        assert (after.tier, after.began_tier, after.next_tier) == (2, 1, None)

    async def test_says_since_when_a_meter_is_silent(self, database, world) -> None:
        heard = date(2026, 11, 5)
        agreement = await read_and_bill(database, world, steadily(heard, "10"))

        silent = await look(database, agreement, noon(date(2026, 11, 10)))
        guessed = await look(database, agreement, noon(date(2026, 11, 20)))

        assert silent.is_silent
        assert silent.used == 40, "nothing is made up after the last reading"
        assert silent.forecast is not None
        assert silent.forecast.likely == 300, "the days since then are ahead, not lost"
        assert guessed.is_estimated
        assert guessed.is_silent
        assert guessed.heard_at == start_of_day(heard, zone=ZONE)

    async def test_knows_nothing_without_a_reading(self, database, world) -> None:
        await load_shipped(database)

        found = await look(database, world.neighbour.agreements[POWER], noon(date(2026, 11, 5)))

        assert (found.used, found.cost_minor, found.forecast, found.heard_at) == (None,) * 4
        assert found.is_silent

    async def test_goes_by_bills_where_nobody_reads_by_the_day(self, database, world) -> None:
        reads = {
            date(2026, 8, 1): "0",
            date(2026, 9, 1): "310",
            date(2026, 10, 1): "460",
            date(2026, 11, 1): "770",
            date(2026, 11, 11): "870",
        }
        await load_shipped(database)
        await show(database, world.neighbour.meters[POWER], reads)
        august = month_of(date(2026, 8, 1))
        agreement = world.neighbour.agreements[POWER]
        now = noon(date(2026, 11, 11))

        for period in (august, SEPTEMBER):
            await run_bills(database, POWER, period)
        await run_bills(database, POWER, OCTOBER)
        found = await look(database, agreement, now)

        assert found.used == 100
        assert found.by_bills
        assert found.forecast is not None
        # 20 days are ahead, at 5 kWh (September) to 10 kWh a day (August and October).
        assert found.forecast == Forecast(
            low=Decimal("200.000"), likely=Decimal("300.000"), high=Decimal("300.000")
        )


class TestRunning:
    @pytest.mark.parametrize("quantity", ["0", "1", "99", "100.9", "777"])
    async def test_shares_a_quantity_as_the_registers_were_used(
        self, database, world, quantity
    ) -> None:
        await load_shipped(database)
        async with database.transaction() as session:
            found = await find_running(
                session, agreement_id=world.home.agreements[WATER], now=noon(date(2026, 11, 5))
            )
        shares = {"peak": Decimal(10), "flat": Decimal(25), "valley": Decimal(5)}

        (part,) = replace(found, shares=shares).price(Decimal(quantity)).parts

        assert sum(part.quantities.values()) == int(Decimal(quantity))
        assert all(each >= 0 for each in part.quantities.values())
        assert part.quantities["flat"] == round_to(
            Decimal(int(Decimal(quantity))) * 5 / 8, digits=0
        )


class TestWhatIf:
    async def test_is_priced_by_the_own_tariff_and_year(self, database, world) -> None:
        last = date(2026, 11, 5)
        agreement = await read_and_bill(database, world, steadily(last, "31"))

        async with database.transaction() as session:
            found = await what_if(
                session, agreement_id=agreement, quantity=Decimal(400), now=noon(last)
            )

        # 269 kWh are left in tier 1, 131 are in tier 2.
        lines = [(line.tier, line.quantity) for part in found.computed.parts for line in part.lines]
        assert lines == [(1, Decimal(269)), (2, Decimal(131))]
        assert found.computed.total_minor == 23267

    async def test_says_what_the_running_bill_says_of_a_month_not_billed(
        self, database, world
    ) -> None:
        last = date(2026, 11, 5)
        agreement = await read_and_bill(database, world, steadily(last, "31"))
        async with database.transaction() as session:
            found = await what_if(
                session, agreement_id=agreement, quantity=Decimal(400), now=noon(last)
            )
            places = await list_places(session, person_id=world.neighbour.holder)
        place = next(place for place in places if place.agreement_id == agreement)

        texts = Texts("en", timezone="Asia/Shanghai", currency="CNY")
        for is_due in (False, True):
            running = replace(found.running, is_bill_due=is_due)
            words = describe_what_if(texts, place, replace(found, running=running))
            assert ("is not made yet" in words) is is_due

    @pytest.mark.parametrize("quantity", ["0", "0.9", "100001"])
    async def test_refuses_what_nobody_uses(self, database, world, quantity) -> None:
        await load_shipped(database)

        async with database.transaction() as session:
            with pytest.raises(QuantityNotPossible):
                await what_if(
                    session,
                    agreement_id=world.home.agreements[WATER],
                    quantity=Decimal(quantity),
                    now=noon(date(2026, 11, 5)),
                )


async def warn(database, agreements: Iterable[int], now: datetime) -> list[Delivery]:
    """Look ahead and return all that was ever said so, the oldest first."""
    async with database.transaction() as session:
        await warn_early(session, agreement_ids=list(agreements), now=now)
    async with database.transaction() as session:
        said = select(Delivery).where(Delivery.kind.startswith("outlook.")).order_by(Delivery.id)
        return list(await session.scalars(said))


class TestWarnEarly:
    async def test_tells_of_a_tier_once_and_in_the_morning(self, database, world) -> None:
        last = date(2026, 11, 5)
        agreement = await read_and_bill(database, world, steadily(last, "31"))

        told = await warn(database, [agreement], noon(last) - timedelta(hours=8))
        day = await warn(database, [agreement], noon(last))
        await show(
            database,
            world.neighbour.meters[POWER],
            steadily(date(2026, 11, 20), "31", begins="2046", first=date(2026, 11, 6)),
        )
        again = await warn(database, [agreement], noon(date(2026, 11, 8)))
        beyond = await warn(database, [agreement], noon(date(2026, 11, 20)))

        assert [each.due_at for each in told] == [noon(last) - timedelta(hours=3)]
        assert [(each.kind, each.params["tier"], each.params["days"]) for each in told] == [
            ("outlook.tier", 2, 5)
        ]
        assert len(day) == len(again) == len(beyond) == 1

    async def test_tells_of_a_budget_when_it_is_coming_and_when_it_is_reached(
        self, database, world
    ) -> None:
        agreement = await read_and_bill(database, world, steadily(date(2026, 11, 12), "10"))
        person = world.neighbour.holder
        async with database.transaction() as session:
            await set_budget(
                session,
                person_id=person,
                agreement_id=agreement,
                limit=Money(10_000, "CNY"),
                now=noon(date(2026, 11, 2)),
            )

        coming = await warn(database, [agreement], noon(date(2026, 11, 12)))
        twice = await warn(database, [agreement], noon(date(2026, 11, 12)))
        await show(
            database,
            world.neighbour.meters[POWER],
            steadily(date(2026, 11, 20), "10", begins="730", first=date(2026, 11, 13)),
        )
        reached = await warn(database, [agreement], noon(date(2026, 11, 20)))

        assert [each.params["which"] for each in coming] == ["coming"]
        assert coming[0].params["minor"] == 16959  # 300 kWh
        assert len(twice) == 1
        assert [each.params["which"] for each in reached] == ["coming", "reached"]
        assert {each.contact_id for each in reached} == {world.neighbour.holder_contact}

    async def test_watches_those_who_can_be_reached(self, database, world) -> None:
        async with database.transaction() as session:
            contact = await session.get_one(Contact, world.neighbour.holder_contact)
            contact.unreachable_since = datetime(2026, 11, 1, tzinfo=UTC)

        async with database.transaction() as session:
            watched = await list_watched(session, now=noon(date(2026, 11, 2)))

        assert set(watched) == set(world.home.agreements.values())


class TestBudget:
    async def test_is_one_for_each_person_and_only_their_own(self, database, world) -> None:
        now = noon(date(2026, 11, 2))
        mine, theirs = world.home.agreements[POWER], world.neighbour.agreements[POWER]
        person = world.home.holder

        async def put(agreement: int, minor: int) -> int:
            async with database.transaction() as session:
                limit = Money(minor, "CNY")
                kept = await set_budget(
                    session, person_id=person, agreement_id=agreement, limit=limit, now=now
                )
                return kept.id

        first, second = await put(mine, 100), await put(mine, 200)

        with pytest.raises(AgreementNotFound):
            await put(theirs, 100)
        with pytest.raises(BudgetNotPossible):
            await put(mine, 0)
        for budget, whose in ((first, person), (second, world.neighbour.holder)):
            async with database.transaction() as session:
                with pytest.raises(BudgetNotFound):
                    await stop_budget(session, person_id=whose, budget_id=budget, now=now)

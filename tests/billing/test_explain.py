"""Why this much: every cause is found, and the causes add up exactly."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.accounts.models import Service
from core.billing.bills import BillNotFound
from core.billing.calculation import Basis, compute_bill
from core.billing.explain import Part, explain_bill, take_apart
from core.billing.tariff_files import shipped_tariffs
from core.billing.tariff_model import Interval
from core.db import Database
from core.periods import Period, month_of
from tests.billing.books import load_shipped, run_bills, show
from tests.world import World

TARIFFS = shipped_tariffs()
PRICED_BY_TOTAL = ["anhui-electricity", "hefei-water", "beijing-water", "guangzhou-electricity"]


def basis(code: str, period: Period, quantity: str, *, used: str = "0", people: int = 3) -> Basis:
    return Basis(
        versions=TARIFFS[code].versions,
        period=period,
        quantities={"total": Decimal(quantity)},
        used={"total": Decimal(used)},
        people=people,
        customer_since=date(2020, 1, 1),
    )


MARCH, APRIL = month_of(date(2026, 3, 1)), month_of(date(2026, 4, 1))


class TestTakeApart:
    def test_gives_a_shorter_month_and_the_use_their_shares(self) -> None:
        earlier = basis("anhui-electricity", MARCH, "310")
        later = basis("anhui-electricity", APRIL, "400")

        # 310 in 31 days is 300 in 30 days; the other 100 kWh are use, at 0.5653 each.
        assert take_apart(earlier, later) == [
            Part(cause="days", minor=-565),
            Part(cause="use", minor=5653),
        ]

    def test_finds_the_household_and_the_place_in_the_tiers(self) -> None:
        earlier = basis("beijing-water", APRIL, "20", used="180")
        bigger = replace(earlier, people=7)
        higher = replace(earlier, used={"total": Decimal(250)})

        assert take_apart(earlier, bigger) == [Part(cause="household", minor=-4000)]
        assert take_apart(earlier, higher) == [Part(cause="tiers", minor=2000)]

    def test_finds_a_season(self) -> None:
        summer = basis("guangzhou-electricity", month_of(date(2026, 10, 1)), "600")
        winter = basis("guangzhou-electricity", month_of(date(2026, 12, 1)), "600")

        assert take_apart(summer, winter) == [Part(cause="price", minor=5300)]

    def test_takes_what_is_known_about_the_customer_with_the_price(self) -> None:
        before = basis("shandong-electricity", APRIL, "100")
        after = replace(before, attributes={"low_income": "1"})

        assert take_apart(before, after) == [Part(cause="price", minor=-820)]

    def test_does_not_tell_use_and_price_apart_where_each_interval_has_its_own(self) -> None:
        def agile(period: Period, market: str) -> Basis:
            at = datetime(period.starts.year, period.starts.month, 2, 3, tzinfo=UTC)
            interval = Interval(at=at, use=Decimal(50), market=Decimal(market))
            return replace(basis("octopus-agile", period, "50"), intervals=(interval,))

        assert take_apart(agile(MARCH, "10"), agile(APRIL, "20")) == [Part(cause="use", minor=1100)]

    @pytest.mark.parametrize("used", ["0", "180", "300"])
    def test_blames_no_price_for_tiers_that_begin_anew_with_the_year(self, used: str) -> None:
        autumn = Period(date(2025, 10, 1), date(2025, 12, 1))
        winter = Period(date(2025, 12, 1), date(2026, 2, 1))
        earlier = basis("beijing-water", autumn, "61", used=used)
        later = basis("beijing-water", winter, "62", used=str(int(used) + 61))

        parts = take_apart(earlier, later)

        assert "price" not in {part.cause for part in parts}
        difference = compute_bill(later).total_minor - compute_bill(earlier).total_minor
        assert sum(part.minor for part in parts) == difference

    @settings(deadline=None, max_examples=200)
    @given(
        code=st.sampled_from(PRICED_BY_TOTAL),
        months=st.tuples(st.integers(1, 12), st.integers(1, 12)),
        quantities=st.tuples(st.integers(0, 900), st.integers(0, 900)),
        homes=st.tuples(*2 * [st.tuples(st.integers(0, 500), st.integers(1, 9))]),
        days=st.tuples(st.integers(1, 70), st.booleans()),
    )
    def test_adds_up_to_the_difference(self, code, months, quantities, homes, days) -> None:
        first, second = (month_of(date(2026, month, 1)) for month in months)
        if days[1]:
            second = Period(second.starts, date.fromordinal(second.starts.toordinal() + days[0]))
        earlier, later = (
            basis(code, period, str(quantities[n]), used=str(homes[n][0]), people=homes[n][1])
            for n, period in enumerate((first, second))
        )

        parts = take_apart(earlier, later)

        difference = compute_bill(later).total_minor - compute_bill(earlier).total_minor
        assert sum(part.minor for part in parts) == difference
        assert all(part.minor for part in parts)


class TestExplainBill:
    async def test_compares_with_the_bill_before_and_shows_it_to_its_people_only(
        self, database: Database, world: World
    ) -> None:
        await load_shipped(database)
        meter = world.home.meters[Service.ELECTRICITY]
        await show(
            database,
            meter,
            {date(2026, 8, 1): "0", date(2026, 9, 1): "310", date(2026, 10, 1): "710"},
        )
        for month in (8, 9):
            await run_bills(database, Service.ELECTRICITY, month_of(date(2026, month, 1)))

        async with database.transaction() as session:
            found = await explain_bill(session, number="E1002", person_id=world.home.holder)
            with pytest.raises(BillNotFound):
                await explain_bill(session, number="E1002", person_id=world.neighbour.holder)

        assert found.year_ago is None
        assert found.before is not None
        assert found.before.earlier.number == "E1001"
        assert found.before.parts == [
            Part(cause="days", minor=-565),
            Part(cause="use", minor=5653),
        ]

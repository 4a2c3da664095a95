"""A bill over a period in which something changes, and the year to which its tiers belong."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from core.accounts.models import AccountRight, Right, Service
from core.billing.calculation import Basis, compute_bill
from core.billing.formulas import parse_number
from core.billing.tariff_model import (
    Charge,
    ChargePer,
    Component,
    Interval,
    PartMonth,
    TariffVersion,
    Window,
)
from core.billing.tiers import LimitsPer
from core.db import Database
from core.monitoring.models import Meter
from core.periods import Period, month_of
from tests.billing.books import (
    NOVEMBER,
    NOW,
    OCTOBER,
    SEPTEMBER,
    ask,
    keep,
    load_shipped,
    read,
    run_bills,
    show,
)
from tests.billing.tariff_building import component, decimals, make_version, tiering
from tests.world import World

APRIL = month_of(date(2026, 4, 1))
BOTH = Period(date(2026, 5, 1), date(2026, 7, 1))
SEASONS = {"other": frozenset({1, 2, 3, 4, 5, 10, 11, 12}), "summer": frozenset({6, 7, 8, 9})}


def yearly(**parts) -> TariffVersion:
    return make_version(
        window=Window.YEAR,
        tiers={"volume": tiering("120", per=LimitsPer.YEAR)},
        components={"water": component("1", "2", tiers="volume")},
        **parts,
    )


def basis(version: TariffVersion, use: str, *, period: Period = APRIL, **parts) -> Basis:
    usual = {"used": {}, "people": 3, "customer_since": date(2020, 1, 1)}
    return Basis(
        versions=(version,), period=period, quantities={"total": Decimal(use)}, **(usual | parts)
    )


def limits_of(made: Basis) -> set[Decimal | None]:
    return {line.tier_to for part in compute_bill(made).parts for line in part.lines} - {None}


class TestTheYearOfACustomer:
    def test_has_all_months_if_nothing_changes(self):
        assert limits_of(basis(yearly(), "10")) == {120}

    def test_that_begins_within_a_month_counts_it_whole(self):
        made = basis(yearly(), "10", customer_since=date(2026, 3, 31))

        assert limits_of(made) == {100}

    def test_counts_part_of_a_month_by_days_where_the_tariff_says_so(self):
        made = basis(
            yearly(part_month=PartMonth.DAYS),
            "10",
            customer_since=date(2026, 11, 16),
            period=Period(date(2026, 11, 16), date(2027, 1, 1)),
        )

        assert limits_of(made) == {15}

    def test_ends_with_the_month_in_which_the_customer_leaves(self):
        made = basis(yearly(), "10", customer_until=date(2026, 4, 16))

        assert limits_of(made) == {40}

    def test_begins_anew_in_january(self):
        made = basis(
            yearly(),
            "62",
            period=Period(date(2025, 12, 1), date(2026, 2, 1)),
            used={"total": Decimal(120)},
        )

        assert compute_bill(made).total_minor == 31 * 200 + 31 * 100

    @given(
        st.integers(1, 363), st.integers(0, 300), st.integers(0, 300), st.sampled_from(["0", "40"])
    )
    def test_costs_the_same_however_it_is_divided_into_bills(self, day, first, then, before):
        whole = Period(date(2026, 1, 2), date(2027, 1, 1))
        early, late = whole.split_at(whole.starts + timedelta(days=day))
        used = {"total": Decimal(before)}

        one = compute_bill(basis(yearly(), str(first + then), period=whole, used=used))
        two = [
            compute_bill(basis(yearly(), str(first), period=early, used=used)),
            compute_bill(
                basis(yearly(), str(then), period=late, used={"total": Decimal(before) + first})
            ),
        ]

        assert sum(bill.total_minor for bill in two) == one.total_minor


class TestAChangeWithinABill:
    def test_of_the_price_divides_the_use_by_days_and_keeps_the_tiers(self):
        old, new = yearly(), yearly(valid_from=date(2026, 4, 11))
        dearer = replace(new, components={"water": component("3", "4", tiers="volume")})
        made = replace(
            basis(old, "30", used={"total": Decimal(105)}),
            versions=(replace(old, valid_to=dearer.valid_from), dearer),
        )

        found = compute_bill(made)

        assert [part.quantities["total"] for part in found.parts] == [10, 20]
        assert found.total_minor == 1000 + 5 * 300 + 15 * 400

    def test_of_the_price_charges_once_what_is_due_per_bill(self):
        charged = {
            "fixed": {"service": Charge(amount=Decimal(7), per=ChargePer.BILL)},
            "minimum": Charge(amount=Decimal(50), per=ChargePer.BILL),
        }
        old = yearly(valid_to=date(2026, 4, 11), **charged)
        made = replace(
            basis(old, "30"), versions=(old, yearly(valid_from=date(2026, 4, 11), **charged))
        )

        lines = [line for part in compute_bill(made).parts for line in part.lines]

        assert [(line.code, line.amount) for line in lines] == [
            ("water", 10),
            ("water", 20),
            ("service", 7),
            ("minimum", 13),
        ]

    def test_of_the_season_begins_its_own_tiers_with_its_own_months(self):
        bands = make_version(
            window=Window.BILL,
            seasons=SEASONS,
            tiers={"bands": tiering("100")},
            components={
                "energy": Component(
                    tiers="bands",
                    prices={"other": decimals("1", "2"), "summer": decimals("3", "4")},
                )
            },
        )

        parts = compute_bill(basis(bands, "244", period=BOTH)).parts

        assert [[(line.tier, line.quantity) for line in part.lines] for part in parts] == [
            [(1, 100), (2, Decimal(24))],
            [(1, 100), (2, Decimal(20))],
        ]
        both_summer = Period(date(2026, 6, 1), date(2026, 8, 1))
        (whole,) = compute_bill(basis(bands, "244", period=both_summer)).parts
        assert [(line.tier, line.quantity) for line in whole.lines] == [(1, 200), (2, 44)]

    def test_of_the_price_lets_the_whole_use_choose_the_side_of_a_cliff(self):
        cliff = make_version(
            window=Window.BILL,
            cliff="size",
            tiers={"size": tiering("100")},
            components={
                "energy": Component(prices={"tier1": decimals("1"), "tier2": decimals("2")})
            },
        )
        halves = (
            replace(cliff, valid_to=date(2026, 4, 16)),
            replace(cliff, valid_from=date(2026, 4, 16)),
        )

        low, high = (
            compute_bill(replace(basis(cliff, use), versions=halves)) for use in ("100", "101")
        )

        assert len(low.parts) == 2
        assert (low.total_minor, high.total_minor) == (10000, 20200)

    def test_of_the_price_leaves_the_names_in_formulas_to_the_whole_bill(self):
        version = make_version(
            components={"energy": component("1")},
            fixed={"share": Charge(amount=parse_number("use / days"), per=ChargePer.DAY)},
        )
        halves = (
            replace(version, valid_to=date(2026, 4, 16)),
            replace(version, valid_from=date(2026, 4, 16)),
        )

        assert compute_bill(replace(basis(version, "90"), versions=halves)).total_minor == 18000

    def test_takes_the_use_of_each_part_from_its_intervals_where_they_are_known(self):
        monthly = make_version(
            series="market",
            components={"energy": component("1")},
            window=Window.MONTH,
        )
        priced = replace(
            monthly, components={"energy": Component(prices=(parse_number("market * 2"),))}
        )
        intervals = tuple(
            Interval(at=at, use=Decimal(use), market=Decimal(market))
            for at, use, market in (
                (datetime(2026, 5, 31, 23, 30, tzinfo=UTC), "9", "-1"),
                (datetime(2026, 6, 1, tzinfo=UTC), "1", "4"),
            )
        )

        found = compute_bill(basis(priced, "10", period=BOTH, intervals=intervals))

        assert [part.quantities["total"] for part in found.parts] == [9, 1]
        assert found.total_minor == -1800 + 800


TIERS = (
    "SELECT agreement_id, tier, sum(quantity) FROM shuidian.bill_lines"
    " JOIN shuidian.bills b ON b.id = bill_id GROUP BY 1, 2, b.id ORDER BY b.id, tier"
)


class TestTheAccumulator:
    """Anhui: 2160 kWh of tier 1 in a year."""

    @pytest.fixture
    async def meter(self, database: Database, world: World) -> int:
        await load_shipped(database)
        meter = world.home.meters[Service.ELECTRICITY]
        await show(database, meter, {date(2026, 9, 1): "0", date(2026, 10, 1): "2100"})
        await run_bills(database, Service.ELECTRICITY, SEPTEMBER)
        return meter

    async def test_goes_on_for_a_new_tenant(self, database, world, meter):
        async with database.transaction() as session:
            session.add(
                AccountRight(
                    account_id=world.home.account,
                    person_id=world.neighbour.holder,
                    right=Right.TENANT,
                    since=NOW,
                )
            )
        await show(database, meter, {date(2026, 11, 1): "2200"})

        await run_bills(database, Service.ELECTRICITY, OCTOBER)

        agreement = world.home.agreements[Service.ELECTRICITY]
        assert await ask(database, TIERS) == [
            (agreement, 1, 2100),
            (agreement, 1, 60),
            (agreement, 2, 40),
        ]

    async def test_begins_anew_with_a_new_holder_whose_months_are_counted(
        self, database, world, meter
    ):
        old = world.home.agreements[Service.ELECTRICITY]
        async with database.transaction() as session:
            await session.execute(
                text("UPDATE shuidian.agreements SET ends_date = '2026-10-01' WHERE id = :old"),
                {"old": old},
            )
            new = await session.scalar(
                text(
                    "INSERT INTO shuidian.agreements"
                    " (account_id, service_point_id, tariff_code, starts_date)"
                    " SELECT account_id, service_point_id, tariff_code, ends_date"
                    " FROM shuidian.agreements WHERE id = :old RETURNING id"
                ),
                {"old": old},
            )
        await show(database, meter, {date(2026, 11, 1): "2700"})

        await run_bills(database, Service.ELECTRICITY, OCTOBER)

        # October to December: 2160 * 3 / 12 = 540.
        assert await ask(database, TIERS) == [(old, 1, 2100), (new, 1, 540), (new, 2, 60)]

    async def test_goes_on_when_the_meter_is_replaced(self, database, meter):
        changed_at = datetime(2026, 10, 14, 16, 0, tzinfo=UTC)
        async with database.transaction() as session:
            old = await session.get_one(Meter, meter)
            old.removed_at = changed_at
            await session.flush()
            new = Meter(
                serial="E-NEW",
                service_point_id=old.service_point_id,
                digits=6,
                installed_at=changed_at,
            )
            session.add(new)
            await session.flush()
            shown = [(meter, 15, "2150"), (new.id, 15, "0")]
            await keep(session, [read(each, date(2026, 10, day), v) for each, day, v in shown])
            await keep(session, [read(new.id, date(2026, 11, 1), "50")])

        await run_bills(database, Service.ELECTRICITY, OCTOBER)

        assert [row[1:] for row in await ask(database, TIERS)] == [(1, 2100), (1, 60), (2, 40)]

    async def test_counts_what_was_estimated_until_the_next_reading_puts_it_right(
        self, database, meter
    ):
        await run_bills(database, Service.ELECTRICITY, OCTOBER)
        await show(database, meter, {date(2026, 12, 1): "6300"})

        await run_bills(database, Service.ELECTRICITY, NOVEMBER, now=NOW + timedelta(days=40))

        # As if October had been read: 2160 in tier 1, 2040 in tier 2, the rest in tier 3.
        assert await ask(
            database,
            "SELECT tier, sum(quantity) FROM shuidian.bill_lines GROUP BY tier ORDER BY tier",
        ) == [(1, 2160), (2, 2040), (3, 2100)]

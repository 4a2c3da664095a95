"""Runs: what is due, a dry run that writes nothing, and tariffs that never change under a bill."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from core.accounts.models import Service
from core.billing import runs
from core.billing.calculation import Basis, compute_bill
from core.billing.holds import find_reason_to_hold
from core.billing.runs import PeriodNotOver
from core.billing.tariff_files import TariffRefused, shipped_tariffs
from core.billing.tariff_store import TariffAlreadyBilled, load_tariffs, shipped_contents
from core.db import Database
from core.monitoring.models import Meter
from core.periods import Period, month_of
from tests.billing.books import (
    NOVEMBER,
    NOW,
    OCTOBER,
    SEPTEMBER,
    ZONE,
    ask,
    load_shipped,
    run_bills,
    show,
)
from tests.world import World

FILE = "anhui-electricity.toml"


class TestDueRuns:
    async def due(self, database: Database, now: datetime = NOW) -> list[tuple[str, Period]]:
        async with database.transaction() as session:
            found = await runs.due_runs(session, now=now, zone=ZONE)
        return [(run.service.value, run.period) for run in found]

    @pytest.mark.usefixtures("world")
    async def test_begin_with_the_month_that_ended_and_miss_none_after(
        self, database: Database
    ) -> None:
        await load_shipped(database)
        assert await self.due(database) == [("water", OCTOBER), ("electricity", OCTOBER)]

        await run_bills(database, Service.ELECTRICITY, SEPTEMBER)
        assert await self.due(database) == [("water", OCTOBER), ("electricity", OCTOBER)]

        for service in Service:
            await run_bills(database, service, OCTOBER)
        assert await self.due(database) == []
        # One second before the month is over in Shanghai, and at its end.
        assert await self.due(database, datetime(2026, 11, 30, 15, 59, 59, tzinfo=UTC)) == []
        assert await self.due(database, datetime(2026, 11, 30, 16, 0, tzinfo=UTC)) == [
            ("water", NOVEMBER),
            ("electricity", NOVEMBER),
        ]

    @pytest.mark.usefixtures("world")
    async def test_take_up_a_run_that_was_broken_off(self, database: Database) -> None:
        async with database.transaction() as session:
            await runs.start_run(session, service=Service.WATER, period=OCTOBER, now=NOW)

        assert ("water", OCTOBER) in await self.due(database)

    @pytest.mark.usefixtures("world")
    async def test_never_start_before_the_period_is_over(self, database: Database) -> None:
        with pytest.raises(PeriodNotOver):
            await run_bills(database, Service.WATER, NOVEMBER)


class TestPreviewRun:
    async def test_shows_the_strangest_first_and_writes_nothing(
        self, database: Database, world: World
    ) -> None:
        await load_shipped(database)
        await show(
            database,
            world.home.meters[Service.ELECTRICITY],
            {date(2026, 9, 1): "0", date(2026, 10, 1): "90000"},
        )
        counts = "SELECT (SELECT count(*) FROM shuidian.bills), (SELECT count(*) FROM"
        counts += " shuidian.billing_runs), (SELECT count(*) FROM shuidian.series)"
        before = await ask(database, counts)

        async with database.transaction() as session:
            found = await runs.preview_run(
                session, service=Service.ELECTRICITY, period=SEPTEMBER, now=NOW
            )

        assert (found.bills, found.held, found.consumption) == (1, 1, Decimal(90000))
        assert [strange.reason for strange in found.strangest] == ["absurd", "billing.no_reading"]
        assert dict(found.skipped) == {"billing.no_reading": 1}
        assert await ask(database, counts) == before == [(0, 0, 0)]

    async def test_leaves_out_a_master_meter(self, database: Database, world: World) -> None:
        await load_shipped(database)
        async with database.transaction() as session:
            meter = await session.get_one(Meter, world.home.meters[Service.ELECTRICITY])
            meter.master_of_id = world.building
            found = await runs.preview_run(
                session, service=Service.ELECTRICITY, period=SEPTEMBER, now=NOW
            )

        assert found.skipped == {"billing.no_reading": 1}  # the neighbour's

    @pytest.mark.usefixtures("world")
    async def test_leaves_out_a_tariff_whose_bills_end_with_another_month(
        self, database: Database
    ) -> None:
        await load_shipped(database)

        async with database.transaction() as session:
            odd = await runs.preview_run(session, service=Service.WATER, period=SEPTEMBER, now=NOW)
            even = await runs.preview_run(session, service=Service.WATER, period=OCTOBER, now=NOW)

        assert (dict(odd.skipped), dict(even.skipped)) == ({}, {"billing.no_reading": 2})


class TestFindReasonToHold:
    @pytest.mark.parametrize(
        ("per_day", "usual", "total", "reason"),
        [
            ("10", "10", 500, None),
            ("30", "10", 500, None),
            ("30.1", "10", 500, "unusual"),
            ("12", "0", 500, None),
            ("12.1", "0", 500, "unusual"),
            ("240", None, 500, None),
            ("240.1", None, 500, "absurd"),
            ("1", None, -1, "negative"),
        ],
    )
    def test_knows_the_bounds(
        self, per_day: str, usual: str | None, total: int, reason: str | None
    ) -> None:
        found = find_reason_to_hold(
            service=Service.ELECTRICITY,
            customer_class="home",
            total_minor=total,
            per_day=Decimal(per_day),
            usual_per_day=None if usual is None else Decimal(usual),
            estimates=2,
            is_owed_use=False,
        )
        assert found == reason

    @pytest.mark.parametrize(
        ("estimates", "ahead", "reason"),
        [(2, 0, None), (3, 0, "estimated"), (0, 1, "ahead")],
    )
    def test_lets_somebody_look_where_guessing_goes_on(
        self, estimates: int, ahead: int, reason: str | None
    ) -> None:
        found = find_reason_to_hold(
            service=Service.WATER,
            customer_class="home",
            total_minor=100,
            per_day=Decimal("0.1"),
            usual_per_day=Decimal("0.1"),
            estimates=estimates,
            is_owed_use=bool(ahead),
        )
        assert found == reason


class TestComputeBill:
    def test_shares_the_use_by_days_where_a_price_changes(self) -> None:
        (old,) = shipped_tariffs()["beijing-water"].versions
        april = month_of(date(2026, 4, 1))
        prices = {"water": replace(old.components["water"], prices=tuple(map(Decimal, "678")))}
        basis = Basis(
            versions=(
                replace(old, valid_to=date(2026, 4, 16)),
                replace(old, valid_from=date(2026, 4, 16), components=prices),
            ),
            period=april,
            quantities={"total": Decimal(30)},
            used={},
            people=3,
            customer_since=date(2020, 1, 1),
        )

        computed = compute_bill(basis)

        assert [part.quantities["total"] for part in computed.parts] == [15, 15]
        assert computed.total_minor == 15 * 500 + 15 * 600

    def test_begins_the_tiers_anew_with_the_year(self) -> None:
        versions = shipped_tariffs()["beijing-water"].versions
        basis = Basis(
            versions=versions,
            period=Period(date(2025, 12, 1), date(2026, 2, 1)),
            quantities={"total": Decimal(62)},
            used={"total": Decimal(180)},
            people=3,
            customer_since=date(2020, 1, 1),
        )

        assert compute_bill(basis).total_minor == 31 * 700 + 31 * 500


class TestLoadTariffs:
    async def test_stores_each_version_once(self, database: Database) -> None:
        assert await load_shipped(database) != []
        assert await load_shipped(database) == []

    async def test_refuses_a_file_that_is_not_named_for_its_code(self, database: Database) -> None:
        with pytest.raises(TariffRefused, match=r"other\.toml: code must name the file"):
            async with database.transaction() as session:
                await load_tariffs(session, contents={"other.toml": shipped_contents()[FILE]})

    async def test_refuses_to_change_a_version_by_which_bills_were_made(
        self, database: Database, world: World
    ) -> None:
        await load_shipped(database)
        meter = world.home.meters[Service.ELECTRICITY]
        await show(database, meter, {date(2026, 9, 1): "0", date(2026, 10, 1): "100"})
        await run_bills(database, Service.ELECTRICITY, SEPTEMBER)
        content = shipped_contents()[FILE]
        dearer = content.replace(b"0.5653", b"0.5753").replace(b"3168.50", b"3190.10")
        dearer = dearer.replace(b"124.52", b"125.52")
        renamed = content.replace(b"Electricity", b"Power")

        with pytest.raises(TariffAlreadyBilled):
            async with database.transaction() as session:
                await load_tariffs(session, contents={FILE: dearer})
        async with database.transaction() as session:
            assert await load_tariffs(session, contents={FILE: renamed}) == []

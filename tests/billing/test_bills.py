"""Bills: issued once, from readings that are kept, held when they look wrong, and void-able."""

import asyncio
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from sqlalchemy import text

from core.accounts.models import Service
from core.billing import bills, corrections, runs
from core.billing.bill_rows import lines_of
from core.billing.corrections import BillNotHeld, LaterBillExists
from core.billing.models import BillState
from core.db import Database
from core.monitoring.models import Meter
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
from tests.world import World

ONE_BILL = "SELECT number, starts_date, ends_date, consumption, total_minor, state, due_date FROM"
ALL_BILLS = f"{ONE_BILL} shuidian.bills ORDER BY id"
LINE = ("position", "kind", "component", "tier", "tier_from", "tier_to")
PRICED = ("quantity", "price", "amount")
TOLD = "SELECT kind, dedupe_key, contact_id FROM shuidian.deliveries ORDER BY id"


@pytest.fixture
async def billed(database: Database, world: World) -> World:
    """Both services read for two months, the neighbour not at all."""
    await load_shipped(database)
    await show(
        database,
        world.home.meters[Service.WATER],
        {date(2026, 9, 1): "100.4", date(2026, 10, 1): "109.9", date(2026, 11, 1): "120.8"},
    )
    await show(
        database,
        world.home.meters[Service.ELECTRICITY],
        {date(2026, 9, 1): "5000", date(2026, 10, 1): "5150.5", date(2026, 11, 1): "5310.25"},
    )
    return world


class TestIssueBills:
    async def test_bills_both_services_from_register_to_message(
        self, database: Database, billed: World
    ) -> None:
        water = await run_bills(database, Service.WATER, OCTOBER)
        september = await run_bills(database, Service.ELECTRICITY, SEPTEMBER)
        october = await run_bills(database, Service.ELECTRICITY, OCTOBER)

        assert (water.issued, water.held, dict(water.skipped)) == (1, 0, {"billing.no_reading": 1})
        assert (september.issued, october.issued) == (1, 1)
        # Water every second month in whole cubic metres: 120 - 100 = 20 of 3.15.
        assert await ask(database, ALL_BILLS) == [
            ("W1001", date(2026, 9, 1), date(2026, 11, 1), Decimal(20), 6300, "issued",
             date(2026, 11, 17)),
            ("E1001", date(2026, 9, 1), date(2026, 10, 1), Decimal("150.50"), 8508, "issued",
             date(2026, 11, 17)),
            ("E1002", date(2026, 10, 1), date(2026, 11, 1), Decimal("159.75"), 9031, "issued",
             date(2026, 11, 17)),
        ]  # fmt: skip
        holder = billed.home.holder_contact
        assert await ask(database, TOLD) == [
            ("bill.issued", f"bill:{number}", holder) for number in ("W1001", "E1001", "E1002")
        ]
        assert await ask(
            database,
            "SELECT account, sum(amount_minor)::bigint FROM shuidian.ledger_entries GROUP BY 1"
            " ORDER BY 1",
        ) == [("receivable", 23839), ("revenue", -23839)]

    async def test_keeps_who_could_not_be_billed_and_catches_up_later(
        self, database: Database, billed: World
    ) -> None:
        meter = billed.neighbour.meters[Service.ELECTRICITY]
        await run_bills(database, Service.ELECTRICITY, SEPTEMBER)
        skipped = "SELECT agreement_id, reason FROM shuidian.billing_skips"
        agreement = billed.neighbour.agreements[Service.ELECTRICITY]
        assert await ask(database, skipped) == [(agreement, "billing.no_reading")]

        await show(database, meter, {date(2026, 9, 1): "10", date(2026, 11, 1): "310"})
        await run_bills(database, Service.ELECTRICITY, OCTOBER)

        assert await ask(database, skipped) == []
        assert await ask(
            database,
            f"{ONE_BILL} shuidian.bills WHERE agreement_id = {agreement}",
        ) == [("E1003", date(2026, 9, 1), date(2026, 11, 1), Decimal(300), 16959, "issued",
               date(2026, 11, 17))]  # fmt: skip

    @pytest.mark.usefixtures("billed")
    async def test_run_again_issues_nothing(self, database: Database) -> None:
        await run_bills(database, Service.WATER, OCTOBER)
        before = await ask(database, ALL_BILLS)

        again = await run_bills(database, Service.WATER, OCTOBER)

        assert (again.issued, again.held) == (0, 0)
        assert await ask(database, ALL_BILLS) == before

    async def test_by_two_workers_at_once_issues_each_bill_once(
        self, database: Database, billed: World
    ) -> None:
        async with database.transaction() as session:
            run_id = await runs.start_run(
                session, service=Service.ELECTRICITY, period=SEPTEMBER, now=NOW
            )
        agreements = [
            home.agreements[Service.ELECTRICITY] for home in (billed.neighbour, billed.home)
        ]

        async def work() -> int:
            async with database.transaction() as session:
                chunk = await bills.issue_bills(
                    session, run_id=run_id, agreement_ids=agreements, now=NOW
                )
                await asyncio.sleep(0.05)
                return chunk.issued

        issued = await asyncio.gather(*(work() for _ in range(6)))

        assert sorted(issued) == [0, 0, 0, 0, 0, 1]
        assert [row[0] for row in await ask(database, ALL_BILLS)] == ["E1001"]

    async def test_rolled_back_leaves_no_gap_in_the_numbers(
        self, database: Database, billed: World
    ) -> None:
        async with database.transaction() as session:
            run_id = await runs.start_run(
                session, service=Service.ELECTRICITY, period=SEPTEMBER, now=NOW
            )

        async def issue_and_fail() -> None:
            agreement = billed.home.agreements[Service.ELECTRICITY]
            async with database.transaction() as session:
                await bills.issue_bills(session, run_id=run_id, agreement_ids=[agreement], now=NOW)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await issue_and_fail()

        await run_bills(database, Service.ELECTRICITY, SEPTEMBER)

        assert [row[0] for row in await ask(database, ALL_BILLS)] == ["E1001"]

    async def test_goes_on_in_the_tiers_of_the_year(
        self, database: Database, billed: World
    ) -> None:
        meter = billed.neighbour.meters[Service.ELECTRICITY]
        await show(
            database,
            meter,
            {
                date(2026, 9, 1): "0",
                date(2026, 10, 1): "2000",
                date(2026, 11, 1): "4500",
            },
        )
        for period in (SEPTEMBER, OCTOBER):
            await run_bills(database, Service.ELECTRICITY, period)

        lines = await ask(
            database,
            "SELECT number, tier, quantity, price FROM shuidian.bill_lines"
            " JOIN shuidian.bills b ON b.id = bill_id"
            " WHERE agreement_id = :agreement ORDER BY b.id, position",
            agreement=billed.neighbour.agreements[Service.ELECTRICITY],
        )
        assert [(tier, quantity) for _, tier, quantity, _ in lines] == [
            (1, Decimal(2000)),
            (1, Decimal(160)),
            (2, Decimal(2040)),
            (3, Decimal(300)),
        ]

    async def test_counts_the_old_and_the_new_meter_when_one_was_replaced(
        self, database: Database, billed: World
    ) -> None:
        await run_bills(database, Service.ELECTRICITY, SEPTEMBER)
        changed_at = datetime(2026, 10, 14, 16, 0, tzinfo=UTC)
        async with database.transaction() as session:
            old = await session.get_one(Meter, billed.home.meters[Service.ELECTRICITY])
            old.removed_at = changed_at
            await session.flush()
            new = Meter(
                serial="E-NEW",
                service_point_id=old.service_point_id,
                digits=6,
                multiplier=Decimal(40),
                installed_at=changed_at,
            )
            session.add(new)
            await session.flush()
            await keep(
                session,
                [
                    read(old.id, date(2026, 10, 15), "5200.5"),
                    read(new.id, date(2026, 10, 15), "3"),
                    read(new.id, date(2026, 11, 1), "5"),
                ],
            )
            await session.execute(
                text("DELETE FROM shuidian.readings WHERE meter_id = :old AND value = 5310.25"),
                {"old": old.id},
            )

        await run_bills(database, Service.ELECTRICITY, OCTOBER)

        number, *_ = (await ask(database, ALL_BILLS))[-1]
        assert await ask(
            database, "SELECT consumption FROM shuidian.bills WHERE number = :number", number=number
        ) == [(Decimal("130.00"),)]

    async def test_reads_a_register_that_ran_over(self, database: Database, billed: World) -> None:
        meter = billed.neighbour.meters[Service.WATER]
        await show(database, meter, {date(2026, 9, 1): "99986", date(2026, 11, 1): "11"})

        await run_bills(database, Service.WATER, OCTOBER)

        assert (await ask(database, "SELECT max(consumption) FROM shuidian.bills"))[0] == (
            Decimal(25),
        )

    async def test_never_takes_a_register_that_fell_for_no_use(
        self, database: Database, billed: World
    ) -> None:
        meter = billed.neighbour.meters[Service.WATER]
        await show(database, meter, {date(2026, 9, 1): "500", date(2026, 11, 1): "400"})

        chunk = await run_bills(database, Service.WATER, OCTOBER)

        assert dict(chunk.skipped) == {"billing.reading_goes_backwards": 1}


class TestHeldBills:
    @pytest.fixture
    async def held(self, database: Database, billed: World) -> World:
        """A third month with twenty times the usual use of electricity."""
        for period in (SEPTEMBER, OCTOBER):
            await run_bills(database, Service.ELECTRICITY, period)
        meter = billed.home.meters[Service.ELECTRICITY]
        await show(database, meter, {date(2026, 12, 1): "8500"})
        later = datetime(2026, 12, 2, tzinfo=UTC)
        chunk = await run_bills(database, Service.ELECTRICITY, NOVEMBER, now=later)
        assert (chunk.issued, chunk.held, chunk.total_minor) == (0, 1, 0)
        return billed

    @pytest.mark.usefixtures("held")
    async def test_are_told_to_nobody_and_owe_nothing(self, database: Database) -> None:
        assert [row[1] for row in await ask(database, TOLD)] == ["bill:E1001", "bill:E1002"]
        assert await ask(
            database,
            "SELECT state, held_reason, due_date, issued_at FROM shuidian.bills"
            " WHERE number = 'E1003'",
        ) == [("held", "unusual", None, None)]
        assert (
            await ask(
                database,
                "SELECT * FROM shuidian.ledger_transactions WHERE reference = 'bill:E1003'",
            )
            == []
        )

    async def test_are_issued_once_when_released(self, database: Database, held: World) -> None:
        later = datetime(2026, 12, 3, tzinfo=UTC)
        async with database.transaction() as session:
            await corrections.release_held(
                session, number="E1003", actor_id=held.manager, now=later
            )

        with pytest.raises(BillNotHeld):
            async with database.transaction() as session:
                await corrections.release_held(
                    session, number="E1003", actor_id=held.manager, now=later
                )

        assert [row[1] for row in await ask(database, TOLD)][-1] == "bill:E1003"
        assert (await ask(database, ALL_BILLS))[-1][5:] == ("issued", date(2026, 12, 18))
        assert await ask(
            database, "SELECT action, subject, actor_id FROM shuidian.audit_entries"
        ) == [("bill.released", "bill:E1003", held.manager)]

    async def test_stop_the_next_bill_until_they_are_decided(
        self, database: Database, held: World
    ) -> None:
        meter = held.home.meters[Service.ELECTRICITY]
        await show(database, meter, {date(2027, 1, 1): "8600"})
        december = runs.month_of(date(2026, 12, 1))
        later = datetime(2027, 1, 2, tzinfo=UTC)

        waiting = await run_bills(database, Service.ELECTRICITY, december, now=later)
        async with database.transaction() as session:
            await corrections.void_bill(
                session, number="E1003", reason="misread", actor_id=held.manager, now=later
            )
        await run_bills(database, Service.ELECTRICITY, december, now=later)

        assert waiting.skipped["billing.held_before"] == 1
        # The void bill's months are billed with the next one: from November to December.
        last = (await ask(database, ALL_BILLS))[-1]
        assert last[:4] == ("E1004", date(2026, 11, 1), date(2027, 1, 1), Decimal("3289.75"))
        assert not [row for row in await ask(database, TOLD) if "E1003" in str(row[1])]


class TestVoidBill:
    async def test_reverses_the_books_tells_the_people_and_allows_a_new_bill(
        self, database: Database, billed: World
    ) -> None:
        await run_bills(database, Service.WATER, OCTOBER)

        async with database.transaction() as session:
            await corrections.void_bill(
                session, number="W1001", reason="misread", actor_id=billed.manager, now=NOW
            )
        again = await run_bills(database, Service.WATER, OCTOBER)

        assert again.issued == 1
        assert [(row[0], row[5]) for row in await ask(database, ALL_BILLS)] == [
            ("W1001", BillState.VOID),
            ("W1002", BillState.ISSUED),
        ]
        assert [row[:2] for row in await ask(database, TOLD)] == [
            ("bill.issued", "bill:W1001"),
            ("bill.voided", "bill.voided:W1001"),
            ("bill.issued", "bill:W1002"),
        ]

    async def test_refuses_a_bill_on_which_a_later_one_builds(
        self, database: Database, billed: World
    ) -> None:
        for period in (SEPTEMBER, OCTOBER):
            await run_bills(database, Service.ELECTRICITY, period)

        with pytest.raises(LaterBillExists):
            async with database.transaction() as session:
                await corrections.void_bill(
                    session, number="E1001", reason="wrong", actor_id=billed.manager, now=NOW
                )


class TestRecompute:
    @pytest.mark.usefixtures("billed")
    async def test_gives_the_stored_lines_for_every_bill(self, database: Database) -> None:
        await run_bills(database, Service.WATER, OCTOBER)
        for period in (SEPTEMBER, OCTOBER):
            await run_bills(database, Service.ELECTRICITY, period)

        for number in ("W1001", "E1001", "E1002"):
            async with database.transaction() as session:
                computed = await bills.recompute(session, number=number)
            stored = await ask(
                database,
                "SELECT position, kind, component, tier, tier_from, tier_to, quantity, price,"
                " amount, l.starts_date, l.ends_date, register, total_minor"
                " FROM shuidian.bill_lines l JOIN shuidian.bills b ON b.id = bill_id"
                " WHERE number = :number ORDER BY position",
                number=number,
            )
            assert stored == [
                (
                    *(line[name] for name in LINE + PRICED),
                    line["starts_date"],
                    line["ends_date"],
                    line["register"],
                    computed.total_minor,
                )
                for line in lines_of(computed)
            ]

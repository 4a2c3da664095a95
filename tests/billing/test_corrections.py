"""Wrong bills: credited, taken back, made again; the books and the people follow."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from core.accounts.models import Service
from core.billing import corrections, rebilling
from core.billing.audit_checks import list_violations
from core.billing.bills import recompute
from core.billing.corrections import (
    BillIsVoid,
    BillNotHeld,
    CreditTooLarge,
    HasOldUse,
    ReasonMissing,
)
from core.billing.models import BillState
from core.billing.payments import Target, record_payment
from core.billing.rebilling import (
    CannotBillAgain,
    Change,
    Gift,
    NotAHousehold,
    NotATariff,
    NothingWouldChange,
    Rebilled,
)
from core.billing.runs import preview_run
from core.billing.settlement import list_open_bills
from core.db import Database
from core.monitoring.correcting import ReadingNotFound
from core.monitoring.rows import Key
from core.periods import Period, start_of_day
from tests.billing.books import (
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

POWER = Service.ELECTRICITY
BILLS = (
    "SELECT number, consumption, total_minor, credited_minor, state FROM shuidian.bills ORDER BY id"
)
TOLD = "SELECT kind, dedupe_key FROM shuidian.deliveries ORDER BY id"
LATER = NOW + timedelta(days=2)


@pytest.fixture
async def billed(database: Database, world: World) -> World:
    """Two months of electricity: 150.50 and 159.75 kWh, 85.08 and 90.31 yuan."""
    await load_shipped(database)
    readings = {date(2026, 9, 1): "5000", date(2026, 10, 1): "5150.5", date(2026, 11, 1): "5310.25"}
    await show(database, world.home.meters[POWER], readings)
    for period in (SEPTEMBER, OCTOBER):
        await run_bills(database, POWER, period)
    return world


async def credit(
    database: Database, world: World, number: str, amount: int | None, reason: str = "misread"
) -> str:
    async with database.transaction() as session:
        credited = await corrections.credit_bill(
            session,
            number=number,
            amount_minor=amount,
            reason=reason,
            actor_id=world.manager,
            now=LATER,
        )
    return credited.number


async def rebill(
    database: Database, world: World, number: str, change: Change | None = None
) -> Rebilled:
    async with database.transaction() as session:
        return await rebilling.rebill(
            session,
            number=number,
            change=change or Change(),
            reason="misread",
            actor_id=world.manager,
            now=LATER,
        )


async def pay(database: Database, world: World, amount: int, *, bill: int | None = None) -> None:
    async with database.transaction() as session:
        await record_payment(
            session,
            provider="cashier",
            reference=f"{amount}",
            target=Target(agreement_id=world.home.agreements[POWER], bill_id=bill),
            amount_minor=amount,
            currency="CNY",
            received_at=NOW,
            now=NOW,
        )


async def left(database: Database, world: World) -> list[tuple[str, int]]:
    async with database.transaction() as session:
        found = await list_open_bills(session, agreement_ids=[world.home.agreements[POWER]])
    return [(bill.number, bill.left_minor) for bill in found]


async def require_sound_books(database: Database) -> None:
    async with database.transaction() as session:
        assert await list_violations(session) == []


def reading_of(world: World, day: date) -> Key:
    return Key(world.home.meters[POWER], "total", start_of_day(day, zone=ZONE))


class TestCreditBill:
    async def test_takes_a_part_off_in_the_books_and_tells_the_people(
        self, database: Database, billed: World
    ) -> None:
        number = await credit(database, billed, "E1001", 1000)

        assert number == "C1001"
        assert await left(database, billed) == [("E1001", 7508), ("E1002", 9031)]
        (posted,) = await ask(
            database,
            "SELECT t.kind, t.reference, o.reference, e.amount_minor"
            " FROM shuidian.ledger_transactions t"
            " JOIN shuidian.ledger_transactions o ON o.id = t.corrects_id"
            " JOIN shuidian.ledger_entries e ON e.transaction_id = t.id"
            " AND e.account = 'receivable'",
        )
        assert posted == ("credit_note", "credit:C1001", "bill:E1001", -1000)
        assert (await ask(database, TOLD))[-1] == ("bill.credited", "credit:C1001")
        await require_sound_books(database)

    async def test_of_the_whole_settles_the_bill(self, database: Database, billed: World) -> None:
        await credit(database, billed, "E1001", None)

        assert (await ask(database, BILLS))[0][3:] == (8508, "settled")
        assert await left(database, billed) == [("E1002", 9031)]
        await require_sound_books(database)

    async def test_puts_what_was_paid_too_much_to_the_oldest_open_bill(
        self, database: Database, billed: World
    ) -> None:
        await pay(database, billed, 8508)

        await credit(database, billed, "E1001", 3000)

        assert await left(database, billed) == [("E1002", 6031)]
        assert (await ask(database, BILLS))[0][4] == BillState.SETTLED
        await require_sound_books(database)

    async def test_leaves_the_rest_as_credit_when_nothing_is_open(
        self, database: Database, billed: World
    ) -> None:
        await pay(database, billed, 8508 + 9031)

        await credit(database, billed, "E1002", 31)

        owed = await ask(
            database,
            "SELECT sum(amount_minor)::int FROM shuidian.ledger_entries WHERE account='receivable'",
        )
        assert owed == [(-31,)]
        await require_sound_books(database)

    async def test_numbers_have_no_gap_after_a_refusal(
        self, database: Database, billed: World
    ) -> None:
        await credit(database, billed, "E1001", 1)
        with pytest.raises(CreditTooLarge):
            await credit(database, billed, "E1001", 8508)

        assert await credit(database, billed, "E1001", 2) == "C1002"
        await require_sound_books(database)

    @pytest.mark.parametrize("amount", [0, -1, 8509])
    async def test_refuses_more_than_the_bill_and_less_than_something(
        self, database: Database, billed: World, amount: int
    ) -> None:
        with pytest.raises(CreditTooLarge):
            await credit(database, billed, "E1001", amount)

    async def test_wants_a_reason(self, database: Database, billed: World) -> None:
        with pytest.raises(ReasonMissing):
            await credit(database, billed, "E1001", 100, reason="  ")

    async def test_is_undone_with_the_bill(self, database: Database, billed: World) -> None:
        await credit(database, billed, "E1002", 1000)

        async with database.transaction() as session:
            await corrections.void_bill(
                session, number="E1002", reason="wrong", actor_id=billed.manager, now=LATER
            )

        assert await left(database, billed) == [("E1001", 8508)]
        await require_sound_books(database)


class TestRebill:
    async def test_makes_a_bill_and_all_after_it_again_from_the_right_reading(
        self, database: Database, billed: World
    ) -> None:
        right = (reading_of(billed, date(2026, 10, 1)), Decimal(5100))

        found = await rebill(database, billed, "E1001", Change(reading=right))

        assert [(pair.old, pair.new) for pair in found.pairs] == [
            ("E1001", "E1003"),
            ("E1002", "E1004"),
        ]
        assert [row[:2] + row[4:] for row in await ask(database, BILLS)] == [
            ("E1001", Decimal("150.50"), "void"),
            ("E1002", Decimal("159.75"), "void"),
            ("E1003", Decimal("100.00"), "issued"),
            ("E1004", Decimal("210.25"), "issued"),
        ]
        assert sum(pair.new_minor for pair in found.pairs) - 8508 - 9031 in {-1, 0, 1}
        told = await ask(database, TOLD)
        assert told[2:] == [("bill.rebilled", "rebilled:E1001")]
        await require_sound_books(database)

    async def test_keeps_what_was_paid_with_the_bill_in_its_place(
        self, database: Database, billed: World
    ) -> None:
        await pay(database, billed, 9031, bill=2)
        right = (reading_of(billed, date(2026, 11, 1)), Decimal("5300.5"))

        (pair,) = (await rebill(database, billed, "E1002", Change(reading=right))).pairs

        # 150 kWh instead of 159.75; the rest of the payment goes to the other bill.
        assert pair.new_minor == 8480
        assert await left(database, billed) == [("E1001", 8508 - (9031 - 8480))]
        await require_sound_books(database)

    async def test_bills_by_the_tariff_that_is_right(
        self, database: Database, billed: World
    ) -> None:
        codes = await ask(
            database,
            "SELECT DISTINCT code FROM shuidian.tariff_versions WHERE service = 'electricity'"
            " AND code <> 'anhui-electricity' AND valid_from < '2026-09-01' ORDER BY code",
        )
        wanted = "shenzhen-electricity"
        assert (wanted,) in codes

        (pair,) = (await rebill(database, billed, "E1002", Change(tariff_code=wanted))).pairs

        assert pair.new_minor != pair.old_minor
        async with database.transaction() as session:
            assert (await recompute(session, number=pair.new or "")).total_minor == pair.new_minor
        await require_sound_books(database)

    async def test_bills_for_the_people_who_live_there(
        self, database: Database, billed: World
    ) -> None:
        await rebill(database, billed, "E1001", Change(people=6))

        people = await ask(database, "SELECT inputs ->> 'people' FROM shuidian.bills ORDER BY id")
        assert people == [("3",), ("3",), ("6",), ("6",)]

    async def test_shows_before_what_would_follow_and_changes_nothing(
        self, database: Database, billed: World
    ) -> None:
        before = await ask(database, BILLS)
        right = (reading_of(billed, date(2026, 10, 1)), Decimal(5100))
        change = Change(reading=right)

        async with database.transaction() as session:
            shown = await rebilling.preview_rebill(
                session, number="E1001", change=change, actor_id=billed.manager, now=LATER
            )

        assert await ask(database, BILLS) == before
        assert len(await ask(database, TOLD)) == 2
        assert shown == await rebill(database, billed, "E1001", change)
        await require_sound_books(database)

    async def test_tells_of_a_new_bill_where_nobody_saw_the_old_one(
        self, database: Database, billed: World
    ) -> None:
        await show(database, billed.home.meters[POWER], {date(2026, 12, 1): "9310.25"})
        november, now = (
            Period(date(2026, 11, 1), date(2026, 12, 1)),
            datetime(2026, 12, 2, tzinfo=UTC),
        )
        assert (await run_bills(database, POWER, november, now=now)).held == 1
        right = (reading_of(billed, date(2026, 12, 1)), Decimal(5470))

        await rebill(database, billed, "E1003", Change(reading=right))

        assert (await ask(database, TOLD))[2:] == [("bill.issued", "bill:E1004")]
        await require_sound_books(database)

    @pytest.mark.parametrize(
        ("change", "refusal"),
        [
            (Change(people=0), NotAHousehold),
            (Change(people=51), NotAHousehold),
            (Change(tariff_code="hefei-water"), NotATariff),
            (Change(tariff_code="none"), NotATariff),
            (Change(reading=(Key(0, "total", NOW), Decimal(1))), ReadingNotFound),
        ],
    )
    async def test_refuses_what_cannot_be(
        self, database: Database, billed: World, change: Change, refusal: type[Exception]
    ) -> None:
        before = await ask(database, BILLS)

        with pytest.raises(refusal):
            await rebill(database, billed, "E1002", change)

        assert await ask(database, BILLS) == before

    async def test_refuses_when_a_reading_is_missing(
        self, database: Database, billed: World
    ) -> None:
        await ask_nothing(database, "UPDATE shuidian.readings SET status = 'rejected'")

        with pytest.raises(CannotBillAgain):
            await rebill(database, billed, "E1002")

    async def test_refuses_what_would_change_nothing(
        self, database: Database, billed: World
    ) -> None:
        right = (reading_of(billed, date(2026, 11, 1)), Decimal("5310.25"))
        for number, change in (("E1002", Change()), ("E1001", Change(reading=right))):
            with pytest.raises(NothingWouldChange):
                await rebill(database, billed, number, change)

        assert [row[4] for row in await ask(database, BILLS)] == ["issued", "issued"]

    async def test_refuses_a_second_time_in_words_of_its_own(
        self, database: Database, billed: World
    ) -> None:
        await rebill(database, billed, "E1002", Change(people=6))

        with pytest.raises(BillIsVoid):
            await rebill(database, billed, "E1002", Change(people=7))
        for act in (corrections.void_bill, corrections.credit_bill):
            more: dict[str, Any] = {} if act is corrections.void_bill else {"amount_minor": 1}
            with pytest.raises(BillIsVoid):
                async with database.transaction() as session:
                    await act(session, number="E1002", reason="x", actor_id=None, now=LATER, **more)

    async def test_carries_credit_notes_over_unless_they_are_taken_back(
        self, database: Database, billed: World
    ) -> None:
        await credit(database, billed, "E1002", 1000, reason="goodwill")

        (kept,) = (await rebill(database, billed, "E1002", Change(people=6))).pairs

        assert (kept.old_minor, kept.new_minor) == (8031, 8031)
        assert (kept.gifts, kept.kept_minor) == ([Gift("C1001", 1000, "goodwill")], 1000)
        notes = "SELECT number, amount_minor, reason FROM shuidian.credit_notes ORDER BY id DESC"
        assert (await ask(database, notes))[0] == ("C1002", 1000, "goodwill")
        assert await left(database, billed) == [("E1001", 8508), ("E1003", 8031)]
        await require_sound_books(database)

        (taken,) = (await rebill(database, billed, "E1003", Change(keeps_credits=False))).pairs

        assert (taken.old_minor, taken.new_minor, taken.kept_minor) == (8031, 9031, 0)
        assert await left(database, billed) == [("E1001", 8508), ("E1004", 9031)]
        await require_sound_books(database)

    async def test_of_the_days_after_a_holder_left_bills_nothing(
        self, database: Database, billed: World
    ) -> None:
        await ask_nothing(database, "UPDATE shuidian.agreements SET ends_date = '2026-10-01'")

        found = await rebill(database, billed, "E1002")

        assert [pair.new for pair in found.pairs] == [None]
        assert await left(database, billed) == [("E1001", 8508)]
        await require_sound_books(database)


async def ask_nothing(database: Database, statement: str) -> None:
    async with database.transaction() as session:
        await session.execute(text(statement))


class TestOldUse:
    """A meter that nobody read for fourteen months."""

    @pytest.fixture
    async def old(self, database: Database, world: World) -> World:
        await load_shipped(database)
        await ask_nothing(database, "UPDATE shuidian.agreements SET starts_date = '2025-09-01'")
        await ask_nothing(database, "UPDATE shuidian.meters SET installed_at = '2025-01-01'")
        await show(
            database,
            world.home.meters[POWER],
            {date(2025, 9, 1): "0", date(2025, 10, 1): "100", date(2026, 11, 1): "1400"},
        )
        await run_bills(database, POWER, Period(date(2025, 9, 1), date(2025, 10, 1)),
                        now=datetime(2025, 10, 2, tzinfo=UTC))  # fmt: skip
        chunk = await run_bills(database, POWER, OCTOBER)
        assert (chunk.issued, chunk.held) == (0, 1)
        return world

    async def test_holds_the_bill_until_somebody_decides(
        self, database: Database, old: World
    ) -> None:
        held = await ask(
            database,
            "SELECT state, held_reason, due_date FROM shuidian.bills WHERE number = 'E1002'",
        )

        assert held == [("held", "old_use", None)]
        with pytest.raises(HasOldUse):
            await release(database, old)
        assert (await ask(database, BILLS))[1][4] == "held"

    async def test_is_taken_off_with_its_own_credit_note(
        self, database: Database, old: World
    ) -> None:
        async with database.transaction() as session:
            await corrections.release_without_old(
                session, number="E1002", reason="old", actor_id=old.manager, now=NOW
            )

        (_, _, total, credited, state) = (await ask(database, BILLS))[1]
        # 2025-10-01 to 2026-11-01 are 396 days, of which 32 lie before 2025-11-02.
        assert credited == -(-int(str(total)) * 32 // 396)
        assert state == "issued"
        assert await ask(database, "SELECT kind FROM shuidian.credit_notes") == [("old_use",)]
        assert [row[0] for row in await ask(database, TOLD)].count("bill.credited") == 0
        await require_sound_books(database)

    async def test_is_billed_when_a_named_person_says_why(
        self, database: Database, old: World
    ) -> None:
        await release(database, old, waiver="the holder locked the meter away")

        waived = await ask(
            database,
            "SELECT state, waived_by_id, waiver FROM shuidian.bills WHERE number = 'E1002'",
        )
        assert waived == [("issued", old.manager, "the holder locked the meter away")]
        with pytest.raises(BillNotHeld):
            await release(database, old)
        await require_sound_books(database)

    @pytest.mark.usefixtures("billed")
    async def test_is_judged_by_the_limit_that_held_at_issue(self, database: Database) -> None:
        await ask_nothing(database, "UPDATE shuidian.operator SET back_billing_days = 5")

        await require_sound_books(database)

        await ask_nothing(
            database, "UPDATE shuidian.bills SET billable_from = '2026-10-15' WHERE id = 2"
        )
        async with database.transaction() as session:
            assert [each.subject for each in await list_violations(session)] == ["E1002"]

    @pytest.mark.usefixtures("old")
    async def test_is_counted_by_the_dry_run(self, database: Database) -> None:
        await ask_nothing(database, "DELETE FROM shuidian.bill_lines WHERE bill_id = 2")
        await ask_nothing(database, "DELETE FROM shuidian.bills WHERE number = 'E1002'")

        async with database.transaction() as session:
            shown = await preview_run(session, service=POWER, period=OCTOBER, now=NOW)

        assert (shown.bills, shown.held) == (1, 1)
        assert shown.strangest[0].reason == "old_use"

    async def test_is_not_charged_by_a_bill_made_again(
        self, database: Database, old: World
    ) -> None:
        key = reading_of(old, date(2025, 10, 1))

        found = await rebill(database, old, "E1001", Change(reading=(key, Decimal(300))))

        first = found.pairs[0]
        assert first.new_minor == first.old_minor
        assert first.old_use_minor > 0
        await require_sound_books(database)


async def release(database: Database, world: World, *, waiver: str | None = None) -> None:
    async with database.transaction() as session:
        await corrections.release_held(
            session, number="E1002", actor_id=world.manager, now=NOW, waiver=waiver
        )

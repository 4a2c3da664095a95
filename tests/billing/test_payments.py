"""Payments: once for ever, in any order, and the books agree after every one."""

import asyncio
import itertools
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text

from bot.handlers.bill_words import describe_receipt
from bot.texts import Texts
from core.accounts.models import Service
from core.billing import corrections, invoices, ledger, payments, queries
from core.billing.audit_checks import list_violations
from core.billing.bills import BillNotFound
from core.billing.invoices import AmountChanged, BillNotOpen, InvoiceNotOurs
from core.billing.models import Bill, BillState, PaymentState
from core.billing.payments import PaymentConflict, RecordedPayment, Target
from core.billing.settlement import list_open_bills
from core.db import Database
from core.monitoring.models import Reading
from core.periods import Period, month_of, start_of_day
from tests.billing.books import NOW, ZONE, ask, keep, load_shipped, read, run_bills, show
from tests.world import World

ENGLISH = Texts("en", timezone="Asia/Shanghai", currency="CNY")
MONTHS = [month_of(date(2026, month, 1)) for month in range(1, 7)]
DELIVERED = "SELECT kind, dedupe_key FROM shuidian.deliveries ORDER BY id"


async def pay(
    database: Database,
    target: Target,
    amount: int,
    reference: str,
    *,
    state: PaymentState = PaymentState.SUCCEEDED,
    payer: int | None = None,
    currency: str = "CNY",
    provider: str = "cashier",
) -> RecordedPayment:
    async with database.transaction() as session:
        return await payments.record_payment(
            session,
            provider=provider,
            reference=reference,
            target=target,
            amount_minor=amount,
            currency=currency,
            received_at=NOW,
            now=NOW,
            state=state,
            payer_id=payer,
        )


async def bill_target(database: Database, number: str) -> Target:
    async with database.transaction() as session:
        return await payments.find_target_by_bill(session, number=number)


async def states(database: Database) -> dict[str, tuple[str, int]]:
    """Return each bill's state and what was paid on it."""
    found = await ask(
        database,
        "SELECT number, state, coalesce(sum(a.amount_minor), 0)::bigint FROM shuidian.bills b"
        " LEFT JOIN shuidian.allocations a ON a.bill_id = b.id GROUP BY b.id ORDER BY b.id",
    )
    return {str(number): (str(state), int(str(paid))) for number, state, paid in found}


async def require_sound_books(database: Database) -> None:
    async with database.transaction() as session:
        assert await list_violations(session) == []


@pytest.fixture
async def open_bills(database: Database, world: World) -> World:
    """Six months of electricity, 100 kWh each: E1001 to E1006 of 56.53."""
    await load_shipped(database)
    meter = world.home.meters[Service.ELECTRICITY]
    readings = {date(2026, month, 1): str(100 * month) for month in range(1, 8)}
    await show(database, meter, readings)
    for period in MONTHS:
        await run_bills(database, Service.ELECTRICITY, period)
    return world


@pytest.fixture
def target(open_bills: World) -> Target:
    return Target(agreement_id=open_bills.home.agreements[Service.ELECTRICITY])


class TestRecordPayment:
    async def test_settles_the_oldest_first_and_tells_payer_and_people(
        self, database: Database, open_bills: World, target: Target
    ) -> None:
        recorded = await pay(database, target, 6000, "a", payer=open_bills.neighbour.holder)

        assert recorded.number == "P1001"
        assert [(bill.number, bill.amount_minor, bill.left_minor) for bill in recorded.bills] == [
            ("E1001", 5653, 0),
            ("E1002", 347, 5306),
        ]
        assert await ask(
            database,
            "SELECT contact_id FROM shuidian.deliveries WHERE kind = 'payment.receipt'"
            " ORDER BY contact_id",
        ) == [(open_bills.home.holder_contact,), (open_bills.neighbour.holder_contact,)]
        await require_sound_books(database)

    @pytest.mark.usefixtures("open_bills")
    async def test_tells_a_second_payer_that_the_bill_was_paid(self, database: Database) -> None:
        named = await bill_target(database, "E1001")
        for reference in ("a", "b"):
            await pay(database, named, 5653, reference)

        async with database.transaction() as session:
            first, second = [
                await queries.get_receipt(session, number=number, person_id=None)
                for number in ("P1001", "P1002")
            ]
        assert (first.paid_before, second.paid_before) == (None, "E1001")
        assert "bill E1001 had been paid already" in describe_receipt(ENGLISH, second)

    @pytest.mark.usefixtures("open_bills")
    async def test_pays_the_named_bill_before_the_oldest(self, database: Database) -> None:
        recorded = await pay(database, await bill_target(database, "E1003"), 6000, "a")

        assert [(bill.number, bill.amount_minor) for bill in recorded.bills] == [
            ("E1001", 347),
            ("E1003", 5653),
        ]

    async def test_takes_the_same_report_once_and_answers_the_same(
        self, database: Database, target: Target
    ) -> None:
        first = await pay(database, target, 5653, "a")
        again = await pay(database, target, 5653, "a")

        assert (again.number, again.bills, again.credit_minor) == (
            first.number,
            first.bills,
            first.credit_minor,
        )
        assert (first.is_new, again.is_new) == (True, False)
        assert (await states(database))["E1002"] == ("issued", 0)

    @pytest.mark.parametrize("change", ["amount", "bill", "currency"])
    async def test_refuses_a_known_reference_with_something_else(
        self, database: Database, target: Target, change: str
    ) -> None:
        await pay(database, target, 100, "a")
        before = await states(database)
        other = await bill_target(database, "E1002") if change == "bill" else target

        with pytest.raises(PaymentConflict):
            await pay(
                database,
                other,
                200 if change == "amount" else 100,
                "a",
                currency="USD" if change == "currency" else "CNY",
            )

        assert await states(database) == before

    async def test_by_many_at_once_has_one_effect(self, database: Database, target: Target) -> None:
        found = await asyncio.gather(*(pay(database, target, 5653, "a") for _ in range(8)))

        assert {payment.number for payment in found} == {"P1001"}
        assert sum(payment.is_new for payment in found) == 1
        await require_sound_books(database)

    async def test_keeps_what_is_too_much_as_credit_for_the_next_bill(
        self, database: Database, open_bills: World, target: Target
    ) -> None:
        recorded = await pay(database, target, 6 * 5653 + 6000, "a")
        assert recorded.credit_minor == 6000
        meter = open_bills.home.meters[Service.ELECTRICITY]
        await show(database, meter, {date(2026, 8, 1): "800"})

        await run_bills(database, Service.ELECTRICITY, month_of(date(2026, 7, 1)))

        assert (await states(database))["E1007"] == ("settled", 5653)
        async with database.transaction() as session:
            agreement = target.agreement_id
            assert await ledger.balance_of(session, agreement_id=agreement) == -347
            assert await list_open_bills(session, agreement_ids=[agreement]) == []
        await require_sound_books(database)

    async def test_of_unknown_fate_is_kept_and_moves_nothing(
        self, database: Database, target: Target
    ) -> None:
        await pay(database, target, 5653, "a", state=PaymentState.UNKNOWN)

        async with database.transaction() as session:
            agreement = target.agreement_id
            assert await payments.has_unknown_payment(session, agreement_id=agreement)
            waiting = await list_open_bills(session, agreement_ids=[agreement])
        assert sum(bill.left_minor for bill in waiting) == 6 * 5653
        assert (waiting[0].number, waiting[0].left_minor) == ("E1001", 5653)
        assert ("payment.receipt", "payment:P1001") not in await ask(database, DELIVERED)

        await pay(database, target, 5653, "a")

        assert (await states(database))["E1001"] == ("settled", 5653)
        await require_sound_books(database)

    async def test_never_crosses_from_one_service_to_the_other(
        self, database: Database, open_bills: World
    ) -> None:
        water = Target(agreement_id=open_bills.home.agreements[Service.WATER])

        recorded = await pay(database, water, 5653, "a")

        assert (recorded.bills, recorded.credit_minor) == ([], 5653)
        assert (await states(database))["E1001"] == ("issued", 0)


class TestCheckCheckout:
    async def check(self, database: Database, world: World, **changes: object) -> Target:
        asked = {
            "payload": "pay:E1001:5653:5653",
            "amount_minor": 5653,
            "currency": "CNY",
            "person_id": world.home.holder,
            **changes,
        }
        async with database.transaction() as session:
            return await invoices.check_checkout(session, **asked)  # type: ignore[arg-type]

    async def test_lets_a_person_of_the_account_pay_all_or_a_part(
        self, database: Database, open_bills: World, target: Target
    ) -> None:
        whole = await self.check(database, open_bills)
        part = await self.check(
            database, open_bills, payload="pay:E1001:2000:5653", amount_minor=2000
        )

        assert whole == part
        assert whole.agreement_id == target.agreement_id

    @pytest.mark.parametrize(
        ("changes", "refusal"),
        [
            ({"payload": "pay:E9999:5653:5653"}, BillNotFound),
            ({"payload": "pay:E1001:1:5653"}, InvoiceNotOurs),
            ({"payload": "x" * 128}, InvoiceNotOurs),
            ({"payload": ""}, InvoiceNotOurs),
            ({"payload": "pay:E1001:5653"}, InvoiceNotOurs),
            ({"payload": "pay:E1001:5653:\u00b2"}, InvoiceNotOurs),
            ({"payload": "pay:E1001:5653:9999"}, AmountChanged),
            ({"payload": "payall:E1001:2000:99999", "amount_minor": 2000}, AmountChanged),
            ({"currency": "USD"}, AmountChanged),
            ({"payload": "pay:E1001:5654:5653", "amount_minor": 5654}, AmountChanged),
        ],
    )
    async def test_refuses_what_is_not_ours(
        self,
        database: Database,
        open_bills: World,
        changes: dict[str, object],
        refusal: type[Exception],
    ) -> None:
        with pytest.raises(refusal):
            await self.check(database, open_bills, **changes)

    async def test_refuses_a_stranger_as_if_there_were_no_such_bill(
        self, database: Database, open_bills: World
    ) -> None:
        with pytest.raises(BillNotFound):
            await self.check(database, open_bills, person_id=open_bills.neighbour.holder)

    async def test_refuses_what_was_paid_meanwhile(
        self, database: Database, open_bills: World, target: Target
    ) -> None:
        await pay(database, target, 653, "part")
        with pytest.raises(AmountChanged):
            await self.check(database, open_bills)

        await pay(database, target, 5000, "rest")
        with pytest.raises(BillNotOpen):
            await self.check(database, open_bills)


events = st.lists(
    st.tuples(
        st.integers(1, 12_000),
        st.sampled_from([None, "E1001", "E1002", "E1004", "E1006"]),
        st.sampled_from([PaymentState.SUCCEEDED] * 3 + [PaymentState.FAILED, PaymentState.UNKNOWN]),
    ),
    min_size=1,
    max_size=5,
)
numbers = itertools.count()
PROPERTY = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


class TestAnyOrder:
    @PROPERTY
    @given(events=events, chaos=st.randoms(use_true_random=False))
    async def test_of_the_same_events_gives_the_same_books(
        self, database: Database, target: Target, events, chaos
    ) -> None:
        outcomes = []
        for shuffled in (False, True):
            await forget_money(database)
            reports = list(enumerate(events))
            if shuffled:
                reports += chaos.choices(reports, k=len(reports))
                chaos.shuffle(reports)
            for index, (amount, number, state) in reports:
                meant = await bill_target(database, number) if number else target
                await pay(database, meant, amount, f"event {index}", state=state)
            await require_sound_books(database)
            async with database.transaction() as session:
                balance = await ledger.balance_of(session, agreement_id=target.agreement_id)
            outcomes.append((await states(database), balance))
        assert outcomes[0] == outcomes[1]


async def forget_money(database: Database) -> None:
    """Take all payments back, which only a test may do: past the guards, as the server's owner."""
    async with database.transaction() as session:
        for statement in (
            "SET LOCAL session_replication_role = replica",
            "DELETE FROM shuidian.allocations",
            "DELETE FROM shuidian.payments",
            "DELETE FROM shuidian.series WHERE prefix = 'P'",
            """DELETE FROM shuidian.ledger_entries WHERE transaction_id IN (
                SELECT id FROM shuidian.ledger_transactions WHERE kind = 'payment')""",
            "DELETE FROM shuidian.ledger_transactions WHERE kind = 'payment'",
            "UPDATE shuidian.bills SET state = 'issued' WHERE state = 'settled'",
        ):
            await session.execute(text(statement))


class TestAnySequence:
    @PROPERTY
    @given(steps=st.lists(st.tuples(st.sampled_from("ippoovdr"), st.integers(1, 9)), max_size=14))
    async def test_of_acts_keeps_the_books(
        self, database: Database, open_bills: World, target: Target, steps
    ) -> None:
        """i: issue the next month, p: part, o: over, v: void, d: a duplicate, r: release."""
        clock = NOW
        for step, size in steps:
            clock += timedelta(hours=1)
            reference = f"step {next(numbers)}"
            match step:
                case "i":
                    await issue_next_month(database, open_bills, used=100 * size)
                case "p":
                    await pay(database, target, 700 * size, reference)
                case "o":
                    await pay(database, target, 9000 * size, reference)
                case "d":
                    await pay(database, target, 10 * size, reference)
                    await pay(database, target, 10 * size, reference)
                case "v" | "r":
                    await decide_latest(database, open_bills, void=step == "v", now=clock)
            await require_sound_books(database)


async def issue_next_month(database: Database, world: World, *, used: int) -> None:
    """Bill the month after the latest bill, reading the register at its end if nobody did."""
    meter = world.home.meters[Service.ELECTRICITY]
    async with database.transaction() as session:
        until = await session.scalar(
            select(func.max(Bill.ends_date)).where(Bill.state != BillState.VOID)
        )
        period: Period = month_of(until or date(2026, 1, 1))
        at = start_of_day(period.ends, zone=ZONE)
        latest = await session.scalar(
            select(func.max(Reading.value)).where(Reading.meter_id == meter)
        )
        if await session.get(Reading, (meter, "total", at)) is None:
            await keep(session, [read(meter, period.ends, str((latest or 0) + used))])
    await run_bills(database, Service.ELECTRICITY, period, now=datetime(2036, 1, 1, tzinfo=UTC))


async def decide_latest(database: Database, world: World, *, void: bool, now: datetime) -> None:
    found = await ask(
        database,
        "SELECT number, state FROM shuidian.bills WHERE state <> 'void' ORDER BY id DESC LIMIT 1",
    )
    for number, state in found:
        async with database.transaction() as session:
            if void:
                await corrections.void_bill(
                    session, number=str(number), reason="wrong", actor_id=world.manager, now=now
                )
            elif state == BillState.HELD:
                await corrections.release_held(
                    session, number=str(number), actor_id=world.manager, now=now
                )

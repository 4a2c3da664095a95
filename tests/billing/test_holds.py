"""Which bills wait for a person, and that nothing at all follows from one that does."""

import itertools
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from core.accounts.models import Service
from core.billing import dunning
from core.billing.audit_checks import list_violations
from core.billing.class_usage import BILLS_MIN, find_class_p99
from core.billing.holds import HOME, UNUSUAL_TIMES, find_reason_to_hold
from core.db import Database
from core.supply.service import take_up_arrears
from tests.billing.books import OCTOBER, SEPTEMBER, ask, load_shipped, run_bills, show
from tests.world import World

POWER = Service.ELECTRICITY
QUANTITY = st.decimals(0, 200, places=2)


def reason(**changes: object) -> str | None:
    facts: dict[str, object] = {
        "service": POWER,
        "customer_class": HOME,
        "total_minor": 100,
        "per_day": Decimal(5),
        "usual_per_day": Decimal(5),
        "class_p99": None,
        "estimates": 0,
        "is_owed_use": False,
    }
    return find_reason_to_hold(**{**facts, **changes})  # type: ignore[arg-type] (named one by one)


class TestFindReasonToHold:
    @given(per_day=QUANTITY, usual=st.decimals(4, 200, places=2))
    def test_holds_what_is_more_than_three_times_the_usual(
        self, per_day: Decimal, usual: Decimal
    ) -> None:
        found = reason(per_day=per_day, usual_per_day=usual)

        assert (found == "unusual") == (per_day > UNUSUAL_TIMES * usual)

    @given(per_day=QUANTITY, p99=QUANTITY)
    def test_holds_a_first_bill_above_nearly_all_of_its_class(
        self, per_day: Decimal, p99: Decimal
    ) -> None:
        found = reason(per_day=per_day, usual_per_day=None, class_p99=p99)

        assert (found == "first") == (per_day > p99)

    @given(p99=QUANTITY)
    def test_asks_the_class_only_where_nothing_else_is_known(self, p99: Decimal) -> None:
        assert reason(class_p99=p99) is None

    def test_lets_a_first_bill_pass_where_too_few_are_known(self) -> None:
        assert reason(per_day=Decimal(200), usual_per_day=None) is None


async def test_class_p99_is_what_one_bill_in_a_hundred_exceeds(
    database: Database, world: World
) -> None:
    await load_shipped(database)
    await show(
        database,
        world.home.meters[POWER],
        {SEPTEMBER.starts: "0", SEPTEMBER.ends: "300"},
    )
    await run_bills(database, POWER, SEPTEMBER)
    copied = (
        "INSERT INTO shuidian.bills (number, agreement_id, tariff_version_id, starts_date,"
        " ends_date, consumption, currency, total_minor, state, issued_at, due_date, inputs)"
        " SELECT 'X' || n, agreement_id, tariff_version_id, date '2025-10-01' + n,"
        " date '2025-10-02' + n, n, currency, 0, 'settled', issued_at, due_date, inputs"
        " FROM shuidian.bills, generate_series(1, :count) n WHERE number = 'E1001'"
    )

    async def find(until: date) -> dict[str, Decimal]:
        async with database.transaction() as session:
            return await find_class_p99(session, service=POWER, until=until)

    assert await find(OCTOBER.ends) == {}
    async with database.transaction() as session:
        await session.execute(text(copied), {"count": BILLS_MIN})
    assert await find(date(2026, 9, 30)) == {HOME: Decimal(99)}
    assert await find(date(2025, 10, 1)) == {}


numbers = itertools.count()
UNHURRIED = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class TestHeldBills:
    @pytest.fixture
    async def usual(self, database: Database, world: World) -> World:
        await load_shipped(database)
        await show(
            database, world.home.meters[POWER], {SEPTEMBER.starts: "0", SEPTEMBER.ends: "150"}
        )
        await run_bills(database, POWER, SEPTEMBER)
        return world

    @UNHURRIED
    @given(used=st.integers(0, 9000), days=st.lists(st.integers(1, 40), max_size=5))
    async def test_lead_to_no_message_no_day_no_step_and_no_cut(
        self, database: Database, usual: World, used: int, days: list[int]
    ) -> None:
        await forget_october(database)
        await show(database, usual.home.meters[POWER], {OCTOBER.ends: str(150 + used)})
        await run_bills(database, POWER, OCTOBER)

        now = datetime(2026, 11, 2, 4, tzinfo=UTC)
        for more in days:
            now += timedelta(days=more)
            async with database.transaction() as session:
                await dunning.run_dunning(session, now=now)
                await take_up_arrears(session, now=now)

        ((number, state, due, issued),) = await ask(
            database,
            "SELECT number, state, due_date, issued_at FROM shuidian.bills"
            " WHERE starts_date = '2026-10-01'",
        )
        # 150 kWh in thirty days are usual; three times as much in thirty-one is the limit.
        assert (state == "held") == (Decimal(used) / 31 > 3 * 5)
        if state == "held":
            assert (due, issued) == (None, None)
            for query in (
                "SELECT id FROM shuidian.deliveries WHERE params::text LIKE :like",
                "SELECT id FROM shuidian.unreached WHERE params::text LIKE :like",
                "SELECT id FROM shuidian.ledger_transactions WHERE reference LIKE :like",
                "SELECT id FROM shuidian.dunning_steps WHERE dedupe_key LIKE :like",
            ):
                assert await ask(database, query, like=f"%{number}%") == []
        async with database.transaction() as session:
            assert await list_violations(session) == []


async def forget_october(database: Database) -> None:
    """Take the month and all that followed from it away, which only a test may do."""
    async with database.transaction() as session:
        for statement in (
            "SET LOCAL session_replication_role = replica",
            "DELETE FROM shuidian.dunning_steps",
            "DELETE FROM shuidian.dunning_looks",
            "DELETE FROM shuidian.deliveries WHERE dedupe_key <> 'bill:E1001'",
            "DELETE FROM shuidian.ledger_entries WHERE transaction_id > 1",
            "DELETE FROM shuidian.ledger_transactions WHERE id > 1",
            "DELETE FROM shuidian.supply_orders",
            "DELETE FROM shuidian.bill_lines WHERE bill_id > 1",
            "DELETE FROM shuidian.bills WHERE id > 1",
            "DELETE FROM shuidian.readings WHERE taken_at > '2026-10-02'",
            "UPDATE shuidian.series SET latest = 1001 WHERE prefix = 'E'",
        ):
            await session.execute(text(statement))

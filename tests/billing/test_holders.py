"""A change of holder: each pays up to, or from, the day; what one owes never follows the other."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from sqlalchemy import update

from core.accounts.models import Account, Agreement, Service
from core.billing import runs
from core.billing.audit_checks import list_violations
from core.billing.settlement import list_open_bills
from core.db import Database
from tests.billing.books import (
    NOVEMBER,
    OCTOBER,
    SEPTEMBER,
    ask,
    load_shipped,
    run_bills,
    show,
)
from tests.world import World

POWER = Service.ELECTRICITY
MOVED = date(2026, 10, 15)
LATER = datetime(2026, 12, 2, tzinfo=UTC)
BILLS = (
    "SELECT agreement_id, starts_date, ends_date, consumption FROM shuidian.bills"
    " WHERE state <> 'void' ORDER BY starts_date, id"
)


@pytest.fixture
async def moved(database: Database, world: World) -> int:
    """Li Hua leaves on 15 October and somebody else comes that day; return their agreement."""
    await load_shipped(database)
    await show(
        database,
        world.home.meters[POWER],
        {
            SEPTEMBER.starts: "0",
            SEPTEMBER.ends: "2000",
            MOVED: "2300",
            OCTOBER.ends: "2380",
            NOVEMBER.ends: "2500",
        },
    )
    await run_bills(database, POWER, SEPTEMBER)
    async with database.transaction() as session:
        await session.execute(
            update(Agreement)
            .where(Agreement.id == world.home.agreements[POWER])
            .values(ends_date=MOVED)
        )
        account = Account(number="10003", premise_id=world.home.premise, holder_name="Zhao Min")
        session.add(account)
        await session.flush()
        agreement = Agreement(
            account_id=account.id,
            service_point_id=world.home.points[POWER],
            tariff_code="anhui-electricity",
            starts_date=MOVED,
        )
        session.add(agreement)
        await session.flush()
        return agreement.id


class TestChangeOfHolder:
    async def test_bills_each_for_their_days_and_no_other(
        self, database: Database, world: World, moved: int
    ) -> None:
        await run_bills(database, POWER, OCTOBER)
        await run_bills(database, POWER, NOVEMBER, now=LATER)

        old = world.home.agreements[POWER]
        assert await ask(database, BILLS) == [
            (old, SEPTEMBER.starts, SEPTEMBER.ends, Decimal(2000)),
            (old, OCTOBER.starts, MOVED, Decimal(300)),
            (moved, MOVED, OCTOBER.ends, Decimal(80)),
            (moved, NOVEMBER.starts, NOVEMBER.ends, Decimal(120)),
        ]
        async with database.transaction() as session:
            assert await list_violations(session) == []

    async def test_leaves_nothing_to_bill_after_the_final_bill(
        self, database: Database, world: World, moved: int
    ) -> None:
        await run_bills(database, POWER, OCTOBER)

        async with database.transaction() as session:
            run_id = await runs.start_run(session, service=POWER, period=NOVEMBER, now=LATER)
            scope = await runs.get_scope(session, run_id=run_id)
            due = await runs.list_unbilled(session, scope=scope)
        assert moved in due
        assert world.home.agreements[POWER] not in due

    async def test_begins_the_year_of_tiers_anew_for_who_comes(
        self, database: Database, world: World, moved: int
    ) -> None:
        await run_bills(database, POWER, OCTOBER)

        tiers = await ask(
            database,
            "SELECT b.agreement_id, array_agg(tier ORDER BY position) FROM shuidian.bill_lines"
            " JOIN shuidian.bills b ON b.id = bill_id WHERE b.starts_date >= '2026-10-01'"
            " GROUP BY 1 ORDER BY 1",
        )
        # 2,000 kWh were used before, more than ten months' tier 1; the new holder begins in it.
        assert tiers == [(world.home.agreements[POWER], [2]), (moved, [1])]

    async def test_keeps_what_each_owes_apart(
        self, database: Database, world: World, moved: int
    ) -> None:
        await run_bills(database, POWER, OCTOBER)

        async with database.transaction() as session:
            old = await list_open_bills(session, agreement_ids=[world.home.agreements[POWER]])
            new = await list_open_bills(session, agreement_ids=[moved])
        assert [len(old), len(new)] == [2, 1]

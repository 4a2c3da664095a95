"""What paying late costs is a line of the next bill, once, and never where it would be unfair."""

from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import select, text, update

from bot.handlers.bill_words import describe_bill
from bot.texts import Texts
from core.accounts.models import Service
from core.billing import disputes, plans, queries, returns
from core.billing.audit_checks import list_violations
from core.billing.correction_models import Ground
from core.billing.payments import Target, record_payment
from core.billing.plan_models import PaymentPlan, PlanState
from core.billing.recomputing import list_differences
from core.billing.tariff_store import load_tariffs, shipped_contents
from core.db import Database
from core.notices.models import Delivery, Outcome
from core.supply import orders
from tests.billing.books import NOVEMBER, NOW, OCTOBER, ask, run_bills, show
from tests.supply.debt import at
from tests.world import World

assert orders  # who pays may be given supply back: the loaded part of the house that listens
LINES = (
    "SELECT component, l.starts_date, l.ends_date, quantity, price, amount"
    " FROM shuidian.bill_lines l JOIN shuidian.bills b ON b.id = bill_id"
    " WHERE l.kind = 'late' AND b.state <> 'void' ORDER BY b.id, position"
)


async def deliver(database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(update(Delivery).values(outcome=Outcome.SENT, sent_at=NOW))


@pytest.fixture
async def home(database: Database, world: World) -> Target:
    """A home whose contract charges one in a thousand a day; its October is billed: 56.53."""
    name = "anhui-electricity.toml"
    content = shipped_contents()[name].decode()
    fee = 'late_fee = { per_day = "0.001" }\n\n[versions.tiers.energy]'
    content = content.replace("[versions.tiers.energy]", fee)
    async with database.transaction() as session:
        await load_tariffs(session, contents={name: content.encode()})
    meter = world.home.meters[Service.ELECTRICITY]
    await show(database, meter, {OCTOBER.starts: "100", OCTOBER.ends: "200"})
    await run_bills(database, Service.ELECTRICITY, OCTOBER)
    await show(database, meter, {NOVEMBER.ends: "300", date(2027, 1, 1): "400"})
    return Target(agreement_id=world.home.agreements[Service.ELECTRICITY])


async def pay_late(database: Database, home: Target) -> None:
    """Pay a part in time, a part 12 days and the rest 13 days after the 17th."""
    for day, amount, reference in ((10, 10_00, "a"), (29, 40_00, "b"), (30, 6_53, "c")):
        now = at(date(2026, 11, day))
        async with database.transaction() as session:
            await record_payment(
                session,
                provider="cashier",
                reference=reference,
                target=home,
                amount_minor=amount,
                currency="CNY",
                received_at=now,
                now=now,
            )


async def bill_november(database: Database) -> None:
    await run_bills(database, Service.ELECTRICITY, NOVEMBER, now=at(date(2026, 12, 2)))


class TestTheNextBill:
    async def test_charges_each_late_payment_once_in_words(
        self, database: Database, home: Target, world: World
    ) -> None:
        await deliver(database)
        await pay_late(database, home)
        await bill_november(database)

        due, rate = date(2026, 11, 17), Decimal("0.001")
        assert await ask(database, LINES) == [
            ("E1001", due, date(2026, 11, 29), 40, rate, Decimal("0.48")),
            ("E1001", due, date(2026, 11, 30), Decimal("6.53"), rate, Decimal("0.08489")),
        ]
        totals = await ask(database, "SELECT total_minor FROM shuidian.bills ORDER BY id")
        assert totals == [(56_53,), (57_09,)]  # 56.53 + 0.48 + 0.08489, rounded once
        december = date(2026, 12, 1), date(2027, 1, 1)
        await run_bills(
            database, Service.ELECTRICITY, type(OCTOBER)(*december), now=at(date(2027, 1, 2))
        )
        assert len(await ask(database, LINES)) == 2
        async with database.transaction() as session:
            assert await list_violations(session) == []
            assert await list_differences(session, numbers=["E1001", "E1002", "E1003"]) == []
            view = await queries.get_bill(session, number="E1002", person_id=world.home.holder)
        words = describe_bill(Texts("en", timezone="Asia/Shanghai", currency="CNY"), view)
        assert "Bill E1001 paid late, 12 days: 0.1% a day of CN¥40.00 = CN¥0.48" in words

    async def test_charges_nothing_when_the_bill_reached_nobody(
        self, database: Database, home: Target
    ) -> None:
        await pay_late(database, home)
        await bill_november(database)

        assert await ask(database, LINES) == []

    async def test_charges_nothing_for_what_was_objected_to(
        self, database: Database, home: Target, world: World
    ) -> None:
        await deliver(database)
        async with database.transaction() as session:
            await disputes.open_dispute(
                session,
                bill_number="E1001",
                person_id=world.home.holder,
                ground=Ground.OTHER,
                words="",
                now=NOW,
            )
        await pay_late(database, home)
        await bill_november(database)

        assert await ask(database, LINES) == []

    @pytest.mark.parametrize(
        ("fate", "days"),
        [
            ("asked", [12, 13]),
            ("declined", [12, 13]),
            ("agreed", []),
            ("broken on the 20th", [9, 10]),
        ],
    )
    async def test_charges_nothing_for_the_days_of_a_plan_that_was_agreed(
        self, database: Database, home: Target, world: World, fate: str, days: list[int]
    ) -> None:
        await deliver(database)
        async with database.transaction() as session:
            await plans.propose_plan(
                session,
                bill_number="E1001",
                count=2,
                person_id=world.home.holder,
                is_manager=False,
                now=NOW,
            )
            if fate == "declined":
                await plans.decline(
                    session, number="A1001", reason="no", actor_id=world.manager, now=NOW
                )
            elif fate != "asked":
                await plans.agree(session, number="A1001", person_id=world.manager, now=NOW)
            if fate.startswith("broken"):
                plan = (await session.scalars(select(PaymentPlan))).one()
                await plans.move(session, plan, PlanState.BROKEN, now=at(date(2026, 11, 20)))
        await pay_late(database, home)
        await bill_november(database)

        charged = [(ends - starts).days for _, starts, ends, *_ in await ask(database, LINES)]
        assert charged == days

    async def test_charges_the_days_of_a_payment_that_went_back_once(
        self, database: Database, home: Target, world: World
    ) -> None:
        await deliver(database)
        await pay_late(database, home)
        await bill_november(database)
        async with database.transaction() as session:
            await returns.reverse_payment(
                session,
                number="P1002",
                reason="bounced",
                actor_id=world.manager,
                now=at(date(2026, 12, 4)),
            )
            await record_payment(
                session,
                provider="cashier",
                reference="d",
                target=home,
                amount_minor=40_00,
                currency="CNY",
                received_at=at(date(2026, 12, 9)),
                now=at(date(2026, 12, 9)),
            )
        december = type(OCTOBER)(date(2026, 12, 1), date(2027, 1, 1))
        await run_bills(database, Service.ELECTRICITY, december, now=at(date(2027, 1, 2)))

        *_, again = await ask(database, LINES)
        assert len(await ask(database, LINES)) == 3
        assert again[:4] == ("E1001", date(2026, 11, 29), date(2026, 12, 9), 40)
        async with database.transaction() as session:
            assert await list_differences(session, numbers=["E1002", "E1003"]) == []

    async def test_charges_nothing_where_no_contract_says_so(
        self, database: Database, home: Target
    ) -> None:
        async with database.transaction() as session:
            await session.execute(
                text(
                    "UPDATE shuidian.tariff_versions SET"
                    " content = replace(content, 'late_fee = { per_day = \"0.001\" }', ''),"
                    " sha256 = 'another'"
                )
            )
        await deliver(database)
        await pay_late(database, home)
        await bill_november(database)

        assert await ask(database, LINES) == []

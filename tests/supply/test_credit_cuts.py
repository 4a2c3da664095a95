"""Prepaid homes whose credit is used up: told, cut by a person in working hours, back by paying."""

from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import update

from core.accounts.models import Agreement, Service, ServicePoint, Supply
from core.billing import payments, prepaid
from core.billing.payments import Target
from core.db import Database
from core.notices.models import Delivery, Outcome
from core.supply import commands, reports, service
from core.supply.credit_cuts import take_up_used_up
from core.supply.guards import Refusal
from core.supply.reports import Report
from core.supply.restoring import take_up_settled
from tests.billing.books import ask, load_shipped, show
from tests.supply.debt import at, make_gateway
from tests.world import World

POWER = Service.ELECTRICITY
FRIDAY, MONDAY = date(2026, 11, 6), date(2026, 11, 9)
# 56.53 of use since October, with no more than 30.00 paid: below the emergency credit of 20.00.
USED, PAID, LACKING = "100", 30_00, 26_53


class Home:
    """The first home of `world`, prepaid, with a meter that a gateway switches."""

    def __init__(self, database: Database, world: World, gateway: int) -> None:
        self.database = database
        self.world = world
        self.gateway = gateway
        self.agreement = world.home.agreements[POWER]
        self.now = at(FRIDAY)

    async def pay(self, minor: int, reference: str) -> None:
        async with self.database.transaction() as session:
            await payments.record_payment(
                session,
                provider="cashier",
                reference=reference,
                target=Target(agreement_id=self.agreement),
                amount_minor=minor,
                currency="CNY",
                received_at=self.now,
                now=self.now,
            )

    async def look(self) -> None:
        async with self.database.transaction() as session:
            await prepaid.judge_balances(session, agreement_ids=[self.agreement], now=self.now)

    async def deliver(self, outcome: Outcome = Outcome.SENT) -> None:
        sent = {"sent_at": self.now, "message_ref": "1"} if outcome is Outcome.SENT else {}
        async with self.database.transaction() as session:
            due = update(Delivery).where(Delivery.outcome == Outcome.DUE)
            await session.execute(due.values(outcome=outcome, **sent))

    async def propose(self, when: datetime | None = None) -> int:
        self.now = when or self.now
        async with self.database.transaction() as session:
            return await take_up_used_up(session, now=self.now)

    async def switch(self, *, to_prepaid: bool) -> None:
        async with self.database.transaction() as session:
            await prepaid.switch_payment(
                session,
                agreement_id=self.agreement,
                to_prepaid=to_prepaid,
                actor_id=self.world.manager,
                now=self.now,
            )

    async def approve(self) -> service.Decision:
        async with self.database.transaction() as session:
            return await service.approve(
                session,
                number="S1001",
                version=None,
                serial_end="0001",
                person_id=self.world.manager,
                now=self.now,
            )

    async def until_cut(self) -> None:
        assert await self.propose(at(MONDAY)) == 1
        assert (await self.approve()).refusals == ()
        await self.deliver()
        self.now += timedelta(minutes=31)
        async with self.database.transaction() as session:
            sent = await commands.dispatch(session, gateway_id=self.gateway, now=self.now)
        assert [each.wanted for each in sent] == [Supply.CUT]
        self.now += timedelta(seconds=20)
        async with self.database.transaction() as session:
            await reports.report_states(
                session,
                gateway_id=self.gateway,
                reports=[Report("E-10001", Supply.CUT, self.now)],
                now=self.now,
            )

    async def orders(self) -> list[tuple[object, ...]]:
        return await ask(
            self.database,
            "SELECT wanted, reason, state FROM shuidian.supply_orders ORDER BY id",
        )


@pytest.fixture
async def home(database: Database, world: World) -> Home:
    """A home that was told on Friday that nothing is left."""
    await load_shipped(database)
    meter = world.home.meters[POWER]
    made = Home(database, world, await make_gateway(database, "gateway", [meter]))
    days = {date(2026, 10, 1): "0", FRIDAY: USED, MONDAY: USED}
    async with database.transaction() as session:
        agreement = await session.get_one(Agreement, made.agreement)
        agreement.is_prepaid = True
        agreement.starts_date = date(2026, 10, 1)
    await show(database, meter, days)
    await made.pay(PAID, "first")
    await made.deliver()
    return made


class TestTakeUpUsedUp:
    async def test_proposes_in_working_hours_a_day_after_the_notice(self, home: Home) -> None:
        friendly = [
            await home.propose(moment)
            for moment in (
                at(FRIDAY, 13),
                at(date(2026, 11, 7), 11),
                at(date(2026, 11, 8), 11),
                at(MONDAY, 8, 59),
                at(MONDAY, 14),
            )
        ]
        proposed = [await home.propose(at(MONDAY, 9)), await home.propose(at(MONDAY, 10))]

        assert (friendly, proposed) == ([0] * 5, [1, 0])
        assert await home.orders() == [("cut", "credit_used", "proposed")]
        ((owed,),) = await ask(
            home.database, "SELECT inputs ->> 'overdue_minor' FROM shuidian.supply_orders"
        )
        assert owed == str(LACKING)

    async def test_proposes_nothing_while_emergency_credit_is_left(self, home: Home) -> None:
        await home.pay(LACKING - 19_99, "second")

        assert await home.propose(at(MONDAY)) == 0

    async def test_proposes_nothing_for_a_protected_home(self, home: Home) -> None:
        async with home.database.transaction() as session:
            point = await session.get_one(ServicePoint, home.world.home.points[POWER])
            point.protected = "oxygen"

        assert await home.propose(at(MONDAY)) == 0

    async def test_proposes_nothing_for_who_was_not_reached(self, home: Home) -> None:
        async with home.database.transaction() as session:
            await session.execute(update(Delivery).values(outcome=Outcome.BLOCKED, sent_at=None))

        assert await home.propose(at(MONDAY)) == 0

    async def test_does_not_propose_again_what_was_declined_until_it_happens_anew(
        self, home: Home
    ) -> None:
        assert await home.propose(at(MONDAY)) == 1
        async with home.database.transaction() as session:
            await service.decline(
                session,
                number="S1001",
                version=None,
                reason="in hospital",
                person_id=home.world.manager,
                now=home.now,
            )
        again = await home.propose(home.now + timedelta(days=2))
        await home.pay(50_00, "second")
        await show(home.database, home.world.home.meters[POWER], {date(2026, 11, 12): "200"})
        home.now = at(date(2026, 11, 12))
        await home.look()
        await home.deliver()

        assert again == 0
        assert await home.propose(at(date(2026, 11, 16))) == 1


class TestRestorePaid:
    async def test_cancels_a_pending_cut_once_credit_is_left(self, home: Home) -> None:
        await home.propose(at(MONDAY))
        await home.approve()
        await home.pay(6_53, "too little")
        assert await home.orders() == [("cut", "credit_used", "approved")]

        await home.pay(1, "enough")

        assert await home.orders() == [("cut", "credit_used", "cancelled")]

    async def test_brings_a_cut_supply_back_in_the_transaction_of_the_payment(
        self, home: Home
    ) -> None:
        await home.until_cut()

        await home.pay(50_00, "second")

        assert await home.orders() == [
            ("cut", "credit_used", "confirmed"),
            ("connected", "topped_up", "approved"),
        ]

    async def test_leaves_a_cut_that_still_has_its_ground(self, home: Home) -> None:
        await home.until_cut()
        async with home.database.transaction() as session:
            assert await take_up_settled(session, now=home.now) == 0

        assert await home.orders() == [("cut", "credit_used", "confirmed")]

    async def test_undoes_a_cut_when_the_home_pays_after_its_bills_again(self, home: Home) -> None:
        await home.until_cut()

        await home.switch(to_prepaid=False)

        assert await home.orders() == [
            ("cut", "credit_used", "confirmed"),
            ("connected", "undone", "approved"),
        ]


class TestApprove:
    async def test_judges_credit_and_hours_again(self, home: Home) -> None:
        await home.propose(at(MONDAY))
        home.now = at(MONDAY, 15)

        assert (await home.approve()).refusals == [Refusal.FRIENDLY_HOURS]

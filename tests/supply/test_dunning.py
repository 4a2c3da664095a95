"""The ladder on a real database: evidence, payments, holds, repetition."""

from datetime import date, timedelta

import pytest
from sqlalchemy import text

from core.accounts.models import Service
from core.billing import dunning
from core.billing.models import PaymentState
from core.billing.payments import Target, record_payment
from core.notices.models import Outcome
from tests.billing.books import NOVEMBER, ask, run_bills, show
from tests.supply.debt import DUE, NOTICED, PROPOSED, REMINDED, Debt, at, set_reachable

STEPS = "SELECT kind, bill_id FROM shuidian.dunning_steps ORDER BY id"
MESSAGES = "SELECT kind FROM shuidian.deliveries WHERE kind LIKE 'dunning.%' ORDER BY id"


async def kinds_of_steps(debt: Debt) -> list[str]:
    return [str(kind) for kind, _ in await ask(debt.database, STEPS)]


class TestRunDunning:
    async def test_takes_each_step_once_however_often_it_runs(self, power: Debt) -> None:
        await power.live_until(DUE, daily=True)
        assert await kinds_of_steps(power) == []

        await power.live_until(PROPOSED[power.kind] + timedelta(days=3), daily=True)
        before = await ask(power.database, STEPS)
        for day in (REMINDED, NOTICED[power.kind], PROPOSED[power.kind], power.now.date()):
            power.now = at(day, 11)
            assert await power.look() == 0

        assert await ask(power.database, STEPS) == before
        assert await kinds_of_steps(power) == ["reminder", "cut_notice", "cut_proposed"]
        assert await ask(power.database, MESSAGES) == [("dunning.reminder",), ("dunning.notice",)]

    async def test_says_nothing_at_night(self, power: Debt) -> None:
        power.now = at(REMINDED, 8, 59)
        assert await power.look() == 0
        power.now = at(REMINDED, 20)
        assert await power.look() == 0
        power.now = at(REMINDED, 9)
        assert await power.look() == 1

    @pytest.mark.parametrize("outcome", [Outcome.BLOCKED, Outcome.UNKNOWN, Outcome.FAILED])
    async def test_starts_no_clock_for_what_reached_nobody(
        self, power: Debt, outcome: Outcome
    ) -> None:
        await power.live_until(REMINDED)
        power.now = at(NOTICED[power.kind] - timedelta(days=1))
        await power.look()
        await power.deliver()
        async with power.database.transaction() as session:
            await session.execute(
                text("UPDATE shuidian.deliveries SET outcome = :outcome WHERE kind = :kind"),
                {"outcome": outcome.value, "kind": "dunning.reminder"},
            )
        await set_reachable(power.database, power.world.home.holder_contact, since=power.now)

        power.now = at(NOTICED[power.kind])
        await power.look()
        await power.live_until(date(2026, 12, 30), outcome=outcome, daily=True)

        assert await kinds_of_steps(power) == ["reminder"]
        async with power.database.transaction() as session:
            (debtor,) = await dunning.list_unreached(session, now=power.now)
        assert (debtor.bill_number, debtor.address) == ("E1001", "Linden Street 1-101")
        told = await ask(
            power.database,
            "SELECT count(*) FROM shuidian.deliveries WHERE kind = 'dunning.unreached'",
        )
        assert told == [(2,)]  # each of the two managers once

    async def test_says_it_again_once_somebody_can_be_reached(self, power: Debt) -> None:
        contact = power.world.home.holder_contact
        await set_reachable(power.database, contact, since=power.now)
        await power.live_until(REMINDED + timedelta(days=5), outcome=Outcome.BLOCKED, daily=True)
        assert await ask(power.database, MESSAGES) == [
            ("dunning.reminder",),
            ("dunning.unreached",),
            ("dunning.unreached",),
        ]

        await set_reachable(power.database, contact, since=None)
        await power.live_until(REMINDED + timedelta(days=7), daily=True)

        found = await ask(
            power.database,
            "SELECT outcome FROM shuidian.deliveries WHERE kind = 'dunning.reminder' ORDER BY id",
        )
        assert found == [("blocked",), ("sent",)]
        async with power.database.transaction() as session:
            assert await dunning.list_unreached(session, now=power.now) == []
        await power.live_until(NOTICED[power.kind])
        assert await kinds_of_steps(power) == ["reminder", "cut_notice"]

    async def test_begins_anew_with_the_next_bill_when_the_oldest_is_paid(
        self, power: Debt
    ) -> None:
        await show(
            power.database,
            power.world.home.meters[Service.ELECTRICITY],
            {NOVEMBER.ends: "300"},
        )
        await run_bills(power.database, power.kind, NOVEMBER, now=at(date(2026, 12, 2)))
        await power.live_until(NOTICED[power.kind])
        await power.pay(56_53)
        await power.live_until(date(2026, 12, 29), daily=True)

        assert await ask(power.database, STEPS) == [
            ("reminder", 1),
            ("cut_notice", 1),
            ("reminder", 2),
        ]

    async def test_starts_the_notice_anew_after_a_part_payment(self, power: Debt) -> None:
        await power.live_until(NOTICED[power.kind])
        power.wait(hours=1)
        await power.pay(1)

        await power.live_until(PROPOSED[power.kind] + timedelta(days=4), daily=True)

        found = await ask(
            power.database,
            "SELECT kind, round, (at AT TIME ZONE 'Asia/Shanghai')::date"
            " FROM shuidian.dunning_steps ORDER BY id",
        )
        assert found == [
            ("reminder", 0, REMINDED),
            ("cut_notice", 0, NOTICED[power.kind]),
            ("cut_notice", 1, NOTICED[power.kind] + timedelta(days=8)),
        ]

    async def test_leaves_held_bills_alone(self, power: Debt) -> None:
        async with power.database.transaction() as session:
            await session.execute(text("UPDATE shuidian.bills SET state = 'held'"))

        await power.live_until(PROPOSED[power.kind])

        assert await kinds_of_steps(power) == []

    @pytest.mark.parametrize("state", [PaymentState.PENDING, PaymentState.UNKNOWN])
    async def test_waits_while_the_fate_of_a_payment_is_unknown(
        self, power: Debt, state: PaymentState
    ) -> None:
        async with power.database.transaction() as session:
            await record_payment(
                session,
                provider="bank",
                reference="x",
                target=Target(agreement_id=power.agreement),
                amount_minor=5_00,
                currency="CNY",
                received_at=power.now,
                now=power.now,
                state=state,
            )

        await power.live_until(PROPOSED[power.kind])

        assert await kinds_of_steps(power) == []

    async def test_never_touches_the_other_service(self, debt: Debt) -> None:
        await debt.live_until(PROPOSED[debt.kind])

        found = await ask(debt.database, "SELECT DISTINCT agreement_id FROM shuidian.dunning_steps")
        assert found == [(debt.agreement,)]

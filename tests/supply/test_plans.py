"""A debt paid in parts: the ladder stands, goes on anew when the plan breaks, and never skips."""

from datetime import date, timedelta

import pytest
from sqlalchemy import text

from core.accounts.models import Service, Supply
from core.billing import (
    corrections,
    disputes,
    payments,
    plan_queries,
    plans,
    queries,
    rebilling,
    returns,
)
from core.billing.audit_checks import list_violations
from core.billing.bills import BillNotFound
from core.billing.correction_models import Ground
from core.billing.correction_queries import get_story
from core.billing.plan_models import PlanState
from core.billing.plan_queries import PlanNotFound, PlanView
from core.billing.plan_watch import look_after_plans
from core.billing.plans import (
    AlreadyPlanned,
    BillDisputed,
    OtherBillsPlanned,
    OwnPlan,
    PlanClosed,
    TooSmall,
)
from core.billing.rebilling import Change
from core.supply.guards import Refusal
from core.supply.models import Reason
from tests.billing.books import NOVEMBER, ask, run_bills, show
from tests.supply.debt import BILL, NOTICED, PROPOSED, REMINDED, Debt, at

STEPS = "SELECT kind, round FROM shuidian.dunning_steps ORDER BY id"
FIRST, SECOND, THIRD = 18_85, 18_84, 18_84  # of 56.53


async def propose(debt: Debt, *, count: int = 3, person: int | None = None) -> str:
    person = person or debt.world.home.holder
    async with debt.database.transaction() as session:
        return await plans.propose_plan(
            session,
            bill_number=BILL[debt.kind],
            count=count,
            person_id=person,
            is_manager=person in {debt.world.manager, debt.world.second_manager},
            now=debt.now,
        )


async def agree(debt: Debt, *, person: int | None = None) -> None:
    async with debt.database.transaction() as session:
        await plans.agree(
            session, number="A1001", person_id=person or debt.world.manager, now=debt.now
        )


async def decline(debt: Debt) -> None:
    async with debt.database.transaction() as session:
        await plans.decline(
            session,
            number="A1001",
            reason="the last two were not kept",
            actor_id=debt.world.manager,
            now=debt.now,
        )


async def begin(debt: Debt) -> None:
    await propose(debt)
    await agree(debt)
    await debt.deliver()


async def look_at(debt: Debt) -> PlanView:
    async with debt.database.transaction() as session:
        return await plan_queries.get_plan(session, number="A1001", person_id=None, now=debt.now)


async def watch(debt: Debt) -> None:
    async with debt.database.transaction() as session:
        await look_after_plans(session, now=debt.now)
    await debt.deliver()


async def live(debt: Debt, days: int) -> None:
    """Let days pass; each has its look at the ladder and at the plan."""
    for _ in range(days):
        debt.wait(days=1)
        await debt.look()
        await watch(debt)


async def require_sound_books(debt: Debt) -> None:
    async with debt.database.transaction() as session:
        assert await list_violations(session) == []


class TestProposePlan:
    async def test_shows_the_days_and_amounts_and_asks_managers(self, power: Debt) -> None:
        assert await propose(power) == "A1001"

        found = await look_at(power)
        assert [(part.due, part.amount_minor) for part in found.parts] == [
            (date(2026, 11, 9), FIRST),
            (date(2026, 12, 9), SECOND),
            (date(2027, 1, 8), THIRD),
        ]
        assert (found.plan.state, found.bills) == (PlanState.ASKED, ["E1001"])
        assert "plan.card" in await power.kinds(power.world.manager)
        await require_sound_books(power)

    async def test_is_refused_in_too_many_parts(self, power: Debt) -> None:
        with pytest.raises(TooSmall):
            await propose(power, count=6)

    async def test_is_refused_beside_another_and_after_a_no(self, power: Debt) -> None:
        await propose(power)
        with pytest.raises(AlreadyPlanned):
            await propose(power)
        await decline(power)
        with pytest.raises(AlreadyPlanned):
            await propose(power)

        await propose(power, person=power.world.manager)  # who declined may offer another

    async def test_is_refused_for_what_is_objected_to(self, power: Debt) -> None:
        await object_to(power)
        with pytest.raises(BillDisputed):
            await propose(power)

    async def test_is_for_people_of_the_account_only(self, power: Debt) -> None:
        with pytest.raises(BillNotFound):
            await propose(power, person=power.world.neighbour.holder)
        await propose(power)
        with pytest.raises(PlanNotFound):
            async with power.database.transaction() as session:
                await plan_queries.get_plan(
                    session,
                    number="A1001",
                    person_id=power.world.neighbour.holder,
                    now=power.now,
                )


class TestAgree:
    async def test_is_for_the_other_side(self, power: Debt) -> None:
        await propose(power)
        for person in (power.world.home.holder, power.world.neighbour.holder):
            if person == power.world.home.holder:
                with pytest.raises(OwnPlan):
                    await agree(power, person=person)
        await agree(power)
        with pytest.raises(PlanClosed):
            await agree(power)

    async def test_to_an_offer_is_for_its_people(self, power: Debt) -> None:
        await propose(power, person=power.world.manager)
        for person in (power.world.manager, power.world.neighbour.holder):
            with pytest.raises(OwnPlan):
                await agree(power, person=person)
        assert (await look_at(power)).plan.paused_at is None

        await agree(power, person=power.world.home.holder)

        assert (await look_at(power)).plan.state is PlanState.AGREED

    async def test_moves_the_days_by_the_wait_for_the_answer(self, power: Debt) -> None:
        await propose(power)
        power.wait(days=10)
        await agree(power)

        days = [part.due for part in (await look_at(power)).parts]
        assert days == [date(2026, 11, 19), date(2026, 12, 19), date(2027, 1, 18)]


class TestAPlanThatIsKept:
    async def test_lets_no_step_be_taken_and_ends_with_a_word(self, power: Debt) -> None:
        await power.live_until(REMINDED)
        await begin(power)
        for amount in (FIRST, SECOND, THIRD):
            await live(power, 6)
            await power.pay(amount, reference=str(amount) + str(power.now))
            await live(power, 24)

        assert (await look_at(power)).plan.state is PlanState.KEPT
        assert await ask(power.database, STEPS) == [("reminder", 0)]
        kinds = await power.kinds(power.world.home.holder)
        assert kinds.count("plan.kept") == 1
        assert "plan.part_due" in kinds
        assert "plan.missed" not in kinds
        await require_sound_books(power)

    async def test_is_told_of_each_part_once_before_its_day(self, power: Debt) -> None:
        await begin(power)
        await live(power, 6)
        await power.pay(FIRST)
        await live(power, 30)

        told = await ask(
            power.database,
            "SELECT dedupe_key, (created_at AT TIME ZONE 'Asia/Shanghai')::date"
            " FROM shuidian.deliveries WHERE kind = 'plan.part_due' ORDER BY id",
        )
        assert told == [
            ("plan.part_due:A1001:1", date(2026, 11, 6)),
            ("plan.part_due:A1001:2", date(2026, 12, 6)),
        ]

    async def test_is_shorter_by_what_is_paid_early(self, power: Debt) -> None:
        await begin(power)
        await power.pay(FIRST + SECOND + 4)

        found = await look_at(power)
        assert found.next is not None
        assert (found.next.position, found.next.amount_minor) == (3, THIRD - 4)

        await power.pay(THIRD - 4, reference="b")
        await watch(power)
        assert (await look_at(power)).plan.state is PlanState.KEPT


class TestAPlanThatIsBroken:
    async def test_begins_the_notice_anew_and_never_skips_a_step(self, power: Debt) -> None:
        await power.live_until(NOTICED[power.kind] + timedelta(days=1))
        assert [kind for kind, _ in await ask(power.database, STEPS)] == ["reminder", "cut_notice"]
        await begin(power)
        await live(power, 10)  # the first part is due after 7 days, the grace is 3
        assert (await look_at(power)).plan.state is PlanState.AGREED
        assert "plan.missed" in await power.kinds(power.world.home.holder)
        await live(power, 1)

        found = await look_at(power)
        assert found.plan.state is PlanState.BROKEN
        assert (found.left_minor, found.broken_before) == (56_53, 0)
        for person in (power.world.home.holder, power.world.manager):
            kinds = await power.kinds(person)
            assert ("plan.broken" if person == power.world.home.holder else "plan.card") in kinds
        assert await power.propose() == 0  # the old notice is none any more
        await live(power, 1)
        assert (await ask(power.database, STEPS))[-1] == ("cut_notice", 1)
        await live(power, 6)
        assert len(await ask(power.database, STEPS)) == 3
        await live(power, 1)
        assert (await ask(power.database, STEPS))[-1] == ("cut_proposed", 1)
        with pytest.raises(AlreadyPlanned):
            await propose(power)
        await require_sound_books(power)

    async def test_has_not_let_the_reminder_grow_old(self, power: Debt) -> None:
        await power.live_until(REMINDED)
        await begin(power)
        await live(power, 11)
        assert (await look_at(power)).plan.state is PlanState.BROKEN

        days = 28  # electricity: 31 days past due at the earliest, and 7 after the reminder
        while len(await ask(power.database, STEPS)) == 1 and days:
            await live(power, 1)
            days -= 1

        assert power.now >= at(REMINDED) + timedelta(days=7 + 11)

    async def test_is_mended_by_paying_within_the_grace(self, power: Debt) -> None:
        await begin(power)
        await live(power, 9)
        await power.pay(FIRST)
        await live(power, 5)

        found = await look_at(power)
        assert (found.plan.state, found.plan.short_since) == (PlanState.AGREED, None)

    async def test_is_also_one_whose_payment_went_back(self, power: Debt) -> None:
        await begin(power)
        paid = await power.pay(FIRST)
        await live(power, 20)
        async with power.database.transaction() as session:
            await returns.reverse_payment(
                session,
                number=paid.number,
                reason="bounced",
                actor_id=power.world.manager,
                now=power.now,
            )
        await live(power, 3)
        assert (await look_at(power)).plan.state is PlanState.AGREED
        assert "plan.missed" in await power.kinds(power.world.home.holder)

        await live(power, 1)

        assert (await look_at(power)).plan.state is PlanState.BROKEN
        await require_sound_books(power)


class TestADecline:
    async def test_says_why_and_lets_the_clocks_go_on(self, power: Debt) -> None:
        await power.live_until(REMINDED)
        await propose(power)
        await power.live_until(REMINDED + timedelta(days=40), daily=True)
        assert await ask(power.database, STEPS) == [("reminder", 0)]
        await decline(power)
        await power.live_until(PROPOSED[power.kind] + timedelta(days=41), daily=True)

        assert [kind for kind, _ in await ask(power.database, STEPS)] == [
            "reminder",
            "cut_notice",
            "cut_proposed",
        ]
        found = await look_at(power)
        assert (found.plan.reason, found.decided_by) == ("the last two were not kept", "Maya Stone")


class TestAnOffer:
    async def test_that_is_left_does_not_keep_its_people_from_asking(self, power: Debt) -> None:
        await propose(power, person=power.world.manager)
        async with power.database.transaction() as session:
            await plans.withdraw(
                session, number="A1001", person_id=power.world.home.holder, now=power.now
            )

        assert await propose(power) == "A1002"

    async def test_stops_nothing_and_lapses(self, power: Debt) -> None:
        await power.live_until(REMINDED - timedelta(days=1))
        await propose(power, person=power.world.manager)
        await live(power, 1)
        assert await ask(power.database, STEPS) == [("reminder", 0)]
        await live(power, 7)

        assert (await look_at(power)).plan.state is PlanState.ENDED
        assert "plan.lapsed" in await power.kinds(power.world.home.holder)


async def bill_november(debt: Debt) -> None:
    await show(debt.database, debt.world.home.meters[debt.kind], {NOVEMBER.ends: "300"})
    await run_bills(debt.database, debt.kind, NOVEMBER, now=at(date(2026, 12, 2)))
    debt.now = max(debt.now, at(date(2026, 12, 2)))


class TestFindAsked:
    async def test_asks_for_the_whole_part_where_it_covers_two_bills(self, power: Debt) -> None:
        await bill_november(power)
        await power.pay(1_00)  # so that half of both is more than the rest of the first
        await propose(power, count=2)
        await agree(power)
        found = await look_at(power)
        assert found.next is not None

        async with power.database.transaction() as session:
            summary = await queries.get_summary(session, number="E1001", person_id=None)
            asked = await plan_queries.find_asked(session, summary=summary, now=power.now)

        assert asked is not None
        assert asked.part == found.next
        assert asked.part.amount_minor > summary.left_minor
        assert (asked.number, asked.left_minor) == ("A1001", found.left_minor)


class TestABillBesideAPlan:
    async def test_is_not_offered_in_parts_and_is_told_to_be_paid_by_itself(
        self, power: Debt
    ) -> None:
        await begin(power)
        await bill_november(power)

        async with power.database.transaction() as session:
            summary = await queries.get_summary(session, number="E1002", person_id=None)
            assert not (await get_story(session, bill=summary.bill)).is_divisible
            holder = power.world.home.holder
            with pytest.raises(OtherBillsPlanned) as refused:
                await plans.weigh_debt(
                    session, bill_number="E1002", person_id=holder, is_manager=False
                )
        assert refused.value.params == {"number": "A1001", "bill": "E1002"}


async def object_to(debt: Debt) -> str:
    async with debt.database.transaction() as session:
        return await disputes.open_dispute(
            session,
            bill_number=BILL[debt.kind],
            person_id=debt.world.home.holder,
            ground=Ground.TOO_MUCH,
            words="",
            now=debt.now,
        )


class TestWhatHappensToItsBills:
    async def test_an_objection_makes_the_days_stand(self, power: Debt) -> None:
        await begin(power)
        number = await object_to(power)
        await live(power, 30)
        found = await look_at(power)
        assert (found.plan.state, found.plan.short_since) == (PlanState.AGREED, None)

        async with power.database.transaction() as session:
            await disputes.decline(
                session, number=number, answer="no", actor_id=power.world.manager, now=power.now
            )

        assert (await look_at(power)).parts[0].due == date(2026, 12, 9)

    async def test_an_objection_from_before_the_agreement_makes_the_days_stand(
        self, power: Debt
    ) -> None:
        await propose(power)
        number = await object_to(power)
        await live(power, 10)
        await agree(power)
        await live(power, 30)
        found = await look_at(power)
        assert (found.plan.state, found.plan.short_since) == (PlanState.AGREED, None)

        async with power.database.transaction() as session:
            await disputes.decline(
                session, number=number, answer="no", actor_id=power.world.manager, now=power.now
            )

        # 7 days after it was asked for, 10 of waiting, 30 in which the objection was open
        assert (await look_at(power)).parts[0].due == date(2026, 11, 9) + timedelta(days=40)

    async def test_a_credit_note_pays_the_next_part(self, power: Debt) -> None:
        await begin(power)
        async with power.database.transaction() as session:
            await corrections.credit_bill(
                session,
                number="E1001",
                amount_minor=20_00,
                reason="the reading was wrong",
                actor_id=power.world.manager,
                now=power.now,
            )

        found = await look_at(power)
        assert found.next is not None
        assert (found.next.position, found.next.amount_minor) == (2, SECOND - 1_15)

    async def test_a_bill_that_is_taken_back_ends_it(self, power: Debt) -> None:
        await begin(power)
        async with power.database.transaction() as session:
            await corrections.void_bill(
                session, number="E1001", reason="x", actor_id=power.world.manager, now=power.now
            )
        await watch(power)

        assert (await look_at(power)).plan.state is PlanState.ENDED

    async def test_a_bill_in_its_place_is_paid_in_the_same_parts(self, power: Debt) -> None:
        await begin(power)
        async with power.database.transaction() as session:
            await rebilling.rebill(
                session,
                number="E1001",
                change=Change(people=5),
                reason="five people live there",
                actor_id=power.world.manager,
                now=power.now,
            )
        await watch(power)

        found = await look_at(power)
        assert (found.plan.state, found.bills) == (PlanState.AGREED, ["E1001", "E1002"])
        assert found.open_bill is not None
        assert found.open_bill.number == "E1002"

    async def test_a_new_bill_has_its_own_ladder(self, power: Debt) -> None:
        await begin(power)
        await power.pay(FIRST + SECOND)
        await bill_november(power)
        power.now = at(date(2026, 12, 19))
        await live(power, 2)

        found = await ask(power.database, "SELECT bill_id, kind FROM shuidian.dunning_steps")
        assert found == [(2, "reminder")]


class TestSupply:
    async def test_is_not_cut_while_a_plan_is_asked_for(self, power: Debt) -> None:
        await power.until_approved()
        await propose(power)
        power.wait(minutes=31)

        assert await power.dispatch() == []
        assert await power.orders() == [("S1001", "cut", "cancelled")]
        notes = await ask(power.database, "SELECT note FROM shuidian.supply_orders")
        assert notes == [(Reason.PLANNED,)]

    async def test_refuses_to_approve_with_the_reason(self, power: Debt) -> None:
        await power.until_proposed()
        async with power.database.transaction() as session:
            await session.execute(  # and nobody looked at the order since
                text(
                    "INSERT INTO shuidian.payment_plans (number, agreement_id, currency,"
                    " debt_minor, person_id, state, opened_at, paused_at, looked_on) VALUES"
                    " ('A1001', :agreement, 'CNY', 5653, :person, 'asked', :now, :now, :now)"
                ),
                {
                    "agreement": power.agreement,
                    "person": power.world.home.holder,
                    "now": power.now,
                },
            )
            await session.execute(
                text("INSERT INTO shuidian.plan_bills (plan_id, bill_id) VALUES (1, 1)")
            )

        assert Refusal.PLANNED in (await power.approve()).refusals

    async def test_comes_back_with_the_first_part(self, power: Debt) -> None:
        await power.until_cut()
        await begin(power)
        assert [order[0] for order in await power.orders()] == ["S1001"]
        assert await power.supply() == Supply.CUT

        await power.pay(FIRST - 1)
        assert [order[0] for order in await power.orders()] == ["S1001"]
        await power.pay(1, reference="b")

        orders = await ask(power.database, "SELECT wanted, reason FROM shuidian.supply_orders")
        assert orders == [("cut", "arrears"), ("connected", "planned")]

    async def test_of_the_other_service_is_not_touched(self, power: Debt) -> None:
        await begin(power)

        async with power.database.transaction() as session:
            owed = await payments.owed(
                session, agreement_id=power.world.home.agreements[Service.WATER]
            )
        assert owed == 0

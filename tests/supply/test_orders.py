"""Orders: who decides, what stops them, what devices answer, and what the database refuses."""

from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from bot.handlers.supply_words import describe_answer
from bot.repair_card import CUSTOMER, card_text
from bot.texts import Texts
from core.accounts.models import AccountRight, Right, Service, ServicePoint, Supply
from core.billing import corrections, payments
from core.billing.models import PaymentState
from core.billing.payments import Target
from core.db import Database
from core.monitoring.models import Reading, ReadingStatus, Source
from core.repairs.workflow import Act, State
from core.supply import commands, queries, reports, service
from core.supply.answers import Why
from core.supply.facts import gather
from core.supply.guards import Refusal, Stage, refusals
from core.supply.orders import OrderNotFound, lock_order
from core.supply.reports import Fate
from core.supply.service import (
    NothingToRestore,
    OnlyManagers,
    OrderMovedOn,
    SerialDiffers,
    case_of,
)
from tests.billing.books import ask
from tests.core.test_repairs import act, messages, news, view
from tests.supply.debt import MONDAY, OWED, Debt, at, begin_debt, make_gateway
from tests.supply.test_answers import ask_why
from tests.world import NOON, World

ENGLISH = Texts("en", timezone="UTC", currency="CNY")


async def protect(debt: Debt, why: str | None) -> None:
    async with debt.database.transaction() as session:
        (await session.get_one(ServicePoint, debt.point)).protected = why


class TestTakeUpArrears:
    async def test_proposes_once_and_does_nothing_by_itself(self, power: Debt) -> None:
        await power.until_proposed()

        assert await power.propose() == 0
        assert await power.dispatch() == []
        assert "supply.cut_ordered" not in await power.kinds(power.world.home.holder)

    async def test_proposes_nothing_for_a_protected_place(self, power: Debt) -> None:
        await protect(power, "oxygen")
        with pytest.raises(AssertionError):
            await power.until_proposed()

        assert await power.orders() == []

    async def test_proposes_again_after_a_day_what_lapsed_but_not_what_was_declined(
        self, power: Debt
    ) -> None:
        await power.until_approved()
        power.wait(hours=24)
        assert await power.give_up() == 1
        assert await power.propose() == 0
        power.wait(hours=25)
        assert await power.propose() == 1

        async with power.database.transaction() as session:
            await service.decline(
                session,
                number="S1002",
                version=1,
                reason="in hospital",
                person_id=power.world.manager,
                now=power.now,
            )
        power.wait(days=10)
        assert await power.propose() == 0
        assert [state for _, _, state in await power.orders()] == ["expired", "declined"]


class TestApprove:
    async def test_refuses_outside_hours_and_keeps_the_proposal(self, power: Debt) -> None:
        await power.until_proposed()  # a Friday
        decision = await power.approve()

        assert decision.refusals == [Refusal.OUTSIDE_HOURS]
        assert await power.orders() == [("S1001", "cut", "proposed")]
        found = await ask(
            power.database,
            "SELECT actor_id, details ->> 'note' FROM shuidian.audit_entries"
            " WHERE action = 'supply.refused'",
        )
        assert found == [(power.world.manager, "outside_hours")]

    async def test_refuses_somebody_with_a_right_on_the_account(self, power: Debt) -> None:
        await power.until_proposed()
        power.now = at(MONDAY)
        async with power.database.transaction() as session:
            session.add(
                AccountRight(
                    account_id=power.world.home.account,
                    person_id=power.world.manager,
                    right=Right.PAYER,
                    since=NOON,
                )
            )

        assert (await power.approve()).refusals == [Refusal.OWN_ACCOUNT]
        assert (await power.approve(person=power.world.second_manager)).refusals == ()

    @pytest.mark.parametrize("who", ["technician", "customer"])
    async def test_refuses_who_is_no_manager(self, power: Debt, who: str) -> None:
        world = power.world
        person = world.technician if who == "technician" else world.neighbour.holder
        await power.until_proposed()
        power.now = at(MONDAY)

        assert (await power.approve(person=person)).refusals == [Refusal.NOT_A_MANAGER]

    async def test_refuses_a_protection_that_came_meanwhile(self, power: Debt) -> None:
        await power.until_proposed()
        power.now = at(MONDAY)
        await protect(power, "oxygen until 2020-01-01")

        assert (await power.approve()).refusals == [Refusal.PROTECTED]

    async def test_refuses_another_serial_a_stale_version_and_a_second_time(
        self, power: Debt
    ) -> None:
        await power.until_proposed()
        power.now = at(MONDAY)
        async with power.database.transaction() as session:
            with pytest.raises(SerialDiffers):
                await service.approve(
                    session,
                    number="S1001",
                    version=1,
                    serial_end="0002",
                    person_id=power.world.manager,
                    now=power.now,
                )
        with pytest.raises(OrderMovedOn):
            await power.approve(version=2)
        with pytest.raises(OrderNotFound):
            await power.approve("S9999")
        await power.approve(version=1)
        with pytest.raises(OrderMovedOn):
            await power.approve(version=1)

    async def test_stores_the_facts_and_the_policy(self, power: Debt) -> None:
        await power.until_approved()

        async with power.database.transaction() as session:
            order = await queries.get_order(session, number="S1001")
        assert (order.overdue_minor, order.overdue_days, order.bill_number) == (56_53, 41, "E1001")
        assert order.approved_by == "Maya Stone"
        assert order.valid_until == power.now + timedelta(hours=24)
        (facts,) = (await ask(power.database, "SELECT inputs FROM shuidian.supply_orders"))[0]
        assert isinstance(facts, dict)
        assert facts["facts"]["policy"]["overdue_days_min"] == "31"
        assert facts["facts"]["protected"] is None


class TestDispatch:
    async def test_gives_nothing_to_another_gateway(self, power: Debt) -> None:
        other = await make_gateway(power.database, "other", [])
        await power.until_approved()
        power.wait(minutes=31)

        assert await power.dispatch(other) == []
        (command,) = await power.dispatch()
        async with power.database.transaction() as session:
            with pytest.raises(commands.CommandNotFound):
                await commands.accept_command(
                    session, gateway_id=other, nonce=command.nonce, now=power.now
                )
        power.wait(seconds=5)
        assert await power.report(Supply.CUT, gateway=other) is Fate.UNKNOWN_METER
        assert await power.orders() == [("S1001", "cut", "sent")]

    async def test_cancels_what_was_protected_or_undone_after_approval(self, power: Debt) -> None:
        await power.until_approved()
        await protect(power, "oxygen")
        power.wait(minutes=31)

        assert await power.dispatch() == []
        assert await power.orders() == [("S1001", "cut", "cancelled")]
        assert "supply.cut_cancelled" in await power.kinds(power.world.home.holder)
        assert "supply.alert" in await power.kinds(power.world.manager)

    async def test_waits_for_the_hours_and_lapses_after_a_day(self, power: Debt) -> None:
        await power.until_proposed()
        power.now = at(MONDAY, 13, 45)
        await power.approve()
        await power.deliver()
        power.wait(minutes=31)
        assert await power.dispatch() == []

        power.now = at(MONDAY + timedelta(days=1), 13, 45)
        assert await power.dispatch() == []
        assert await power.give_up() == 1
        assert await power.orders() == [("S1001", "cut", "expired")]

    async def test_waits_while_the_last_warning_has_reached_nobody(self, power: Debt) -> None:
        await power.until_proposed()
        power.now = at(MONDAY)
        await power.approve()
        power.wait(hours=3)

        assert await power.dispatch() == []
        assert await power.orders() == [("S1001", "cut", "approved")]

    async def test_tries_three_times_then_files_a_repair(self, debt: Debt) -> None:
        await debt.until_sent()
        patience = commands.RETRY_AFTER[debt.kind]
        for _ in range(2):
            assert await debt.dispatch() == []
            debt.now += patience
            assert [each.number for each in await debt.dispatch()] == ["S1001"]
        debt.now += patience
        assert await debt.dispatch() == []

        assert await debt.give_up() == 1
        assert await debt.orders() == [("S1001", "cut", "failed")]
        found = await ask(debt.database, "SELECT cause, state FROM shuidian.repairs")
        assert found == [("supply_switch", "new")]
        assert await debt.give_up() == 0

    async def test_keeps_restoring_and_sends_somebody_after_an_hour(self, power: Debt) -> None:
        await power.until_cut()
        await power.pay(OWED[power.kind])
        for _ in range(6):
            power.wait(minutes=11)
            (command,) = await power.dispatch()
            assert command.wanted is Supply.CONNECTED
            await power.give_up()

        assert await ask(power.database, "SELECT cause FROM shuidian.repairs") == [
            ("supply_switch",)
        ]
        answer = await ask_why(power)
        assert (answer.why, answer.repair and answer.repair.number) == (Why.RESTORING, "R1001")
        words = describe_answer(ENGLISH, answer, hotline="110", now=power.now)
        assert "R1001" in words
        assert "please report" not in words
        power.wait(seconds=1)
        await power.report(Supply.CONNECTED)
        assert (await power.orders())[-1] == ("S1002", "connected", "confirmed")

    async def test_asks_whether_a_switch_that_obeys_after_all_needs_somebody(
        self, power: Debt
    ) -> None:
        await power.until_cut()
        await power.pay(OWED[power.kind])
        for _ in range(6):
            power.wait(minutes=11)
            await power.dispatch()
            await power.give_up()
        power.wait(seconds=1)
        _, before = await messages(power.database)
        await power.report(Supply.CONNECTED)

        assert (await ask_why(power)).why is Why.CONNECTED
        told = await news(power.database, after=before)
        assert ("normal", power.world.home.holder) in told
        shown = await view(power.database, power.world.home.holder, "R1001")
        assert (shown.normal_at, shown.history[-1].kind) == (power.now, "normal")
        words = card_text(shown, ENGLISH, CUSTOMER)
        assert "The valve or switch obeys again since" in words
        assert "Is all well again?" in words
        await act(power.database, Act.CONFIRM, power.world.home.holder, "R1001")
        ended = await view(power.database, power.world.home.holder, "R1001")
        assert ended.state is State.CLOSED


class TestReportStates:
    async def test_confirms_only_by_what_is_newer_than_the_sending(self, power: Debt) -> None:
        await power.until_sent()

        await power.report(Supply.CUT, taken_at=power.now)
        assert await power.orders() == [("S1001", "cut", "sent")]
        power.wait(seconds=1)
        assert await power.report(Supply.CONNECTED) is Fate.TAKEN
        assert await power.orders() == [("S1001", "cut", "sent")]
        power.wait(seconds=1)
        assert await power.report(Supply.CUT) is Fate.TAKEN
        assert await power.report(Supply.CUT) is Fate.NOT_NEWER
        assert await power.orders() == [("S1001", "cut", "confirmed")]

    async def test_refuses_the_future(self, power: Debt) -> None:
        late = power.now + timedelta(minutes=6)

        assert await power.report(Supply.CUT, taken_at=late) is Fate.IN_THE_FUTURE
        assert await power.supply() == "connected"

    async def test_takes_ready_as_released_and_waits_for_the_button(self, power: Debt) -> None:
        await power.until_cut()
        await power.pay(OWED[power.kind])
        await power.dispatch()
        power.wait(seconds=5)
        await power.report(Supply.READY)

        assert (await power.orders())[-1] == ("S1002", "connected", "confirmed")
        assert await power.supply() == "ready"
        power.wait(minutes=5)
        await power.report(Supply.CONNECTED)
        assert await power.supply() == "connected"
        assert "supply.alert" not in await power.kinds(power.world.manager)

    async def test_restores_what_a_device_cut_after_its_order_was_over(self, power: Debt) -> None:
        await power.until_sent()
        await power.pay(OWED[power.kind])
        await power.dispatch()
        power.wait(seconds=5)
        await power.report(Supply.CONNECTED)
        assert [state for _, _, state in await power.orders()] == ["cancelled", "confirmed"]

        power.wait(hours=1)  # the cut was stuck in a queue
        await power.report(Supply.CUT)

        assert (await power.orders())[-1] == ("S1003", "connected", "approved")
        assert "supply.alert" in await power.kinds(power.world.manager)
        late = "SELECT subject FROM shuidian.audit_entries WHERE action = 'supply.late'"
        assert await ask(power.database, late) == [("supply:S1001",)]

    async def test_takes_a_late_acceptance_as_an_incident(self, power: Debt) -> None:
        await power.until_approved()
        power.wait(minutes=31)
        (command,) = await power.dispatch()
        power.wait(hours=24)
        await power.give_up()
        async with power.database.transaction() as session:
            state = await commands.accept_command(
                session, gateway_id=power.gateway, nonce=command.nonce, now=power.now
            )

        assert state == "failed"
        assert (await power.orders())[-1] == ("S1002", "connected", "approved")

    async def test_files_a_repair_for_a_device_that_switches_off_by_itself(
        self, power: Debt
    ) -> None:
        await power.report(Supply.CUT)

        assert await power.orders() == []
        assert await ask(power.database, "SELECT cause FROM shuidian.repairs") == [
            ("switched_off",)
        ]

    async def test_tells_managers_when_a_cut_supply_is_on_again(self, power: Debt) -> None:
        await power.until_cut()
        power.wait(hours=1)
        await power.report(Supply.CONNECTED)

        found = await ask(
            power.database,
            "SELECT DISTINCT params ->> 'alert' FROM shuidian.deliveries"
            " WHERE kind = 'supply.alert'",
        )
        assert found == [("on_by_itself",)]


class TestWatchCuts:
    @pytest.mark.parametrize(("later", "alerts"), [("200.02", 0), ("200.03", 1)])
    async def test_finds_registers_that_go_on_counting(
        self, power: Debt, later: str, alerts: int
    ) -> None:
        await power.until_cut()
        async with power.database.transaction() as session:
            session.add_all(
                Reading(
                    meter_id=power.world.home.meters[power.kind],
                    register="total",
                    taken_at=power.now + timedelta(minutes=minutes),
                    value=value,
                    source=Source.GATEWAY,
                    status=ReadingStatus.ACCEPTED,
                    received_at=power.now,
                )
                for minutes, value in ((1, "199"), (16, "200"), (46, later))
            )
        power.wait(hours=1)
        for expected in (alerts, 0):
            async with power.database.transaction() as session:
                assert await reports.watch_cuts(session, now=power.now) == expected


class TestUndoCut:
    async def undo(self, debt: Debt, person: int) -> str:
        async with debt.database.transaction() as session:
            return await service.undo_cut(
                session, service_point_id=debt.point, person_id=person, now=debt.now
            )

    async def test_restores_at_once_whatever_is_owed(self, power: Debt) -> None:
        await power.until_cut()

        assert await self.undo(power, power.world.second_manager) == "S1001"
        (command,) = await power.dispatch()
        assert command.wanted is Supply.CONNECTED
        power.wait(seconds=5)
        await power.report(Supply.CONNECTED)
        power.wait(days=3)
        assert await power.propose() == 0

    async def test_cancels_what_is_pending(self, power: Debt) -> None:
        await power.until_sent()
        await self.undo(power, power.world.manager)

        assert await power.orders() == [
            ("S1001", "cut", "cancelled"),
            ("S1002", "connected", "approved"),
        ]

    async def test_is_for_managers_and_for_cuts_only(self, power: Debt) -> None:
        with pytest.raises(OnlyManagers):
            await self.undo(power, power.world.technician)
        with pytest.raises(NothingToRestore):
            await self.undo(power, power.world.manager)


class TestReceivePayment:
    @pytest.mark.parametrize("reached", ["proposed", "approved", "sent"])
    async def test_stops_a_pending_cut_by_any_payment(self, power: Debt, reached: str) -> None:
        await getattr(power, f"until_{reached}")()
        await power.pay(1)

        expected = [("S1001", "cut", "cancelled")]
        if reached == "sent":
            expected.append(("S1002", "connected", "approved"))
        assert await power.orders() == expected
        told = "supply.cut_cancelled" in await power.kinds(power.world.home.holder)
        assert told is (reached != "proposed")

    async def test_counts_the_same_payment_once(self, power: Debt) -> None:
        await power.pay(1, "first")
        await power.until_approved()
        await power.pay(1, "first")

        assert await power.orders() == [("S1001", "cut", "approved")]

    async def test_blocks_a_cut_while_its_fate_is_unknown(self, power: Debt) -> None:
        await power.until_approved()
        async with power.database.transaction() as session:
            await payments.record_payment(
                session,
                provider="bank",
                reference="x",
                target=Target(agreement_id=power.agreement),
                amount_minor=1,
                currency="CNY",
                received_at=power.now,
                now=power.now,
                state=PaymentState.UNKNOWN,
            )
        power.wait(minutes=31)

        assert await power.dispatch() == []
        assert await power.orders() == [("S1001", "cut", "cancelled")]

    async def test_restores_when_the_bill_is_taken_back(self, power: Debt) -> None:
        await power.until_cut()
        async with power.database.transaction() as session:
            await corrections.void_bill(
                session, number="E1001", reason="misread", actor_id=None, now=power.now
            )

        assert (await power.orders())[-1] == ("S1002", "connected", "approved")

    async def test_leaves_the_other_service_cut(self, database: Database, world: World) -> None:
        power = await begin_debt(database, world, Service.ELECTRICITY)
        await power.until_cut()
        water = Debt(database, world, Service.WATER, power.gateway, power.now)
        await water.pay(1_000_00)

        assert await power.orders() == [("S1001", "cut", "confirmed")]
        assert await power.supply() == "cut"


class TestDatabase:
    """What the database refuses whoever asks."""

    async def refuse(self, debt: Debt, statement: str, constraint: str) -> None:
        with pytest.raises(DBAPIError) as refused:
            async with debt.database.transaction() as session:
                await session.execute(text(statement), {"now": debt.now})
        assert isinstance(refused.value.orig, psycopg.Error)
        diagnosis = refused.value.orig.diag
        assert constraint in {diagnosis.constraint_name, diagnosis.sqlstate}

    SEND = "UPDATE shuidian.supply_orders SET state = 'sent', sent_at = :now"

    async def test_refuses_skipped_steps_and_unapproved_cuts(self, power: Debt) -> None:
        await power.until_proposed()

        await self.refuse(power, self.SEND, "supply_steps")
        await self.refuse(
            power,
            "UPDATE shuidian.supply_orders SET state = 'approved'",
            "ck_supply_orders_approved",
        )
        await self.refuse(
            power, "UPDATE shuidian.supply_orders SET wanted = 'connected'", "supply_steps"
        )
        await self.refuse(power, "DELETE FROM shuidian.supply_orders", "42501")

    async def test_refuses_a_protected_place_and_an_approver_of_the_account(
        self, power: Debt
    ) -> None:
        await power.until_approved()
        await protect(power, "oxygen")
        await self.refuse(power, self.SEND, "supply_protected")

        await protect(power, None)
        async with power.database.transaction() as session:
            session.add(
                AccountRight(
                    account_id=power.world.home.account,
                    person_id=power.world.manager,
                    right=Right.TENANT,
                    since=NOON,
                )
            )
        await self.refuse(power, self.SEND, "supply_own_account")

    @pytest.mark.parametrize(
        ("minutes", "refused"), [(59, Refusal.HOUR_FULL), (23 * 60, Refusal.DAY_FULL)]
    )
    async def test_brakes_after_five_cuts(
        self, power: Debt, minutes: int, refused: Refusal
    ) -> None:
        await power.until_approved()
        power.wait(minutes=31)
        # Five cuts at other places, written as if they had been sent before.
        async with power.database.transaction() as session:
            await session.execute(
                text("ALTER TABLE shuidian.supply_orders DISABLE TRIGGER supply_order")
            )
            await session.execute(
                text(
                    "INSERT INTO shuidian.supply_orders (number, service_point_id, agreement_id,"
                    " meter_id, wanted, reason, state, inputs, proposed_at, approved_at,"
                    " approved_by_id, valid_until, sent_at, finished_at)"
                    " SELECT 'S' || n, o.service_point_id, o.agreement_id, o.meter_id, 'cut',"
                    " 'arrears', 'confirmed', '{}', :at, :at, o.approved_by_id, :at, :at, :at"
                    " FROM shuidian.supply_orders o, generate_series(1, 5) n"
                ),
                {"at": power.now - timedelta(minutes=minutes)},
            )
            await session.execute(
                text("ALTER TABLE shuidian.supply_orders ENABLE TRIGGER supply_order")
            )

        await self.refuse(power, self.SEND + " WHERE number = 'S1001'", "supply_brake")
        assert await power.dispatch() == []
        assert ("S1001", "cut", "approved") in await power.orders()
        async with power.database.transaction() as session:
            order = await lock_order(session, number="S1001")
            case = case_of(order, approver_id=order.approved_by_id)
            facts, _ = await gather(session, case=case, now=power.now)
        assert refused in refusals(facts, stage=Stage.SENDING)

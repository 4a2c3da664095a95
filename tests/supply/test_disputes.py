"""Objections on a debt: no reminder, no cut, and then on from where it stood."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, text

from bot.handlers.correction_words import describe_dispute
from bot.texts import Texts
from core.accounts.models import Service, Supply
from core.billing import corrections, dispute_promises, dispute_queries, disputes, rebilling
from core.billing.audit_checks import list_violations
from core.billing.correction_models import Dispute, DisputeState, Ground
from core.billing.disputes import AlreadyDisputed, DisputeClosed, DisputeNotFound, OwnDispute
from core.billing.models import Bill
from core.billing.rebilling import Change
from core.db import Database
from core.monitoring.held import Decision
from core.monitoring.rows import Key
from core.periods import start_of_day
from core.supply.guards import Refusal
from tests.billing.books import NOVEMBER, OCTOBER, ZONE, ask, run_bills, show
from tests.supply.debt import (
    BILL,
    MONDAY,
    NOTICED,
    PROPOSED,
    REMINDED,
    Debt,
    at,
    begin_debt,
)
from tests.world import World

STEPS = (
    "SELECT kind, (at AT TIME ZONE 'Asia/Shanghai')::date FROM shuidian.dunning_steps ORDER BY id"
)

ANSWERED = (
    "SELECT DISTINCT ON (dedupe_key) params ->> 'answered' FROM shuidian.deliveries"
    " WHERE kind = '{}' ORDER BY dedupe_key"
)


@pytest.fixture
async def power(database: Database, world: World) -> Debt:
    return await begin_debt(database, world, Service.ELECTRICITY)


async def object_to(debt: Debt, *, number: str = "", ground: Ground = Ground.TOO_MUCH) -> str:
    async with debt.database.transaction() as session:
        return await disputes.open_dispute(
            session,
            bill_number=number or BILL[debt.kind],
            person_id=debt.world.home.holder,
            ground=ground,
            words="I was away",
            now=debt.now,
        )


async def decline(debt: Debt, number: str = "D1001", *, person: int | None = None) -> None:
    async with debt.database.transaction() as session:
        await disputes.decline(
            session,
            number=number,
            answer="the photo shows it",
            actor_id=person or debt.world.manager,
            now=debt.now,
        )


async def state_of(debt: Debt, number: str = "D1001") -> dispute_queries.DisputeView:
    async with debt.database.transaction() as session:
        return await dispute_queries.get_dispute(session, number=number, person_id=None)


async def require_sound_books(debt: Debt) -> None:
    async with debt.database.transaction() as session:
        assert await list_violations(session) == []


class TestOpenDispute:
    async def test_names_who_answers_by_when_and_tells_both_sides(self, power: Debt) -> None:
        assert await object_to(power) == "D1001"

        found = await state_of(power)
        assert (found.responsible, found.promised_date) == ("Maya Stone", date(2026, 11, 9))
        assert await power.kinds(power.world.home.holder) == ["bill.issued", "dispute.opened"]
        for manager in (power.world.manager, power.world.second_manager):
            assert "dispute.new" in await power.kinds(manager)
        await require_sound_books(power)

    async def test_gives_the_next_one_to_who_has_fewest(self, power: Debt) -> None:
        await object_to(power)
        await show(
            power.database,
            power.world.neighbour.meters[power.kind],
            {OCTOBER.starts: "0", OCTOBER.ends: "90"},
        )
        await run_bills(power.database, power.kind, OCTOBER, now=power.now)
        async with power.database.transaction() as session:
            await disputes.open_dispute(
                session,
                bill_number="E1002",
                person_id=power.world.neighbour.holder,
                ground=Ground.OTHER,
                words="",
                now=power.now,
            )

        assert (await state_of(power, "D1002")).responsible == "Chen Yu"

    async def test_is_refused_a_second_time(self, power: Debt) -> None:
        await object_to(power)
        with pytest.raises(AlreadyDisputed):
            await object_to(power)

        await decline(power)
        with pytest.raises(AlreadyDisputed):
            await object_to(power)

    async def test_is_for_people_of_the_account_only(self, power: Debt) -> None:
        with pytest.raises(disputes.BillNotFound):
            async with power.database.transaction() as session:
                await disputes.open_dispute(
                    session,
                    bill_number="E1001",
                    person_id=power.world.neighbour.holder,
                    ground=Ground.OTHER,
                    words="",
                    now=power.now,
                )


class TestTheLadder:
    async def test_takes_no_step_for_the_bill_and_goes_on_where_it_stood(self, power: Debt) -> None:
        await power.live_until(REMINDED)
        power.wait(hours=1)
        await object_to(power)
        away = timedelta(days=40)
        await power.live_until(REMINDED + away, daily=True)
        assert await ask(power.database, STEPS) == [("reminder", REMINDED)]

        power.wait(hours=1)
        await decline(power)
        await power.deliver()
        await power.live_until(PROPOSED[power.kind] + away + timedelta(days=1), daily=True)

        assert await ask(power.database, STEPS) == [
            ("reminder", REMINDED),
            ("cut_notice", NOTICED[power.kind] + away),
            ("cut_proposed", PROPOSED[power.kind] + away),
        ]
        await require_sound_books(power)

    async def test_goes_on_for_other_bills(self, power: Debt) -> None:
        await show(power.database, power.world.home.meters[power.kind], {NOVEMBER.ends: "300"})
        await run_bills(power.database, power.kind, NOVEMBER, now=at(date(2026, 12, 2)))
        await object_to(power)

        await power.live_until(date(2026, 12, 22), daily=True)

        found = await ask(power.database, "SELECT bill_id, kind FROM shuidian.dunning_steps")
        assert found == [(2, "reminder")]

    async def test_never_cuts_for_it(self, power: Debt) -> None:
        await power.until_approved()
        await power.deliver()

        await object_to(power)
        power.wait(minutes=31)

        assert await power.dispatch() == []
        assert await power.orders() == [("S1001", "cut", "cancelled")]
        assert await power.propose() == 0

    async def test_undoes_a_cut_that_was_sent(self, power: Debt) -> None:
        await power.until_sent()

        await object_to(power)

        assert await power.orders() == [
            ("S1001", "cut", "cancelled"),
            ("S1002", "connected", "approved"),
        ]

    async def test_leaves_a_cut_that_was_carried_out_to_a_person(self, power: Debt) -> None:
        await power.until_cut()

        await object_to(power)

        assert await power.supply() == Supply.CUT
        assert [order[0] for order in await power.orders()] == ["S1001"]

    async def test_refuses_to_approve_with_the_reason(self, power: Debt) -> None:
        await power.until_proposed()
        async with power.database.transaction() as session:  # of which nobody was told
            bill = (await session.scalars(select(Bill))).one()
            session.add(
                Dispute(
                    number="D1001",
                    agreement_id=bill.agreement_id,
                    bill_id=bill.id,
                    person_id=power.world.home.holder,
                    ground=Ground.PAID,
                    words="",
                    opened_at=power.now,
                    promised_date=power.now.date(),
                    state=DisputeState.OPEN,
                )
            )
        power.now = at(MONDAY)

        assert Refusal.DISPUTED in (await power.approve()).refusals


class TestAnswers:
    async def test_to_decline_moves_the_day_by_which_to_pay(self, power: Debt) -> None:
        await object_to(power)
        power.wait(days=5)

        await decline(power)

        assert await ask(power.database, "SELECT due_date FROM shuidian.bills") == [
            (date(2026, 11, 22),)
        ]
        found = await state_of(power)
        assert (found.state, found.answered_by) == (DisputeState.DECLINED, "Maya Stone")
        assert (await power.kinds(power.world.home.holder))[-1] == "dispute.answered"
        with pytest.raises(DisputeClosed):
            await decline(power)
        await require_sound_books(power)

    async def test_are_not_given_by_somebody_whom_it_concerns(self, power: Debt) -> None:
        await object_to(power)

        with pytest.raises(OwnDispute):
            await decline(power, person=power.world.home.holder)

    async def test_are_a_credit_note_only_where_that_is_said(self, power: Debt) -> None:
        await object_to(power)
        for answers in (False, True, True):
            async with power.database.transaction() as session:
                await corrections.credit_bill(
                    session,
                    number="E1001",
                    amount_minor=1000,
                    reason="misread" if answers else "goodwill",
                    actor_id=power.world.manager,
                    now=power.now,
                    answers=answers,
                )
            if not answers:
                assert (await state_of(power)).state is DisputeState.OPEN

        found = await state_of(power)
        assert (found.state, found.answer) == (DisputeState.UPHELD, "misread")
        assert await ask(power.database, ANSWERED.format("bill.credited")) == [
            (None,),
            ("D1001",),
            (None,),
        ]
        await require_sound_books(power)

    @pytest.mark.parametrize("answers", [True, False])
    async def test_are_a_bill_made_again_only_where_that_is_said(
        self, power: Debt, *, answers: bool
    ) -> None:
        await object_to(power)
        key = Key(
            power.world.home.meters[power.kind], "total", start_of_day(OCTOBER.ends, zone=ZONE)
        )
        async with power.database.transaction() as session:
            await rebilling.rebill(
                session,
                number="E1001",
                change=Change(reading=(key, Decimal(150)), answers=answers),
                reason="misread",
                actor_id=power.world.manager,
                now=power.now,
            )

        found = await state_of(power)
        assert found.state is (DisputeState.UPHELD if answers else DisputeState.OPEN)
        assert found.bill_number == ("E1001" if answers else "E1002")
        assert (await power.kinds(power.world.home.holder))[-1] == "bill.rebilled"
        assert await ask(power.database, ANSWERED.format("bill.rebilled")) == [
            ("D1001" if answers else None,)
        ]
        await require_sound_books(power)

    async def test_are_put_off_with_a_reason_and_owned_up_to_when_late(self, power: Debt) -> None:
        await object_to(power)
        power.wait(days=8)
        async with power.database.transaction() as session:
            await dispute_promises.tell_late(session, now=power.now)
            await dispute_promises.tell_late(session, now=power.now)
        texts = Texts("en", timezone="Asia/Shanghai", currency="CNY")
        words = describe_dispute(texts, await state_of(power), for_staff=False)
        assert "It still counts; Maya Stone answers it." in words
        assert "Until then" not in words
        async with power.database.transaction() as session:
            await dispute_promises.postpone(
                session,
                number="D1001",
                days=3,
                reason="the meter is tested",
                actor_id=power.world.second_manager,
                now=power.now,
            )

        found = await state_of(power)
        assert (found.promised_date, found.responsible) == (date(2026, 11, 13), "Chen Yu")
        kinds = await power.kinds(power.world.home.holder)
        assert kinds[-2:] == ["dispute.late", "dispute.delayed"]

    async def test_need_no_one_when_it_is_taken_back(self, power: Debt) -> None:
        await object_to(power)
        with pytest.raises(DisputeNotFound):
            await withdraw(power, power.world.neighbour.holder)

        await withdraw(power, power.world.home.holder)

        assert (await state_of(power)).state is DisputeState.WITHDRAWN
        await power.live_until(REMINDED)
        assert await ask(power.database, STEPS) == [("reminder", REMINDED)]


async def withdraw(debt: Debt, person: int) -> None:
    async with debt.database.transaction() as session:
        await disputes.withdraw_dispute(session, number="D1001", person_id=person, now=debt.now)


class TestReadings:
    @pytest.fixture
    async def doubted(self, power: Debt) -> Key:
        key = Key(
            power.world.home.meters[power.kind], "total", start_of_day(NOVEMBER.ends, zone=ZONE)
        )
        await show(power.database, key.meter_id, {NOVEMBER.ends: "300"})
        async with power.database.transaction() as session:
            await disputes.open_reading_dispute(
                session,
                key=key,
                person_id=power.world.home.holder,
                ground=Ground.READING,
                words="it shows 250",
                now=power.now,
            )
        return key

    @pytest.mark.usefixtures("doubted")
    async def test_are_not_billed_while_the_answer_is_due(self, power: Debt) -> None:
        chunk = await run_bills(power.database, power.kind, NOVEMBER, now=at(date(2026, 12, 2)))

        assert chunk.issued == 0
        assert chunk.skipped["billing.reading_waits"] == 1

    @pytest.mark.parametrize(
        ("decision", "state", "shown"),
        [
            (Decision.ACCEPT, DisputeState.DECLINED, ("accepted", Decimal(300))),
            (Decision.CORRECT, DisputeState.UPHELD, ("accepted", Decimal(250))),
            (Decision.REJECT, DisputeState.UPHELD, ("rejected", Decimal(300))),
        ],
    )
    async def test_are_answered_by_a_decision(
        self,
        power: Debt,
        doubted: Key,
        decision: Decision,
        state: DisputeState,
        shown: tuple[str, Decimal],
    ) -> None:
        async with power.database.transaction() as session:
            await disputes.answer_reading(
                session,
                number="D1001",
                decision=decision,
                value=Decimal(250) if decision is Decision.CORRECT else None,
                answer="we looked",
                actor_id=power.world.manager,
                now=power.now,
            )

        assert (await state_of(power)).state is state
        assert await reading_at(power, doubted) == shown
        await require_sound_books(power)

    async def test_count_again_when_it_is_taken_back(self, power: Debt, doubted: Key) -> None:
        await withdraw(power, power.world.home.holder)

        assert await reading_at(power, doubted) == ("accepted", Decimal(300))


async def reading_at(debt: Debt, key: Key) -> tuple[object, ...]:
    async with debt.database.transaction() as session:
        row = await session.execute(
            text(
                "SELECT status, value FROM shuidian.readings"
                " WHERE meter_id = :meter AND taken_at = :at"
            ),
            {"meter": key.meter_id, "at": key.taken_at},
        )
        return tuple(row.one())

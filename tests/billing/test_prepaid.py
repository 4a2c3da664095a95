"""Prepaid balances: the books less the use, whatever happens in between; each mark told once."""

from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Agreement, Operator, Service
from core.audit import AuditEntry
from core.billing import bills, invoices, payments, returns, runs
from core.billing.arrears import find_arrears
from core.billing.audit_checks import list_violations
from core.billing.burn import find_burn
from core.billing.dunning import run_dunning
from core.billing.invoices import InvoiceNotOurs, NotPrepaid, top_up_payload
from core.billing.models import Bill, BillState
from core.billing.payments import Target
from core.billing.prepaid import (
    AlreadySo,
    BillsOpen,
    StepsNotPossible,
    find_balances,
    judge_balances,
    look_at_balances,
    pick_steps,
    switch_payment,
)
from core.billing.running import AgreementNotFound
from core.billing.statements import BankLine, match_line
from core.db import Database, undone
from core.money import round_to
from core.notices.models import Delivery
from core.periods import month_of, start_of_day
from tests.billing.books import ZONE, keep, load_shipped, read
from tests.world import World

POWER = Service.ELECTRICITY
FIRST = date(2026, 10, 1)
DAY = timedelta(days=1)
PRICE = Decimal("56.53")  # fen a kWh, below 2160 kWh a year


def noon(day: date) -> datetime:
    return start_of_day(day, zone=ZONE) + timedelta(hours=12)


class Life:
    """A prepaid home whose days pass one by one, and all that was told to it."""

    def __init__(self, session: AsyncSession, world: World) -> None:
        self.session = session
        self.world = world
        self.agreement = world.home.agreements[POWER]
        self.day = FIRST
        self.register = 0
        self.acts = 0

    @property
    def now(self) -> datetime:
        return noon(self.day)

    async def begin(self, *, is_prepaid: bool = True) -> "Life":
        await keep(self.session, [read(self.world.home.meters[POWER], FIRST, "0")])
        agreement = await self.session.get_one(Agreement, self.agreement)
        agreement.is_prepaid = is_prepaid
        agreement.starts_date = FIRST
        await self.session.flush()
        return self

    async def use(self, kwh: int) -> None:
        """Let a day pass; a month that ends is billed."""
        self.day += DAY
        self.register += kwh
        meter = self.world.home.meters[POWER]
        await keep(self.session, [read(meter, self.day, str(self.register))])
        await self.session.flush()
        if self.day.day == 1:
            await self.bill()

    async def bill(self) -> None:
        period = month_of(self.day - DAY)
        run_id = await runs.start_run(self.session, service=POWER, period=period, now=self.now)
        scope = await runs.get_scope(self.session, run_id=run_id)
        agreements = await runs.list_unbilled(self.session, scope=scope)
        await bills.issue_bills(self.session, run_id=run_id, agreement_ids=agreements, now=self.now)
        held = (Bill.agreement_id == self.agreement, Bill.state == BillState.HELD)
        ids = (await self.session.scalars(select(Bill.id).where(*held))).all()
        await bills.make_due(self.session, bill_ids=ids, now=self.now)

    async def top_up(self, minor: int) -> str:
        self.acts += 1
        paid = await payments.record_payment(
            self.session,
            provider="cashier",
            reference=f"top-up {self.acts}",
            target=Target(agreement_id=self.agreement),
            amount_minor=minor,
            currency="CNY",
            received_at=self.now,
            now=self.now,
        )
        return paid.number

    async def refund(self, number: str, minor: int) -> None:
        self.acts += 1
        await returns.refund_payment(
            self.session,
            number=number,
            amount_minor=minor,
            key=f"refund {self.acts}",
            reason="asked for",
            actor_id=self.world.manager,
            now=self.now,
        )

    async def judge(self) -> int | None:
        found = await judge_balances(self.session, agreement_ids=[self.agreement], now=self.now)
        return found[self.agreement].minor

    async def told(self) -> list[tuple[str, int]]:
        found = await self.session.scalars(
            select(Delivery.params).where(Delivery.kind == "prepaid.low").order_by(Delivery.id)
        )
        return [(params["mark"], params["at_minor"]) for params in found]


@pytest.fixture
async def life(database: Database, world: World):
    """A home that begins to pay ahead in October, with nothing paid yet."""
    await load_shipped(database)
    async with database.transaction() as session:
        yield await Life(session, world).begin()


class TestBalance:
    async def test_stays_what_it_was_when_the_bill_is_made(self, life: Life) -> None:
        await life.top_up(100_00)
        for _ in range(30):
            await life.use(4)
        before = await life.judge()

        await life.use(4)  # into November, so that October is billed

        assert before == 100_00 - round_to(PRICE * 120, digits=0)
        assert await life.judge() == 100_00 - round_to(PRICE * 124, digits=0)
        (bill,) = await life.session.scalars(select(Bill))
        assert bill.state is BillState.SETTLED

    async def test_is_not_guessed_without_a_reading(self, life: Life) -> None:
        await life.top_up(100_00)
        life.day += timedelta(days=60)

        assert await life.judge() is None
        assert await life.told() == []

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        acts=st.lists(
            st.tuples(st.sampled_from("utrj"), st.integers(1, 60)), min_size=1, max_size=45
        ),
        steps=st.sets(st.sampled_from([100_00, 50_00, 10_00]), max_size=2),
    )
    async def test_is_top_ups_less_refunds_less_use_in_any_order(
        self, database: Database, world: World, acts: list[tuple[str, int]], steps: set[int]
    ) -> None:
        """u: a day's use, t: a top-up, r: a part of it back, j: somebody looks."""
        await load_shipped(database)
        async with database.transaction() as session, undone(session):
            life = await Life(session, world).begin()
            await pick_steps(
                session, person_id=world.home.holder, agreement_id=life.agreement, steps=steps
            )
            paid, kept, fallen, seen = 0, dict[str, int](), 0, None
            marks = {*steps, 0, -20_00}
            for act, size in acts:
                match act:
                    case "u":
                        await life.use(size)
                    case "t":
                        kept[await life.top_up(size * 100)] = size * 100
                        paid += size * 100
                    case "r" if kept:
                        number, left = kept.popitem()
                        back = min(left, size * 50)
                        await life.refund(number, back)
                        paid -= back
                left = await life.judge()
                billed = await session.scalar(select(func.coalesce(func.sum(Bill.total_minor), 0)))
                whole = await session.scalar(select(func.coalesce(func.sum(Bill.consumption), 0)))
                running = round_to(PRICE * (life.register - int(whole or 0)), digits=0)
                assert left == paid - int(billed or 0) - int(running)
                fallen += any(left <= at and (seen is None or at < seen) for at in marks)
                seen = left
            assert len(await life.told()) == fallen
            assert await list_violations(session) == []


class TestJudgeBalances:
    async def test_tells_each_mark_again_after_a_top_up(self, life: Life) -> None:
        await life.top_up(60_00)
        await life.judge()
        for _ in range(2):
            for _ in range(3):
                await life.use(30)  # 50.88 of it
                await life.judge()
            await life.top_up(51_00)
            await life.judge()

        # The usual steps are the last two, 30 and 10.
        assert await life.told() == [("step", 30_00), ("step", 10_00)] * 2

    async def test_waits_for_the_morning(self, life: Life) -> None:
        night = start_of_day(FIRST, zone=ZONE) + timedelta(hours=23)

        await judge_balances(life.session, agreement_ids=[life.agreement], now=night)

        (due_at,) = await life.session.scalars(
            select(Delivery.due_at).where(Delivery.kind == "prepaid.low")
        )
        assert due_at == night + timedelta(hours=10)

    async def test_looks_at_each_once_an_hour(self, life: Life) -> None:
        looked = [
            await look_at_balances(life.session, now=life.now + timedelta(minutes=minutes))
            for minutes in (0, 59, 60)
        ]

        assert looked == [1, 0, 1]

    async def test_tells_that_less_emergency_credit_is_used_up(self, life: Life) -> None:
        await life.use(25)  # 14.13
        await life.judge()
        operator = await life.session.get_one(Operator, 1)
        operator.emergency_minor = 10_00
        await life.session.flush()
        await life.judge()
        await life.judge()

        assert await life.told() == [("zero", 0), ("used_up", -10_00)]


class TestBurn:
    async def test_says_what_a_day_costs_and_until_when_it_lasts(self, life: Life) -> None:
        await life.top_up(200_00)
        for _ in range(40):
            await life.use(4)
        found = await find_balances(life.session, agreement_ids=[life.agreement], now=life.now)

        burn = await find_burn(life.session, balance=found[life.agreement], now=life.now)

        # 200.00 less 160 kWh are 109.55; 4 kWh a day cost 2.2612.
        assert burn is not None
        assert round_to(burn.minor, digits=0) == 226
        assert burn.days_left == 48
        assert burn.lasts_until == life.day + timedelta(days=48)

    async def test_is_unknown_with_too_few_readings(self, life: Life) -> None:
        await life.use(4)
        found = await find_balances(life.session, agreement_ids=[life.agreement], now=life.now)

        assert await find_burn(life.session, balance=found[life.agreement], now=life.now) is None


class TestPickSteps:
    @pytest.mark.parametrize("steps", [{200_00, 120_00, 50_00}, {49_00}])
    async def test_takes_two_of_those_offered(self, life: Life, steps: set[int]) -> None:
        with pytest.raises(StepsNotPossible):
            await pick_steps(
                life.session,
                person_id=life.world.home.holder,
                agreement_id=life.agreement,
                steps=steps,
            )

    async def test_is_for_ones_own_home(self, life: Life) -> None:
        with pytest.raises(AgreementNotFound):
            await pick_steps(
                life.session,
                person_id=life.world.neighbour.holder,
                agreement_id=life.agreement,
                steps={50_00},
            )


class TestSwitchPayment:
    async def switch(self, life: Life, *, to_prepaid: bool) -> None:
        await switch_payment(
            life.session,
            agreement_id=life.agreement,
            to_prepaid=to_prepaid,
            actor_id=life.world.manager,
            now=life.now,
        )

    async def test_loses_no_money_in_either_direction(self, life: Life) -> None:
        await life.top_up(100_00)
        await life.use(10)
        before = await life.judge()

        await self.switch(life, to_prepaid=False)
        after = await find_balances(life.session, agreement_ids=[life.agreement], now=life.now)
        await self.switch(life, to_prepaid=True)

        assert before == after[life.agreement].minor == await life.judge()
        acts = await life.session.scalars(select(AuditEntry.action).order_by(AuditEntry.id))
        assert [each for each in acts if each.startswith("agreement.")] == [
            "agreement.postpaid",
            "agreement.prepaid",
        ]

    async def test_is_refused_with_a_debt(self, life: Life) -> None:
        for _ in range(31):
            await life.use(10)
        await self.switch(life, to_prepaid=False)

        with pytest.raises(BillsOpen):
            await self.switch(life, to_prepaid=True)

    async def test_is_refused_where_it_is_so(self, life: Life) -> None:
        with pytest.raises(AlreadySo):
            await self.switch(life, to_prepaid=True)


class TestDunning:
    async def test_never_touches_a_prepaid_home(self, life: Life) -> None:
        for _ in range(31):
            await life.use(10)
        life.day += timedelta(days=60)

        await run_dunning(life.session, now=life.now)

        assert await find_arrears(life.session, agreement_ids=[life.agreement], now=life.now) == {}
        kinds = set(await life.session.scalars(select(Delivery.kind)))
        assert not {kind for kind in kinds if kind.startswith("dunning")}


class TestTopUps:
    async def test_by_invoice_are_for_ones_own_prepaid_home(self, life: Life) -> None:
        payload = top_up_payload(agreement_id=life.agreement, amount_minor=50_00)
        asked = {"payload": payload, "amount_minor": 50_00, "currency": "CNY"}
        home = life.world.home.holder

        target = await invoices.check_checkout(life.session, **asked, person_id=home)

        assert target == Target(agreement_id=life.agreement)
        with pytest.raises(NotPrepaid):
            await invoices.check_checkout(
                life.session, **asked, person_id=life.world.neighbour.holder
            )
        with pytest.raises(InvoiceNotOurs):
            await invoices.check_checkout(
                life.session, **{**asked, "amount_minor": 60_00}, person_id=home
            )

    @pytest.mark.parametrize(("two_are_prepaid", "is_sure"), [(False, True), (True, False)])
    async def test_by_bank_are_sure_for_the_one_prepaid_service(
        self, life: Life, *, two_are_prepaid: bool, is_sure: bool
    ) -> None:
        if two_are_prepaid:
            agreement = await life.session.get_one(
                Agreement, life.world.home.agreements[Service.WATER]
            )
            agreement.is_prepaid = True
            await life.session.flush()
        line = BankLine(
            position=1,
            reference="x",
            amount_minor=77_00,
            currency="CNY",
            received_at=life.now,
            payer="Li Hua",
            words="top-up 10001",
        )

        match = await match_line(life.session, line)

        expected = [(Target(agreement_id=life.agreement), 77_00)] if is_sure else []
        assert list(match.parts) == expected

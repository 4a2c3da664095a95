"""Cuts that protect a home: proposed by a danger, decided by a person, undone by one press."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import insert, select, update

from bot.repair_card import CUSTOMER, card_text, keys
from bot.texts import Texts
from core.accounts.models import AccountRight, Agreement, Right, Service, ServicePoint, Supply
from core.db import Database
from core.monitoring.ingest import NewSample, store_batch
from core.monitoring.leak_rules import LeakKind
from core.monitoring.models import Alarm, Leak, LeakAnswer, Quantity, Sample, Side, Watch
from core.monitoring.partitions import ensure_months, months_of
from core.notices.models import Delivery
from core.repairs.leaks import answer_leak
from core.repairs.workflow import Act
from core.supply import queries, service
from core.supply.answers import Why, why_is_my_supply_off
from core.supply.guards import Refusal
from core.supply.models import Reason
from core.supply.protecting import take_up_dangers
from core.supply.reports import Fate
from core.supply.service import Decision, SerialDiffers
from tests.core.test_repairs import act, messages, news, take_up, view
from tests.supply.debt import MONDAY, Debt, at, begin_debt, make_gateway
from tests.world import NOON, World

RATE = {Service.WATER: Decimal("0.9"), Service.ELECTRICITY: Decimal(271)}


class Danger(Debt):
    """A home in danger: the first of `world`, whose supply of one service threatens it."""

    async def begin(self, value: Decimal | None = None) -> None:
        """Let a burst, or a voltage that destroys, have been seen."""
        value = value or RATE[self.kind]
        meter = self.world.home.meters[self.kind]
        async with self.database.transaction() as session:
            if self.kind is Service.WATER:
                row: Leak | Alarm = Leak(
                    meter_id=meter,
                    kind=LeakKind.BURST,
                    rate=value,
                    began_at=self.now - timedelta(hours=2),
                    found_at=self.now,
                )
            else:
                row = Alarm(
                    meter_id=meter,
                    quantity=Quantity.VOLTAGE,
                    side=Side.HIGH,
                    limit=Decimal("235.4"),
                    worst=value,
                    began_at=self.now - timedelta(minutes=20),
                    raised_at=self.now,
                )
            session.add(row)
        if self.kind is Service.ELECTRICITY:
            await self.measure(value)

    async def measure(self, value: Decimal) -> None:
        async with self.database.transaction() as session:
            await ensure_months(session, months_of([self.now]))
            await session.execute(
                insert(Sample).values(
                    meter_id=self.world.home.meters[Service.ELECTRICITY],
                    quantity=Quantity.VOLTAGE,
                    taken_at=self.now,
                    value=value,
                )
            )

    async def watch(self) -> None:
        """Have the alarm remembered as its meter's, as it is when samples raise it."""
        async with self.database.transaction() as session:
            alarm = await session.scalar(select(Alarm))
            assert alarm is not None
            session.add(
                Watch(
                    meter_id=alarm.meter_id,
                    quantity=alarm.quantity,
                    side=alarm.side,
                    since=alarm.began_at,
                    last_at=self.now,
                    worst=alarm.worst,
                    alarm_id=alarm.id,
                )
            )

    async def hear(self, value: str) -> None:
        """Have the home's gateway send a voltage."""
        sample = NewSample(0, "E-10001", Quantity.VOLTAGE, self.now, Decimal(value))
        async with self.database.transaction() as session:
            await store_batch(
                session, gateway_id=self.gateway, readings=[], samples=[sample], now=self.now
            )

    async def end(self, *, answer: LeakAnswer | None = None) -> None:
        async with self.database.transaction() as session:
            table = Leak if self.kind is Service.WATER else Alarm
            more = {} if answer is None else {"answer": answer}
            await session.execute(update(table).values(ended_at=self.now, **more))

    async def protect(self) -> int:
        async with self.database.transaction() as session:
            return await take_up_dangers(session, now=self.now)

    async def agree(self, *, person: int | None = None) -> Decision:
        async with self.database.transaction() as session:
            return await service.approve(
                session,
                number="S1001",
                version=None,
                serial_end=None,
                person_id=person or self.world.manager,
                now=self.now,
            )

    async def until_closed(self) -> None:
        await self.begin()
        assert await self.protect() == 1
        assert (await self.agree()).refusals == ()
        (command,) = await self.dispatch()
        assert command.wanted is Supply.CUT
        self.wait(seconds=30)
        assert await self.report(Supply.CUT) is Fate.TAKEN

    async def why(self) -> Why:
        async with self.database.transaction() as session:
            answer = await why_is_my_supply_off(
                session,
                person_id=self.world.home.holder,
                service_point_id=self.point,
                now=self.now,
            )
        return answer.why

    async def undo(self) -> None:
        async with self.database.transaction() as session:
            await service.undo_cut(
                session,
                service_point_id=self.point,
                person_id=self.world.manager,
                now=self.now,
            )


@pytest.fixture(params=list(Service))
async def danger(request: pytest.FixtureRequest, database: Database, world: World) -> Danger:
    """A home of which one supply is dangerous, for each service; nobody owes anything."""
    gateway = await make_gateway(
        database, "gateway", [*world.home.meters.values(), *world.neighbour.meters.values()]
    )
    return Danger(database, world, request.param, gateway, NOON)


class TestTakeUpDangers:
    async def test_proposes_once_and_does_nothing_by_itself(self, danger: Danger) -> None:
        await danger.begin()

        assert await danger.protect() == 1
        assert await danger.protect() == 0
        assert await danger.dispatch() == []
        assert await danger.orders() == [("S1001", "cut", "proposed")]
        assert await danger.kinds(danger.world.manager) == ["supply.proposed"]
        assert await danger.kinds(danger.world.home.holder) == []
        async with danger.database.transaction() as session:
            order = await queries.get_order(session, number="S1001")
        assert order.danger is not None
        assert order.danger.value == RATE[danger.kind]
        assert order.reason is (
            Reason.BURST if danger.kind is Service.WATER else Reason.OVER_VOLTAGE
        )

    async def test_proposes_nothing_for_a_voltage_that_is_only_too_high(
        self, danger: Danger
    ) -> None:
        if danger.kind is Service.ELECTRICITY:
            await danger.begin(Decimal(264))
            assert await danger.protect() == 0
            await danger.end()
            danger.wait(minutes=10)
            await danger.begin(Decimal(265))
            assert await danger.protect() == 1

    async def test_proposes_nothing_where_it_may_not_or_cannot_be_done(
        self, danger: Danger
    ) -> None:
        await danger.begin()
        async with danger.database.transaction() as session:
            point = await session.get_one(ServicePoint, danger.point)
            point.protected = "oxygen"
        assert await danger.protect() == 0
        async with danger.database.transaction() as session:
            (await session.get_one(ServicePoint, danger.point)).protected = None
            agreement = await session.get_one(Agreement, danger.agreement)
            agreement.ends_date = NOON.date()
        assert await danger.protect() == 0

    async def test_takes_back_what_is_over_before_it_is_sent(self, danger: Danger) -> None:
        await danger.begin()
        await danger.protect()
        await danger.agree()
        await danger.end()
        await danger.protect()

        assert await danger.orders() == [("S1001", "cut", "cancelled")]
        assert await danger.dispatch() == []

    async def test_holds_on_through_a_swing_and_comes_again_after_the_end(
        self, danger: Danger
    ) -> None:
        if danger.kind is Service.ELECTRICITY:
            await danger.begin()
            assert await danger.protect() == 1
            for value, proposed, state in (
                (262, 0, "proposed"),
                (249, 0, "cancelled"),
                (280, 1, "proposed"),
            ):
                danger.wait(minutes=10)
                await danger.measure(Decimal(value))
                assert await danger.protect() == proposed
                assert (await danger.orders())[-1][-1] == state

    async def test_takes_a_stopped_flow_for_no_reason_to_open_again(self, danger: Danger) -> None:
        await danger.begin()
        await danger.protect()
        await danger.agree()
        await danger.dispatch()
        await danger.end()
        danger.wait(minutes=11)
        await danger.protect()
        await danger.dispatch()
        assert await danger.orders() == [("S1001", "cut", "sent")]

        await danger.report(Supply.CUT)
        await danger.protect()
        undone = [("S1002", "connected", "approved")] if danger.kind is Service.ELECTRICITY else []
        assert await danger.orders() == [("S1001", "cut", "confirmed"), *undone]

    async def test_does_not_take_silence_for_safety(self, danger: Danger) -> None:
        if danger.kind is Service.ELECTRICITY:
            await danger.begin()
            await danger.protect()
            danger.wait(hours=30)
            await danger.protect()

            assert await danger.orders() == [("S1001", "cut", "proposed")]

    async def test_gives_electricity_back_once_the_meter_sees_a_normal_voltage(
        self, danger: Danger
    ) -> None:
        if danger.kind is Service.ELECTRICITY:
            await danger.until_closed()
            await danger.watch()
            danger.wait(minutes=10)
            await danger.hear("0")  # behind the open relay
            danger.wait(minutes=10)
            await danger.hear("262")
            await danger.protect()
            assert await danger.orders() == [("S1001", "cut", "confirmed")]

            for _ in range(4):
                danger.wait(minutes=10)
                await danger.hear("221.5")
            await danger.protect()
            await danger.protect()

            assert (await danger.orders())[1:] == [("S1002", "connected", "approved")]
            async with danger.database.transaction() as session:
                assert (await queries.get_order(session, number="S1002")).reason is Reason.SAFE

    async def test_asks_whether_all_is_well_once_supply_is_back(self, danger: Danger) -> None:
        if danger.kind is Service.ELECTRICITY:
            await danger.begin()
            await take_up(danger.database, now=danger.now)
            await danger.protect()
            await danger.agree()
            await danger.dispatch()
            danger.wait(seconds=30)
            await danger.report(Supply.CUT)
            await danger.watch()
            for _ in range(4):
                danger.wait(minutes=10)
                await danger.hear("221.5")
            await danger.protect()
            await take_up(danger.database, now=danger.now)
            assert "repair.news" not in await danger.kinds(danger.world.home.holder)

            await danger.dispatch()
            danger.wait(seconds=30)
            await danger.report(Supply.CONNECTED)
            await take_up(danger.database, now=danger.now)
            assert "repair.news" in await danger.kinds(danger.world.home.holder)
            shown = await view(danger.database, danger.world.home.holder, "R1001")
            assert shown.normal_at is not None

    async def test_asks_again_about_what_was_fixed_behind_a_closed_valve(
        self, danger: Danger
    ) -> None:
        if danger.kind is Service.WATER:
            await danger.until_closed()
            customer, technician = danger.world.home.holder, danger.world.technician
            async with danger.database.transaction() as session:
                await answer_leak(
                    session, leak_id=1, person_id=customer, answer=LeakAnswer.HELP, now=danger.now
                )
            await act(danger.database, Act.CLAIM, technician, "R1001", now=danger.now)
            await act(danger.database, Act.FIXED, technician, "R1001", now=danger.now)
            shown = await view(danger.database, customer, "R1001")
            texts = Texts("en", timezone="Asia/Shanghai", currency="CNY")
            assert "still cut off" in card_text(shown, texts, CUSTOMER)
            labels = [key.text for row in keys(shown, texts, CUSTOMER) for key in row]
            assert texts.plain("repair.do_confirm") not in labels
            _, before = await messages(danger.database)

            await danger.undo()
            await danger.dispatch()
            danger.wait(seconds=30)
            await danger.report(Supply.CONNECTED)

            told = await news(danger.database, after=before)
            assert told == {("fixed", customer): 1}
            shown = await view(danger.database, customer, "R1001")
            labels = [key.text for row in keys(shown, texts, CUSTOMER) for key in row]
            assert texts.plain("repair.do_confirm") in labels

    async def test_gives_water_back_to_who_says_that_it_was_theirs(self, danger: Danger) -> None:
        if danger.kind is Service.WATER:
            await danger.until_closed()
            await danger.end(answer=LeakAnswer.MINE)
            await danger.protect()
            await danger.protect()

            assert (await danger.orders())[1:] == [("S1002", "connected", "approved")]
            async with danger.database.transaction() as session:
                drawn = await session.scalars(
                    select(Delivery.dedupe_key)
                    .where(Delivery.kind == "supply.proposed")
                    .order_by(Delivery.id)
                )
            assert drawn.all()[-1] == "supply:S1001:S1002.1"  # the card of the cut tells of it

    async def test_is_not_proposed_again_once_somebody_decided(self, danger: Danger) -> None:
        await danger.begin()
        await danger.protect()
        async with danger.database.transaction() as session:
            await service.decline(
                session,
                number="S1001",
                version=None,
                reason="the pool",
                person_id=danger.world.manager,
                now=danger.now,
            )

        assert await danger.protect() == 0


class TestApprove:
    async def test_takes_one_press_at_any_hour_and_tells_at_once(self, danger: Danger) -> None:
        danger.now = at(MONDAY, hour=3)
        await danger.until_closed()

        assert await danger.orders() == [("S1001", "cut", "confirmed")]
        told = await danger.kinds(danger.world.home.holder)
        assert told == ["supply.cut_ordered", "supply.cut"]
        assert await danger.why() is Why.PROTECTED

    async def test_says_cut_off_only_once_the_meter_has(self, danger: Danger) -> None:
        await danger.begin()
        await danger.protect()
        await danger.agree()
        await danger.dispatch()

        assert await danger.why() is Why.PROTECTING

    async def test_heeds_what_protects_the_people(self, danger: Danger) -> None:
        await danger.begin()
        await danger.protect()
        async with danger.database.transaction() as session:
            (await session.get_one(ServicePoint, danger.point)).protected = "oxygen"
            session.add(
                AccountRight(
                    account_id=danger.world.home.account,
                    person_id=danger.world.manager,
                    right=Right.PAYER,
                    since=NOON,
                )
            )

        refusals = (await danger.agree()).refusals
        assert refusals == [Refusal.PROTECTED, Refusal.OWN_ACCOUNT]
        technician = await danger.agree(person=danger.world.technician)
        assert Refusal.NOT_A_MANAGER in technician.refusals

    async def test_says_when_the_danger_is_over(self, danger: Danger) -> None:
        await danger.begin()
        await danger.protect()
        await danger.end()

        assert (await danger.agree()).refusals == [Refusal.DANGER_OVER]

    async def test_still_takes_the_serial_for_a_debt(self, power: Debt) -> None:
        await power.until_proposed()
        async with power.database.transaction() as session:
            with pytest.raises(SerialDiffers):
                await service.approve(
                    session,
                    number="S1001",
                    version=None,
                    serial_end=None,
                    person_id=power.world.manager,
                    now=at(MONDAY),
                )


class TestUndo:
    async def test_opens_again_by_one_act_without_a_payment(self, danger: Danger) -> None:
        await danger.until_closed()
        await danger.undo()
        (command,) = await danger.dispatch()
        assert command.wanted is Supply.CONNECTED
        danger.wait(seconds=30)
        await danger.report(Supply.CONNECTED)

        assert await danger.supply() == "connected"
        assert await danger.protect() == 0
        assert (await danger.kinds(danger.world.home.holder))[-2:] == [
            "supply.restoring",
            "supply.restored",
        ]


async def test_money_neither_opens_nor_cancels_what_protects(
    database: Database, world: World
) -> None:
    debt = await begin_debt(database, world, Service.WATER)
    danger = Danger(database, world, Service.WATER, debt.gateway, debt.now)
    await danger.begin()
    await danger.protect()
    await danger.pay(37_80)
    assert await danger.orders() == [("S1001", "cut", "proposed")]
    await danger.agree()
    await danger.dispatch()
    danger.wait(seconds=30)
    await danger.report(Supply.CUT)
    await danger.pay(1_00, reference="b")

    assert await danger.orders() == [("S1001", "cut", "confirmed")]


async def test_a_danger_comes_before_a_debt(power: Debt) -> None:
    await power.until_proposed()
    danger = Danger(power.database, power.world, power.kind, power.gateway, power.now)
    await danger.begin()

    assert await danger.protect() == 1
    assert await danger.orders() == [("S1001", "cut", "cancelled"), ("S1002", "cut", "proposed")]
    assert "supply.cut_cancelled" not in await danger.kinds(danger.world.home.holder)

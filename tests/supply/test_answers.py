"""One answer to "why is my supply off?", the true one."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, text

from core.accounts.models import Supply
from core.accounts.service import AccountNotFound
from core.monitoring.gateway_models import GatewaySilence
from core.monitoring.models import Alarm, Meter, Quantity, Side
from core.outages import service as outages
from core.outages.models import OutageKind
from core.outages.service import OutageDraft
from core.repairs.intake import report
from core.supply import queries
from core.supply.answers import Answer, Why, why_is_my_supply_off
from tests.supply.debt import OWED, Debt


async def ask_why(debt: Debt, *, person: int | None = None) -> Answer:
    async with debt.database.transaction() as session:
        return await why_is_my_supply_off(
            session,
            person_id=person or debt.world.home.holder,
            service_point_id=debt.point,
            now=debt.now,
        )


class TestWhyIsMySupplyOff:
    async def test_says_arrears_with_what_is_overdue_then_that_it_comes_back(
        self, debt: Debt
    ) -> None:
        await debt.until_cut()
        answer = await ask_why(debt)
        assert answer.why is Why.ARREARS
        assert answer.arrears is not None
        assert answer.arrears.overdue_minor == OWED[debt.kind]
        assert answer.since == debt.now

        await debt.pay(OWED[debt.kind])
        assert (await ask_why(debt)).why is Why.RESTORING
        await debt.dispatch()
        debt.wait(seconds=5)
        await debt.report(Supply.READY)
        assert (await ask_why(debt)).why is Why.READY
        debt.wait(seconds=5)
        await debt.report(Supply.CONNECTED)
        assert (await ask_why(debt)).why is Why.CONNECTED

    async def test_says_that_a_cut_is_coming(self, power: Debt) -> None:
        await power.until_proposed()
        assert (await ask_why(power)).why is Why.UNKNOWN
        power.now += timedelta(days=3)
        await power.approve()

        assert (await ask_why(power)).why is Why.CUT_ORDERED

    async def test_says_an_outage_then_a_repair(self, power: Debt) -> None:
        async with power.database.transaction() as session:
            await report(
                session,
                person_id=power.world.home.holder,
                service_point_id=power.point,
                text="dark",
                photo_ref="",
                now=power.now,
            )
        answer = await ask_why(power)
        assert (answer.why, answer.repair and answer.repair.number) == (Why.REPAIR, "R1001")

        async with power.database.transaction() as session:
            await outages.announce(
                session,
                draft=OutageDraft(
                    service=power.kind,
                    kind=OutageKind.EMERGENCY,
                    area_id=power.world.feeder,
                    reason="burnt cable",
                    starts_at=power.now,
                    ends_at=power.now + timedelta(hours=2),
                ),
                actor_id=power.world.manager,
                now=power.now,
            )
        answer = await ask_why(power)
        assert (answer.why, answer.outage and answer.outage.reason) == (Why.OUTAGE, "burnt cable")

    async def test_says_switched_when_no_order_of_ours_did_it(self, power: Debt) -> None:
        await power.report(Supply.CUT)
        assert (await ask_why(power)).why is Why.REPAIR  # one was filed for it

        async with power.database.transaction() as session:
            await session.execute(text("UPDATE shuidian.repairs SET state = 'closed'"))
        assert (await ask_why(power)).why is Why.SWITCHED

    @pytest.mark.parametrize(("hours", "why"), [(47, Why.CONNECTED), (48, Why.UNKNOWN)])
    async def test_says_unknown_when_the_meter_is_silent(
        self, power: Debt, hours: int, why: Why
    ) -> None:
        await power.report(Supply.CONNECTED)
        seen_at = power.now
        power.wait(hours=hours)
        answer = await ask_why(power)

        assert (answer.why, answer.seen_at) == (why, seen_at)

    @pytest.mark.parametrize("is_all", [True, False])
    async def test_says_unknown_while_the_meter_or_its_gateway_is_missed(
        self, power: Debt, *, is_all: bool
    ) -> None:
        await power.report(Supply.CONNECTED)
        async with power.database.transaction() as session:
            if is_all:
                moments = dict.fromkeys(("began_at", "found_at", "told_at"), power.now)
                session.add(GatewaySilence(meters=1, silent=1, **moments))
            else:
                meter = select(Meter.id).where(Meter.service_point_id == power.point)
                session.add(
                    Alarm(
                        meter_id=await session.scalar(meter),
                        quantity=Quantity.SILENCE,
                        side=Side.HIGH,
                        limit=Decimal(6),
                        worst=Decimal(7),
                        began_at=power.now,
                        raised_at=power.now,
                    )
                )

        assert (await ask_why(power)).why is Why.UNKNOWN

    async def test_tells_nobody_else(self, power: Debt) -> None:
        with pytest.raises(AccountNotFound):
            await ask_why(power, person=power.world.neighbour.holder)


class TestListHistory:
    async def test_shows_the_customer_who_why_and_how_much_but_nobody_else(
        self, power: Debt
    ) -> None:
        await power.until_cut()
        await power.pay(OWED[power.kind])

        async with power.database.transaction() as session:
            mine = await queries.list_history(
                session, service_point_id=power.point, person_id=power.world.home.holder
            )
            others = await queries.list_history(
                session, service_point_id=power.point, person_id=power.world.neighbour.holder
            )
        assert [(each.number, each.wanted, each.reason) for each in mine] == [
            ("S1002", "connected", "paid"),
            ("S1001", "cut", "arrears"),
        ]
        assert (mine[1].approved_by, mine[1].overdue_minor) == ("Maya Stone", OWED[power.kind])
        assert others == []

    async def test_hides_what_was_only_proposed(self, power: Debt) -> None:
        await power.until_proposed()

        async with power.database.transaction() as session:
            mine = await queries.list_history(
                session, service_point_id=power.point, person_id=power.world.home.holder
            )
        assert mine == []

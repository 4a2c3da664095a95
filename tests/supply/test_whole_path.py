"""From an unpaid bill to the cut and back, on a real database, for each service."""

import pytest

from core.accounts.models import Service, Supply
from core.supply import commands
from tests.billing.books import ask
from tests.supply.debt import MONDAY, NOTICED, OWED, PROPOSED, REMINDED, Debt, at

STEPS = (
    "SELECT kind, (at AT TIME ZONE 'Asia/Shanghai')::date FROM shuidian.dunning_steps ORDER BY id"
)


class TestWholePath:
    async def test_leads_from_the_bill_to_the_cut_and_back(self, debt: Debt) -> None:
        customer, manager = debt.world.home.holder, debt.world.manager
        other = Service.WATER if debt.kind is Service.ELECTRICITY else Service.ELECTRICITY

        await debt.until_proposed()
        assert await ask(debt.database, STEPS) == [
            ("reminder", REMINDED),
            ("cut_notice", NOTICED[debt.kind]),
            ("cut_proposed", PROPOSED[debt.kind]),
        ]
        assert await debt.orders() == [("S1001", "cut", "proposed")]
        assert await debt.dispatch() == []

        debt.now = at(MONDAY)
        decision = await debt.approve()
        assert decision.refusals == ()
        assert await debt.dispatch() == []  # the last warning has not reached anybody yet
        await debt.deliver()
        debt.wait(minutes=29)
        assert await debt.dispatch() == []
        debt.wait(minutes=1)
        (command,) = await debt.dispatch()
        assert (command.number, command.meter, command.wanted) == ("S1001", debt.serial, Supply.CUT)
        assert await debt.dispatch() == []  # no second sending in the same breath
        async with debt.database.transaction() as session:
            accepted = await commands.accept_command(
                session, gateway_id=debt.gateway, nonce=command.nonce, now=debt.now
            )
        assert accepted == "accepted"
        assert await debt.supply() == "connected"
        assert "supply.cut" not in await debt.kinds(customer)

        debt.wait(seconds=20)
        await debt.report(Supply.CUT)
        assert await debt.supply() == "cut"
        assert await debt.supply(other) == "connected"
        assert await debt.orders() == [("S1001", "cut", "confirmed")]

        debt.wait(hours=3)
        await debt.pay(OWED[debt.kind])
        assert await debt.orders() == [
            ("S1001", "cut", "confirmed"),
            ("S1002", "connected", "approved"),
        ]
        (command,) = await debt.dispatch()
        assert (command.wanted, command.valid_until) == (Supply.CONNECTED, None)
        debt.wait(seconds=20)
        await debt.report(Supply.CONNECTED)
        assert await debt.supply() == "connected"
        assert await debt.orders() == [
            ("S1001", "cut", "confirmed"),
            ("S1002", "connected", "confirmed"),
        ]
        assert await debt.kinds(customer) == [
            "bill.issued",
            "dunning.reminder",
            "dunning.notice",
            "supply.cut_ordered",
            "supply.cut",
            "payment.receipt",
            "supply.restoring",
            "supply.restored",
        ]
        assert await debt.kinds(manager) == ["supply.proposed"]
        acts = await ask(
            debt.database,
            "SELECT action, actor_id IS NOT NULL FROM shuidian.audit_entries"
            " WHERE subject LIKE 'supply:%' ORDER BY id",
        )
        assert acts == [
            ("supply.proposed", False),
            ("supply.approved", True),
            ("supply.sent", False),
            ("supply.accepted", False),
            ("supply.confirmed", False),
            ("supply.restore_ordered", False),
            ("supply.sent", False),
            ("supply.confirmed", False),
        ]

    async def test_never_begins_for_the_neighbour_or_the_other_service(self, debt: Debt) -> None:
        await debt.until_cut()

        found = await ask(debt.database, "SELECT DISTINCT agreement_id FROM shuidian.dunning_steps")
        assert found == [(debt.agreement,)]
        found = await ask(debt.database, "SELECT DISTINCT agreement_id FROM shuidian.supply_orders")
        assert found == [(debt.agreement,)]

    @pytest.mark.parametrize("part", [1, 10_00])
    async def test_stays_cut_until_nothing_is_overdue(self, power: Debt, part: int) -> None:
        await power.until_cut()

        await power.pay(part)
        assert await power.orders() == [("S1001", "cut", "confirmed")]
        await power.pay(OWED[power.kind] - part, "b")
        assert (await power.orders())[-1] == ("S1002", "connected", "approved")

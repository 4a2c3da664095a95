"""Payment and cut at the same moment, on two connections: a cut never stands after a payment."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Supply
from core.billing import payments
from core.billing.payments import Target
from core.supply import commands, service
from tests.billing.books import ask
from tests.supply.debt import MONDAY, OWED, Debt, at

Act = Callable[[AsyncSession], Awaitable[object]]


def paying(debt: Debt) -> Act:
    async def act(session: AsyncSession) -> object:
        return await payments.record_payment(
            session,
            provider="cashier",
            reference="race",
            target=Target(agreement_id=debt.agreement),
            amount_minor=OWED[debt.kind],
            currency="CNY",
            received_at=debt.now,
            now=debt.now,
        )

    return act


def approving(debt: Debt) -> Act:
    async def act(session: AsyncSession) -> object:
        return await service.approve(
            session,
            number="S1001",
            version=1,
            serial_end="0001",
            person_id=debt.world.manager,
            now=debt.now,
        )

    return act


def dispatching(debt: Debt) -> Act:
    async def act(session: AsyncSession) -> object:
        return await commands.dispatch(session, gateway_id=debt.gateway, now=debt.now)

    return act


async def waits_for_lock(debt: Debt) -> bool:
    found = await ask(
        debt.database,
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    return found != [(0,)]


async def overlap(debt: Debt, first: Act, second: Act) -> object:
    """Run `second` while `first` is done but not committed; return what `second` returned."""
    transaction: AbstractAsyncContextManager[AsyncSession] = debt.database.transaction()
    async with transaction as session:
        await first(session)

        async def run() -> object:
            async with debt.database.transaction() as other:
                try:
                    return await second(other)
                except service.OrderMovedOn:
                    return None

        racing = asyncio.create_task(run())
        while not await waits_for_lock(debt) and not racing.done():  # noqa: ASYNC110 (another's lock)
            await asyncio.sleep(0.02)
        assert not racing.done(), "the second did not wait for the first"
    return await racing


class TestPaymentAgainstCut:
    async def test_payment_first_means_no_approval(self, power: Debt) -> None:
        await power.until_proposed()
        power.now = at(MONDAY)

        assert await overlap(power, paying(power), approving(power)) is None
        assert await power.orders() == [("S1001", "cut", "cancelled")]

    async def test_approval_first_means_cancelled_by_the_payment(self, power: Debt) -> None:
        await power.until_proposed()
        power.now = at(MONDAY)

        await overlap(power, approving(power), paying(power))
        assert await power.orders() == [("S1001", "cut", "cancelled")]

    async def test_payment_first_means_no_command(self, power: Debt) -> None:
        await power.until_approved()
        power.wait(minutes=31)

        assert await overlap(power, paying(power), dispatching(power)) == []
        assert await power.orders() == [("S1001", "cut", "cancelled")]

    async def test_command_first_means_a_restore_with_the_payment(self, power: Debt) -> None:
        await power.until_approved()
        power.wait(minutes=31)

        await overlap(power, dispatching(power), paying(power))
        assert await power.orders() == [
            ("S1001", "cut", "cancelled"),
            ("S1002", "connected", "approved"),
        ]
        made = await ask(
            power.database,
            "SELECT p.xmin = o.xmin FROM shuidian.payments p, shuidian.supply_orders o"
            " WHERE o.number = 'S1002'",
        )
        assert made == [(True,)]  # in the payment's own transaction

    @pytest.mark.parametrize("seed", range(4))
    async def test_no_order_of_all_three_ends_with_a_cut(self, power: Debt, seed: int) -> None:
        await power.until_approved()
        power.wait(minutes=31)
        acts = [paying(power), dispatching(power), dispatching(power)]

        async def run(place: int, act: Act) -> None:
            await asyncio.sleep((seed * (place + 1) % 4) * 0.01)
            async with power.database.transaction() as session:
                await act(session)

        await asyncio.gather(*(run(place, act) for place, act in enumerate(acts)))
        power.wait(minutes=2)
        left = await power.dispatch()

        assert all(command.wanted is Supply.CONNECTED for command in left)
        cuts = [state for _, wanted, state in await power.orders() if wanted == "cut"]
        assert cuts == ["cancelled"]
        sent = await ask(
            power.database, "SELECT sent_at IS NOT NULL FROM shuidian.supply_orders LIMIT 1"
        )
        assert sent == [(len(await power.orders()) == 2,)]

    async def test_two_gateways_polls_send_a_command_once(self, power: Debt) -> None:
        await power.until_approved()
        power.wait(minutes=31)

        assert await overlap(power, dispatching(power), dispatching(power)) == []
        tries = await ask(power.database, "SELECT tries FROM shuidian.supply_orders")
        assert tries == [(1,)]


class TestBrake:
    async def test_lets_one_sender_count_at_a_time(self, power: Debt) -> None:
        await power.until_approved()
        power.wait(minutes=31)
        lock = text("SELECT pg_advisory_xact_lock(hashtextextended('supply.cuts', 0))")

        async def hold(session: AsyncSession) -> object:
            return await session.execute(lock)

        assert await overlap(power, hold, dispatching(power)) != []

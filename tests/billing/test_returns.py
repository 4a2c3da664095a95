"""Money that goes back at the desk, and payments whose fate two people decide."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from core.accounts.service import TELEGRAM
from core.billing import payments, provider_events, returns, suspense
from core.billing.ledger import AlreadyReversed
from core.billing.models import EventKind, PaymentState
from core.billing.payment_states import CAME, MOVES
from core.billing.payments import FateIsKnown, PaymentNotFound, Target
from core.billing.returns import (
    ConfirmedInChat,
    PartlyReturned,
    RefundAtProvider,
    RefundTooLarge,
    ReturnConflict,
)
from core.db import Database
from core.errors import DomainError
from tests.billing.books import NOW, ask
from tests.billing.test_payments import (
    open_bills,
    pay,
    require_sound_books,
    states,
    target,
)
from tests.billing.test_provider_events import event, forget_all, say
from tests.world import World

__all__ = ["open_bills", "target"]  # fixtures

STATE = "SELECT state FROM shuidian.payments"


async def refund(database: Database, world: World, amount: int, key: str) -> None:
    async with database.transaction() as session:
        await returns.refund_payment(
            session,
            number="P1001",
            amount_minor=amount,
            key=key,
            reason="overpaid",
            actor_id=world.manager,
            now=NOW,
        )


async def reverse(database: Database, world: World) -> None:
    async with database.transaction() as session:
        await provider_events.undo_payment(
            session, number="P1001", reason="typed twice", actor_id=world.manager, now=NOW
        )


async def decide(database: Database, person: int, *, has_come: bool) -> None:
    async with database.transaction() as session:
        await payments.decide_fate(
            session, number="P1001", has_come=has_come, actor_id=person, now=NOW
        )


class TestRefundPayment:
    async def test_gives_back_once_for_a_key_and_never_too_much(
        self, database: Database, open_bills: World, target: Target
    ) -> None:
        await pay(database, target, 6000, "a")
        for _ in range(2):
            await refund(database, open_bills, 347, "k1")

        assert (await states(database))["E1002"] == ("issued", 0)
        with pytest.raises(RefundTooLarge):
            await refund(database, open_bills, 5654, "k2")
        with pytest.raises(ReturnConflict):
            await refund(database, open_bills, 348, "k1")
        await refund(database, open_bills, 5653, "k3")

        assert await ask(database, STATE) == [("refunded",)]
        assert (await states(database))["E1001"] == ("issued", 0)
        await require_sound_books(database)

    async def test_refuses_where_no_money_came(
        self, database: Database, open_bills: World, target: Target
    ) -> None:
        await pay(database, target, 6000, "a", state=PaymentState.UNKNOWN)
        with pytest.raises(PaymentNotFound):
            await refund(database, open_bills, 1, "k")


class TestReversePayment:
    async def test_undoes_all_of_it_once(
        self, database: Database, open_bills: World, target: Target
    ) -> None:
        await pay(database, target, 6000, "a")
        await pay(database, target, 5306, "b")
        await reverse(database, open_bills)

        assert (await states(database))["E1001"] == ("issued", 5306)
        assert (await states(database))["E1002"] == ("issued", 0)
        with pytest.raises(AlreadyReversed):
            await reverse(database, open_bills)
        told = "SELECT params ->> 'what' FROM shuidian.deliveries WHERE kind = 'payment.returned'"
        assert await ask(database, told) == [("reversal",)]
        await require_sound_books(database)

    async def test_refuses_what_went_back_in_part(
        self, database: Database, open_bills: World, target: Target
    ) -> None:
        await pay(database, target, 6000, "a")
        await refund(database, open_bills, 1, "k")
        with pytest.raises(PartlyReturned):
            await reverse(database, open_bills)

    @pytest.mark.parametrize(
        ("provider", "why"), [("link", RefundAtProvider), (TELEGRAM, ConfirmedInChat)]
    )
    async def test_refuses_what_its_provider_confirmed(
        self,
        database: Database,
        open_bills: World,
        target: Target,
        provider: str,
        why: type[Exception],
    ) -> None:
        if provider == "link":
            await say(database, event(EventKind.SUCCEEDED))
        else:
            await pay(database, target, 5653, "a", provider=provider)
        with pytest.raises(why):
            await reverse(database, open_bills)

        assert (await states(database))["E1001"] == ("settled", 5653)
        await require_sound_books(database)

    async def test_takes_money_of_a_provider_off_the_bill_on_which_it_was_placed(
        self, database: Database, open_bills: World, target: Target
    ) -> None:
        await say(database, event(EventKind.SUCCEEDED, order="nobody"))
        async with database.transaction() as session:
            (item,) = (await suspense.list_exceptions(session, before=NOW)).items
            await suspense.assign(
                session,
                item_id=item.id,
                parts=[(target, 5653)],
                actor_id=open_bills.manager,
                now=NOW,
            )
        await reverse(database, open_bills)

        assert (await states(database))["E1001"] == ("issued", 0)
        assert await ask(database, "SELECT left_minor FROM shuidian.suspense_items") == [(5653,)]
        await require_sound_books(database)

    async def test_tells_why_and_is_contradicted_by_a_provider_that_says_it_came(
        self, database: Database, open_bills: World
    ) -> None:
        await say(database, event(EventKind.UNKNOWN))
        for person in (open_bills.manager, open_bills.second_manager):
            await decide(database, person, has_come=True)
        await reverse(database, open_bills)
        told = "SELECT params ->> 'reason' FROM shuidian.deliveries WHERE kind = 'payment.returned'"
        assert await ask(database, told) == [("typed twice",)]

        await say(database, event(EventKind.SUCCEEDED))

        async with database.transaction() as session:
            (waits,) = (await suspense.list_exceptions(session, before=NOW)).events
        assert (waits.kind, waits.problem) == (EventKind.SUCCEEDED, "payment.undone_at_desk")
        assert (await states(database))["E1001"] == ("issued", 0)
        await require_sound_books(database)


class TestDecideFate:
    async def test_counts_the_latest_word_of_each_person(
        self, database: Database, open_bills: World, target: Target
    ) -> None:
        first, second = open_bills.manager, open_bills.second_manager
        await pay(database, target, 5653, "a", state=PaymentState.UNKNOWN)
        await decide(database, first, has_come=True)
        await decide(database, second, has_come=False)
        assert await ask(database, STATE) == [("unknown",)]

        await decide(database, second, has_come=True)

        assert await ask(database, STATE) == [("succeeded",)]

    async def test_needs_two_people_who_agree(
        self, database: Database, open_bills: World, target: Target
    ) -> None:
        first, second = open_bills.manager, open_bills.second_manager
        await pay(database, target, 5653, "a", state=PaymentState.UNKNOWN)
        for person, has_come in ((first, True), (first, True), (second, False), (second, False)):
            await decide(database, person, has_come=has_come)
            assert await ask(database, STATE) == [("unknown",)]

        await decide(database, first, has_come=False)

        assert await ask(database, STATE) == [("failed",)]
        with pytest.raises(FateIsKnown):
            await decide(database, first, has_come=True)
        await pay(database, target, 5653, "a")  # the provider knows better
        assert (await states(database))["E1001"] == ("settled", 5653)
        await require_sound_books(database)

    async def test_takes_the_money_in_when_both_say_that_it_came(
        self, database: Database, open_bills: World, target: Target
    ) -> None:
        await pay(database, target, 5653, "a", state=PaymentState.PENDING)
        await decide(database, open_bills.manager, has_come=True)
        await decide(database, open_bills.second_manager, has_come=True)

        assert (await states(database))["E1001"] == ("settled", 5653)
        await require_sound_books(database)


class TestRemindOfSuspense:
    async def test_tells_managers_of_what_waited_a_day_once_a_day(
        self, database: Database, open_bills: World, target: Target
    ) -> None:
        await pay(database, target, 5653, "a", state=PaymentState.UNKNOWN)
        told = "SELECT contact_id FROM shuidian.deliveries WHERE kind = 'suspense.waiting'"
        for hours, count in ((23, 0), (25, 1), (26, 1), (50, 2)):
            async with database.transaction() as session:
                await suspense.remind_of_suspense(session, now=NOW + timedelta(hours=hours))
            found = await ask(database, told)
            assert len([each for each in found if each == (open_bills.manager_contact,)]) == count


class TestAnySequence:
    @settings(
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        st.lists(
            st.one_of(
                st.sampled_from([PaymentState.PENDING, PaymentState.UNKNOWN, PaymentState.FAILED]),
                st.just(PaymentState.SUCCEEDED),
                st.tuples(st.just("refund"), st.integers(1, 6000)),
                st.just("reverse"),
                st.tuples(st.sampled_from(["first", "second"]), st.booleans()),
            ),
            max_size=8,
        )
    )
    async def test_moves_a_payment_only_along_the_table(
        self, database: Database, open_bills: World, target: Target, steps: list[Any]
    ) -> None:
        """A model of one payment beside it: where it stands, and how much of it is left."""
        await forget_all(database)
        was: PaymentState | None = None
        for position, step in enumerate(steps):
            try:
                if isinstance(step, PaymentState):
                    await pay(database, target, 6000, "a", state=step)
                elif step == "reverse":
                    await reverse(database, open_bills)
                elif step[0] == "refund":
                    await refund(database, open_bills, step[1], f"key {position}")
                else:
                    people = {"first": open_bills.manager, "second": open_bills.second_manager}
                    await decide(database, people[step[0]], has_come=step[1])
            except DomainError:
                pass  # a refusal changes nothing, which is looked at next
            found = await ask(database, f"{STATE} WHERE reference = 'a'")
            state = PaymentState(str(found[0][0])) if found else None
            if was is not None and state is not was:
                assert state in MOVES[was]
            if was in CAME:
                assert state in CAME
            was = state
            await require_sound_books(database)

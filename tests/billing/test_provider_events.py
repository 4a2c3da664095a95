"""The final books depend only on the set of what a provider said; its own book is the oracle."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from core.billing import provider_events, suspense
from core.billing.models import EventKind, Payment, PaymentState
from core.billing.payment_states import MOVES, SaidEvent, fit_refunds, weigh_events
from core.billing.payments import Target, find_target_by_bill
from core.billing.provider_events import NewEvent
from core.db import Database
from tests.billing.books import NOW, ask
from tests.billing.test_payments import (
    forget_money,
    open_bills,
    require_sound_books,
    states,
    target,
)
from tests.world import World

__all__ = ["open_bills", "target"]  # fixtures

K = EventKind
PROBLEMS = "SELECT problem FROM shuidian.provider_events ORDER BY id"


def event(kind: EventKind, payment: str = "pi_1", **changes: Any) -> NewEvent:
    values: dict[str, Any] = {
        "provider": "link",
        "event_id": f"{payment} {kind} {changes.get('item', '')} {changes.get('amount_minor', '')}",
        "kind": kind,
        "reference": payment,
        "order": "E1001-0a1b2c3d",
        "item": "",
        "amount_minor": 5653,
        "currency": "CNY",
        "at": NOW,
        "body": "{}",
    }
    return NewEvent(**{**values, **changes})


async def say(database: Database, *events: NewEvent) -> None:
    for each in events:
        async with database.transaction() as session:
            await provider_events.take_event(session, each, now=NOW)


async def payment_of(database: Database, reference: str = "pi_1") -> Payment:
    async with database.transaction() as session:
        found = await session.scalars(select(Payment).where(Payment.reference == reference))
        return found.one()


@pytest.mark.usefixtures("open_bills")
class TestReceiveEvent:
    async def test_takes_a_payment_once_however_often_it_is_said(self, database: Database) -> None:
        came = event(K.SUCCEEDED)
        await say(database, came, came, event(K.SUCCEEDED, event_id="again"))

        assert (await states(database))["E1001"] == ("settled", 5653)
        assert len(await ask(database, "SELECT id FROM shuidian.payments")) == 1
        assert len(await ask(database, "SELECT id FROM shuidian.provider_events")) == 2
        await require_sound_books(database)

    async def test_opens_the_bill_again_and_tells_people_when_money_goes_back(
        self, database: Database, open_bills: World
    ) -> None:
        await say(database, event(K.SUCCEEDED), event(K.REFUNDED, amount_minor=2000))

        payment = await payment_of(database)
        assert (payment.state, payment.kept_minor) == (PaymentState.SUCCEEDED, 3653)
        assert (await states(database))["E1001"] == ("issued", 3653)
        assert await ask(
            database,
            "SELECT contact_id FROM shuidian.deliveries WHERE kind = 'payment.returned'",
        ) == [(open_bills.home.holder_contact,)]

        await say(database, event(K.REFUNDED, amount_minor=5653))

        payment = await payment_of(database)
        assert (payment.state, payment.refunded_minor) == (PaymentState.REFUNDED, 5653)
        assert (await states(database))["E1001"] == ("issued", 0)
        await require_sound_books(database)

    async def test_waits_with_a_refund_until_the_payment_is_heard_of(
        self, database: Database
    ) -> None:
        await say(database, event(K.REFUNDED, amount_minor=100))
        assert await ask(database, PROBLEMS) == [("payment.not_heard_of",)]

        await say(database, event(K.SUCCEEDED))

        assert await ask(database, PROBLEMS) == [(None,), (None,)]
        assert (await payment_of(database)).refunded_minor == 100
        await require_sound_books(database)

    async def test_never_gives_back_more_than_came(self, database: Database) -> None:
        await say(database, event(K.SUCCEEDED), event(K.REFUNDED, amount_minor=5654))

        assert (await payment_of(database)).refunded_minor == 0
        async with database.transaction() as session:
            waiting = await suspense.list_exceptions(session, before=NOW)
        assert [(each.kind, each.problem) for each in waiting.events] == [
            (K.REFUNDED, "payment.refund_too_large")
        ]
        await require_sound_books(database)

    async def test_books_good_refunds_beside_one_that_cannot_be(self, database: Database) -> None:
        await say(database, event(K.SUCCEEDED))
        for item, amount in (("re_1", 5000), ("re_2", 9_000_000), ("re_3", 1000)):
            await say(database, event(K.REFUNDED, item=item, amount_minor=amount))

        assert (await payment_of(database)).refunded_minor == 1000
        wrong = "SELECT item FROM shuidian.provider_events WHERE problem IS NOT NULL ORDER BY id"
        assert await ask(database, wrong) == [("re_1",), ("re_2",)]
        await require_sound_books(database)

    async def test_books_what_the_bank_took_after_a_refund_and_has_it_claimed(
        self, database: Database
    ) -> None:
        await say(database, event(K.SUCCEEDED), event(K.REFUNDED, item="re_1"))
        await say(database, event(K.CHARGED_BACK, item="dp_1", amount_minor=653))

        payment = await payment_of(database)
        assert (payment.state, payment.kept_minor) == (PaymentState.CHARGED_BACK, -653)
        assert (await states(database))["E1001"] == ("issued", 0)
        assert await ask(database, PROBLEMS) == [(None,), (None,), ("payment.returned_twice",)]
        await require_sound_books(database)

        await say(database, event(K.REINSTATED, item="dp_1", amount_minor=653))

        assert (await payment_of(database)).state is PaymentState.REFUNDED
        assert await ask(database, PROBLEMS) == [(None,)] * 4
        await require_sound_books(database)

    async def test_tells_of_each_return_what_went_back_by_it(self, database: Database) -> None:
        await say(database, event(K.SUCCEEDED), event(K.REFUNDED, amount_minor=1000))
        await say(database, event(K.CHARGED_BACK, item="dp_1", amount_minor=4653))

        assert await ask(
            database,
            "SELECT params ->> 'what', params ->> 'returned_minor' FROM shuidian.deliveries"
            " WHERE kind = 'payment.returned' ORDER BY id",
        ) == [("refund", "1000"), ("chargeback", "4653")]

    @pytest.mark.parametrize(
        "change", [{"amount_minor": 653}, {"order": "E1003-1"}, {"order": "X"}, {"currency": "USD"}]
    )
    async def test_lets_a_second_amount_or_bill_for_the_same_payment_wait(
        self, database: Database, change: dict[str, Any]
    ) -> None:
        other = {"event_id": "again", "at": NOW - timedelta(minutes=1), **change}
        await say(database, event(K.SUCCEEDED), event(K.SUCCEEDED, **other))

        assert (await states(database))["E1001"] == ("settled", 5653)
        async with database.transaction() as session:
            waiting = await suspense.list_exceptions(session, before=NOW)
        assert [(each.event_id, each.problem) for each in waiting.events] == [
            ("again", "payment.conflict")
        ]
        await require_sound_books(database)

    async def test_lets_a_second_amount_for_money_in_suspense_wait(
        self, database: Database
    ) -> None:
        nobodys = {"order": "X-1"}
        await say(database, event(K.SUCCEEDED, **nobodys))
        await say(database, event(K.SUCCEEDED, amount_minor=653, **nobodys))
        await say(database, event(K.SUCCEEDED, event_id="ours"))

        assert await ask(database, PROBLEMS) == [(None,), *[("payment.conflict",)] * 2]
        assert await ask(database, "SELECT id FROM shuidian.payments") == []
        await require_sound_books(database)

    async def test_takes_what_came_though_something_else_was_begun(
        self, database: Database
    ) -> None:
        begun = event(K.PENDING, amount_minor=100, order="E1003-1")
        await say(database, begun, event(K.SUCCEEDED))

        assert (await states(database))["E1001"] == ("settled", 5653)
        assert await ask(database, PROBLEMS) == [(None,), (None,)]
        await require_sound_books(database)

    async def test_puts_into_suspense_what_was_begun_for_a_bill_of_ours(
        self, database: Database
    ) -> None:
        await say(database, event(K.PENDING), event(K.SUCCEEDED, order="X-1"))

        assert (await payment_of(database)).state is PaymentState.FAILED
        async with database.transaction() as session:
            (item,) = (await suspense.list_exceptions(session, before=NOW)).items
        assert item.left_minor == 5653
        await require_sound_books(database)

    async def test_follows_a_dispute_there_and_back(self, database: Database) -> None:
        taken = event(K.CHARGED_BACK, item="dp_1")
        await say(database, event(K.SUCCEEDED), taken)
        assert (await payment_of(database)).state is PaymentState.CHARGED_BACK
        assert (await states(database))["E1001"] == ("issued", 0)

        await say(database, event(K.REINSTATED, item="dp_1"), taken)

        assert (await payment_of(database)).state is PaymentState.SUCCEEDED
        assert (await states(database))["E1001"] == ("settled", 5653)
        await require_sound_books(database)

    @pytest.mark.parametrize("change", [{"order": "E9999-1"}, {"order": ""}, {"currency": "USD"}])
    async def test_puts_money_without_a_bill_of_ours_into_suspense(
        self, database: Database, change: dict[str, str]
    ) -> None:
        await say(database, event(K.SUCCEEDED, **change), event(K.REFUNDED, amount_minor=653))

        async with database.transaction() as session:
            (item,) = (await suspense.list_exceptions(session, before=NOW)).items
        reason = "currency" if "currency" in change else "order_not_ours"
        assert (item.left_minor, item.reason) == (5000, reason)
        assert await ask(database, "SELECT id FROM shuidian.payments") == []
        await require_sound_books(database)

    async def test_lets_nobody_place_foreign_money_at_par(self, database: Database) -> None:
        await say(database, event(K.SUCCEEDED, currency="USD"))

        async with database.transaction() as session:
            (item,) = (await suspense.list_exceptions(session, before=NOW)).items
            target = await find_target_by_bill(session, number="E1001")
            with pytest.raises(suspense.MoneyIsForeign):
                await suspense.assign(
                    session, item_id=item.id, parts=[(target, 1000)], actor_id=None, now=NOW
                )

    async def test_keeps_what_was_said_for_ever(self, database: Database) -> None:
        await say(database, event(K.SUCCEEDED))
        with pytest.raises(DBAPIError, match="append-only"):
            await ask(database, "DELETE FROM shuidian.provider_events")


_FATES = {K.PENDING, K.UNKNOWN, K.FAILED, K.SUCCEEDED}


@st.composite
def histories(draw: st.DrawFn) -> list[NewEvent]:
    """Draw what a provider says of some payments: banks take back what is gone, refunds are odd."""
    said = []
    for number in range(draw(st.integers(1, 3))):
        name, amount = f"pi_{number}", draw(st.integers(1, 9000))
        order = draw(st.sampled_from(["E1001-1", "E1003-2", "X9-3"]))
        more: dict[str, Any] = {"payment": name, "order": order}
        at = NOW + timedelta(minutes=draw(st.integers(0, 5)))
        fate = draw(st.sampled_from([K.PENDING, K.UNKNOWN, K.FAILED, K.SUCCEEDED, K.SUCCEEDED]))
        early = draw(st.sets(st.sampled_from([K.PENDING, K.UNKNOWN])))
        said += [event(kind, amount_minor=amount, at=at, **more) for kind in {*early, fate}]
        if fate is not K.SUCCEEDED:
            continue
        given = 0
        for step in range(draw(st.integers(0, 3))):
            kind = draw(st.sampled_from(["sum", "refund", "dispute", "won"]))
            part = draw(st.integers(1, amount))
            if kind == "sum" and given + part <= amount:
                given += part
                said.append(event(K.REFUNDED, amount_minor=given, at=at, **more))
            elif kind == "refund":
                much = draw(st.sampled_from([part, part + amount]))
                named = {"item": f"re_{step}", "amount_minor": much, "at": at, **more}
                said.append(event(K.REFUNDED, **named))
            elif kind != "sum":
                more_of = {"item": f"dp_{step}", "amount_minor": part, "at": at, **more}
                said += [event(K.CHARGED_BACK, **more_of)]
                said += [event(K.REINSTATED, **more_of)] * (kind == "won")
    return said


async def dump(database: Database) -> dict[str, Any]:
    """Return all that the books hold; references stand for numbers, which go by arrival."""
    entries = await ask(
        database,
        "SELECT coalesce(p.reference, s.reference, t.reference), t.kind, e.account, e.agreement_id,"
        " sum(e.amount_minor)::bigint FROM shuidian.ledger_transactions t"
        " JOIN shuidian.ledger_entries e ON e.transaction_id = t.id"
        " LEFT JOIN shuidian.payments p ON p.number = split_part(t.reference, ':', -1)"
        " LEFT JOIN shuidian.suspense_items s"
        "   ON t.kind IN ('suspense', 'returned') AND s.id::text = split_part(t.reference, ':', -1)"
        " GROUP BY 1, 2, 3, 4 HAVING sum(e.amount_minor) <> 0 ORDER BY 1, 2, 3, 4",
    )
    return {
        "entries": entries,
        "bills": await ask(
            database, "SELECT number, state, settled_at FROM shuidian.bills ORDER BY number"
        ),
        "allocations": await ask(
            database,
            "SELECT p.reference, b.number, a.amount_minor FROM shuidian.allocations a"
            " JOIN shuidian.payments p ON p.id = a.payment_id"
            " JOIN shuidian.bills b ON b.id = a.bill_id ORDER BY 1, 2",
        ),
        "payments": await ask(
            database,
            "SELECT reference, agreement_id, bill_id, amount_minor, refunded_minor,"
            " charged_back_minor, state, received_at FROM shuidian.payments ORDER BY 1",
        ),
        "suspense": await ask(
            database,
            "SELECT reference, amount_minor, left_minor, returned_minor, reason, received_at"
            " FROM shuidian.suspense_items ORDER BY 1",
        ),
        "events": await ask(
            database,
            "SELECT event_id, kind, amount_minor, problem FROM shuidian.provider_events ORDER BY 1",
        ),
    }


async def forget_all(database: Database) -> None:
    await forget_money(database)
    async with database.transaction() as session:
        for statement in (
            "SET LOCAL session_replication_role = replica",
            "DELETE FROM shuidian.provider_events",
            "DELETE FROM shuidian.suspense_items",
            """DELETE FROM shuidian.ledger_entries WHERE transaction_id IN (
                SELECT id FROM shuidian.ledger_transactions WHERE kind <> 'bill')""",
            "DELETE FROM shuidian.ledger_transactions WHERE kind <> 'bill'",
            "UPDATE shuidian.bills SET settled_at = NULL WHERE state = 'issued'",
        ):
            await session.execute(text(statement))


class TestAnyOrder:
    @settings(
        max_examples=12,
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes here
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(said=histories(), chaos=st.randoms(use_true_random=False))
    async def test_of_the_same_events_gives_the_same_books(
        self, database: Database, target: Target, said: list[NewEvent], chaos: Any
    ) -> None:
        outcomes = []
        for is_shuffled in (False, True, True):
            await forget_all(database)
            heard = list(said)
            if is_shuffled:
                heard += chaos.choices(said, k=len(said))
                chaos.shuffle(heard)
            await say(database, *heard)
            await require_sound_books(database)
            outcomes.append(await dump(database))
        assert outcomes[1] == outcomes[0]
        assert outcomes[2] == outcomes[0]
        # What the provider holds for us by its own book is what ours have in cash.
        held: Counter[str] = Counter()
        for each in said:
            held[each.reference] += each.amount_minor * (each.kind in {K.SUCCEEDED, K.REINSTATED})
            held[each.reference] -= each.amount_minor * (each.kind is K.CHARGED_BACK)
        for name in held:
            came = max(e.amount_minor for e in said if e.reference == name and e.kind in _FATES)
            ours = [e for e in said if e.reference == name]
            held[name] -= fit_refunds(ours, came_minor=came)[0]
            if ours[0].order == "X9-3":  # of money that waits no more is given back than waits
                held[name] = max(held[name], 0)
        cash = await ask(
            database,
            "SELECT coalesce(sum(amount_minor), 0)::bigint FROM shuidian.ledger_entries"
            " WHERE account = 'cash'",
        )
        assert cash == [(sum(held.values()),)]
        assert target is not None


class TestWeighEvents:
    @given(
        st.lists(
            st.builds(
                SaidEvent,
                kind=st.sampled_from(EventKind),
                order=st.just("W1-1"),
                item=st.sampled_from(["", "a", "b"]),
                amount_minor=st.integers(1, 5),
                currency=st.just("CNY"),
                at=st.just(NOW),
            ),
            max_size=8,
        ),
        st.randoms(use_true_random=False),
    )
    def test_does_not_ask_for_the_order(self, events: list[SaidEvent], chaos: Any) -> None:
        heard = events + chaos.choices(events, k=3) if events else []
        chaos.shuffle(heard)
        assert weigh_events(heard).told == weigh_events(events).told
        assert fit_refunds(heard, came_minor=9) == fit_refunds(events, came_minor=9)
        assert fit_refunds(heard, came_minor=9)[0] <= 9

    def test_never_unsays_money_that_came(self) -> None:
        for state, moves in MOVES.items():
            if state in {PaymentState.REFUNDED, PaymentState.CHARGED_BACK, PaymentState.SUCCEEDED}:
                assert not moves & {
                    PaymentState.PENDING,
                    PaymentState.UNKNOWN,
                    PaymentState.FAILED,
                }

"""The books balance whoever writes to them, and nothing in them is ever rewritten."""

from collections.abc import Sequence

import pytest
from psycopg.errors import UniqueViolation
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core.accounts.models import Service
from core.billing import bills, ledger
from core.billing.ledger import AlreadyReversed, Entry, Posting, TransactionNotFound
from core.billing.models import LedgerAccount
from core.db import Database
from core.numbers import take_numbers
from tests.billing.books import NOW, SEPTEMBER, ask, load_shipped, run_bills, show
from tests.world import World


def sale(agreement: int, amount: int, *, credited: int | None = None) -> Sequence[Entry]:
    return (
        Entry(
            account=LedgerAccount.RECEIVABLE,
            agreement_id=agreement,
            amount_minor=amount,
            currency="CNY",
        ),
        Entry(
            account=LedgerAccount.REVENUE,
            amount_minor=-(amount if credited is None else credited),
            currency="CNY",
        ),
    )


async def post(database: Database, agreement: int, reference: str, amount: int) -> bool:
    async with database.transaction() as session:
        return await ledger.post(
            session, kind="bill", reference=reference, entries=sale(agreement, amount), at=NOW
        )


class TestPost:
    async def test_posts_a_reference_once_for_ever(self, database: Database, world: World) -> None:
        agreement = world.home.agreements[Service.WATER]

        assert await post(database, agreement, "bill:W1", 100)
        assert not await post(database, agreement, "bill:W1", 100)
        assert not await post(database, agreement, "bill:W1", 999)

        async with database.transaction() as session:
            assert await ledger.balance_of(session, agreement_id=agreement) == 100

    @pytest.mark.parametrize("credited", [99, -100])
    async def test_cannot_leave_the_books_unbalanced(
        self, database: Database, world: World, credited: int
    ) -> None:
        entries = sale(world.home.agreements[Service.WATER], 100, credited=credited)

        with pytest.raises(DBAPIError, match="does not balance"):
            async with database.transaction() as session:
                await ledger.post(session, kind="x", reference="x", entries=entries, at=NOW)

        assert await ask(database, "SELECT * FROM shuidian.ledger_transactions") == []


class TestPostNew:
    """Many at once, whose references nobody can have posted."""

    @staticmethod
    async def post(database: Database, entries: Sequence[Entry]) -> None:
        async with database.transaction() as session:
            await ledger.post_new(session, postings=[Posting("bill", "bill:W1", entries)], at=NOW)

    async def test_posts_as_one_by_one_does(self, database: Database, world: World) -> None:
        agreement = world.home.agreements[Service.WATER]
        await self.post(database, sale(agreement, 100))
        await post(database, agreement, "bill:W2", 100)

        first, second = await ask(
            database,
            "SELECT t.at, t.kind, array_agg((account, agreement_id, currency, amount_minor)::text)"
            " FROM shuidian.ledger_entries JOIN shuidian.ledger_transactions t"
            " ON t.id = transaction_id GROUP BY t.id ORDER BY t.id",
        )
        assert first == second

    async def test_refuses_a_reference_that_was_posted_all_the_same(
        self, database: Database, world: World
    ) -> None:
        agreement = world.home.agreements[Service.WATER]
        await post(database, agreement, "bill:W1", 100)

        with pytest.raises(UniqueViolation):
            await self.post(database, sale(agreement, 100))

    async def test_cannot_leave_the_books_unbalanced(
        self, database: Database, world: World
    ) -> None:
        entries = sale(world.home.agreements[Service.WATER], 100, credited=99)

        with pytest.raises(DBAPIError, match="does not balance"):
            await self.post(database, entries)


class TestEntriesOf:
    async def test_shows_each_movement_with_the_balance_after_it(
        self, database: Database, world: World
    ) -> None:
        agreement = world.home.agreements[Service.WATER]
        await post(database, agreement, "bill:W1", 100)
        await post(database, agreement, "bill:W2", 50)
        await post(database, world.home.agreements[Service.ELECTRICITY], "bill:E1", 7)

        async with database.transaction() as session:
            lines = await ledger.entries_of(session, agreement_id=agreement)

        assert [(line.reference, line.amount_minor, line.balance_minor) for line in lines] == [
            ("bill:W1", 100, 100),
            ("bill:W2", 50, 150),
        ]


class TestReverse:
    async def test_posts_the_opposite_once(self, database: Database, world: World) -> None:
        agreement = world.home.agreements[Service.WATER]
        await post(database, agreement, "bill:W1", 100)

        async with database.transaction() as session:
            await ledger.reverse(session, reference="bill:W1", at=NOW)
        with pytest.raises(AlreadyReversed):
            async with database.transaction() as session:
                await ledger.reverse(session, reference="bill:W1", at=NOW)

        async with database.transaction() as session:
            assert await ledger.balance_of(session, agreement_id=agreement) == 0
            assert len(await ledger.entries_of(session, agreement_id=agreement)) == 2

    async def test_refuses_what_was_never_posted(self, database: Database) -> None:
        with pytest.raises(TransactionNotFound):
            async with database.transaction() as session:
                await ledger.reverse(session, reference="bill:W1", at=NOW)


ATTACKS = {
    "one entry": """
        WITH t AS (INSERT INTO shuidian.ledger_transactions (at, kind, reference)
                   VALUES (now(), 'x', 'attack') RETURNING id)
        INSERT INTO shuidian.ledger_entries (transaction_id, account, currency, amount_minor)
        SELECT id, 'cash', 'CNY', 5 FROM t""",
    "no entries": "INSERT INTO shuidian.ledger_transactions (at, kind, reference)"
    " VALUES (now(), 'x', 'attack')",
    "zero only across currencies": """
        WITH t AS (INSERT INTO shuidian.ledger_transactions (at, kind, reference)
                   VALUES (now(), 'x', 'attack') RETURNING id)
        INSERT INTO shuidian.ledger_entries (transaction_id, account, currency, amount_minor)
        SELECT id, 'cash', c, a FROM t, (VALUES ('CNY', 5), ('USD', -5)) AS v (c, a)""",
    "a third entry later": """
        INSERT INTO shuidian.ledger_entries (transaction_id, account, currency, amount_minor)
        SELECT id, 'cash', 'CNY', 5 FROM shuidian.ledger_transactions""",
    "a zero entry": """
        INSERT INTO shuidian.ledger_entries (transaction_id, account, currency, amount_minor)
        SELECT id, 'cash', 'CNY', 0 FROM shuidian.ledger_transactions""",
    "a receivable of nobody": """
        INSERT INTO shuidian.ledger_entries (transaction_id, account, currency, amount_minor)
        SELECT id, a, 'CNY', v FROM shuidian.ledger_transactions,
               (VALUES ('receivable', 5), ('cash', -5)) AS w (a, v)""",
    "update": "UPDATE shuidian.ledger_entries SET amount_minor = amount_minor * 2",
    "delete": "DELETE FROM shuidian.ledger_entries",
    "truncate": "TRUNCATE shuidian.ledger_entries, shuidian.ledger_transactions CASCADE",
    "truncate entries": "TRUNCATE shuidian.ledger_entries",
    "update transaction": "UPDATE shuidian.ledger_transactions SET reference = 'other'",
    "delete transaction": "DELETE FROM shuidian.ledger_transactions",
}


class TestTheDatabase:
    @pytest.mark.parametrize("attack", ATTACKS)
    async def test_refuses_to_unbalance_or_rewrite(
        self, database: Database, world: World, attack: str
    ) -> None:
        await post(database, world.home.agreements[Service.WATER], "bill:W1", 100)
        everything = "SELECT * FROM shuidian.ledger_entries ORDER BY id"
        before = await ask(database, everything)

        with pytest.raises(DBAPIError, match=r"balance|append-only|violates check"):
            async with database.transaction() as session:
                await session.execute(text(ATTACKS[attack]))

        assert await ask(database, everything) == before


class TestBillsOfARun:
    async def test_are_posted_in_the_order_of_their_numbers(
        self, database: Database, world: World
    ) -> None:
        await load_shipped(database)
        for home in (world.home, world.neighbour):
            meter = home.meters[Service.ELECTRICITY]
            await show(database, meter, {SEPTEMBER.starts: "0", SEPTEMBER.ends: "90000"})
        async with database.transaction() as session:
            await take_numbers(session, prefix="E", first=9998)
        assert (await run_bills(database, Service.ELECTRICITY, SEPTEMBER)).held == 2

        async with database.transaction() as session:
            # The first bill's row now lies behind the second's, and rows come as they lie.
            await session.execute(text("UPDATE shuidian.bills SET inputs = inputs WHERE id = 1"))
            await session.execute(text("SET LOCAL enable_indexscan = off"))
            await session.execute(text("SET LOCAL enable_bitmapscan = off"))
            await bills.make_due(session, bill_ids=[1, 2], now=NOW)

        references = "SELECT reference FROM shuidian.ledger_transactions ORDER BY id"
        assert await ask(database, references) == [("bill:E9999",), ("bill:E10000",)]

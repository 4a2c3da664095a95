"""The auditor finds what the database would never let in: each break goes past its guards."""

import pytest
from sqlalchemy import text

from core.billing.audit_checks import list_violations
from core.billing.payments import Target
from core.db import Database
from tests.billing.test_payments import open_bills, pay, target

__all__ = ["open_bills", "target"]  # fixtures

BREAKS = {
    "UPDATE shuidian.ledger_entries SET amount_minor = amount_minor + 1 WHERE id = 1": (
        "every transaction has two entries or more and sums to zero",
        "what an agreement owes is its bills less its payments",
    ),
    "UPDATE shuidian.payments SET amount_minor = amount_minor + 1": (
        "what an agreement owes is its bills less its payments",
        "money that came in is in the books once, and no other",
        "nobody has credit and an open bill at once",
    ),
    "DELETE FROM shuidian.bills WHERE number = 'E1003'": (
        "what an agreement owes is its bills less its payments",
        "the bills of an agreement follow each other without a gap",
        "numbers have no gaps",
    ),
    "UPDATE shuidian.bills SET inputs ="
    " jsonb_set(inputs, '{readings,0,opening,value}', '\"1\"') WHERE number = 'E1003'": (
        "a bill opens where the one before closed",
    ),
    "UPDATE shuidian.bills SET consumption = 1 WHERE number = 'E1003'": (
        "a bill's parts add up to its consumption",
    ),
    "UPDATE shuidian.bills SET state = 'held' WHERE number = 'E1003'": (
        "what an agreement owes is its bills less its payments",
        "a held bill is not due, not posted and not told",
    ),
    "UPDATE shuidian.allocations SET amount_minor = 9000 WHERE bill_id = 1": (
        "a payment is put to bills once at most",
        "a bill takes its total at most, and is settled exactly then",
    ),
    "UPDATE shuidian.payments SET state = 'refunded'": (
        "a payment's state is what came and went back of it",
    ),
    "UPDATE shuidian.ledger_entries SET account = 'suspense' WHERE account = 'cash'": (
        "all that lies in suspense is on the list of what waits",
    ),
    "UPDATE shuidian.payments SET refunded_minor = 6000, state = 'refunded'": (
        "what an agreement owes is its bills less its payments",
        "what went back of a payment is in the books, and never more than came",
        "a payment is put to bills once at most",
    ),
    'INSERT INTO shuidian.provider_events (provider, event_id, kind, reference, "order", item,'
    " amount_minor, currency, at, body, received_at)"
    " VALUES ('link', 'e', 'succeeded', 'p', 'E1001-1', '', 1, 'CNY', now(), '{}', now())": (
        "what a provider confirmed was credited or lies in suspense",
    ),
    "UPDATE shuidian.bills SET state = 'issued' WHERE number = 'E1001'": (
        "a bill takes its total at most, and is settled exactly then",
    ),
}


@pytest.mark.parametrize("breaking", BREAKS)
async def test_list_violations_finds_each_break(
    database: Database, target: Target, breaking: str
) -> None:
    await pay(database, target, 6000, "a")
    async with database.transaction() as session:
        assert await list_violations(session) == []

    async with database.transaction() as session:
        await session.execute(text("SET LOCAL session_replication_role = replica"))
        await session.execute(text(breaking))

    async with database.transaction() as session:
        found = {violation.promise for violation in await list_violations(session)}
    assert found == set(BREAKS[breaking])

"""The auditor finds what the database would never let in: each break goes past its guards."""

import pytest
from sqlalchemy import text

from core.billing.audit_checks import list_violations
from core.billing.corrections import credit_bill
from core.billing.payments import Target
from core.db import Database
from tests.billing.books import NOW
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
        "a bill's use is what its registers went, less what was billed ahead",
    ),
    "UPDATE shuidian.bills SET consumption = 1 WHERE number = 'E1003'": (
        "a bill's parts add up to its consumption",
        "a bill's use is what its registers went, less what was billed ahead",
    ),
    "UPDATE shuidian.bills SET state = 'held' WHERE number = 'E1003'": (
        "what an agreement owes is its bills less its payments",
        "a held bill is not due, not posted and not told",
        "a held bill has nothing that follows from being seen",
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
    "UPDATE shuidian.bill_lines SET amount = amount + 1 WHERE bill_id = 2": (
        "a bill's total is its lines, rounded once",
    ),
    "UPDATE shuidian.bills SET credited_minor = 1 WHERE number = 'E1002'": (
        "what an agreement owes is its bills less its payments",
        "a bill is credited with its credit notes",
    ),
    "INSERT INTO shuidian.credit_notes (number, bill_id, kind, currency, amount_minor, reason, at)"
    " VALUES ('C1002', 2, 'correction', 'CNY', 5, 'x', '2026-11-03')": (
        "a bill is credited with its credit notes",
        "a credit note is in the books, against its bill",
        "numbers have no gaps",
    ),
    "UPDATE shuidian.ledger_transactions SET corrects_id = NULL WHERE kind = 'credit_note'": (
        "a credit note is in the books, against its bill",
    ),
    "UPDATE shuidian.ledger_entries SET amount_minor = sign(amount_minor) * 99999"
    " WHERE transaction_id IN (SELECT id FROM shuidian.ledger_transactions"
    " WHERE kind = 'credit_note')": (
        "what an agreement owes is its bills less its payments",
        "a credit note is in the books, against its bill",
        "no more is taken off a transaction than it posted",
    ),
    "UPDATE shuidian.bills SET inputs = jsonb_set(inputs, '{since}', '\"2025-01-01\"')"
    " WHERE number = 'E1002'": (
        "no use is billed past the limit unless somebody said why, or it was taken off",
    ),
    "UPDATE shuidian.bills SET replaces_id = 1 WHERE number = 'E1003'": (
        "a bill made again stands in the place of a void one",
    ),
    "UPDATE shuidian.bills SET agreement_id = 1, starts_date = starts_date - 5"
    " WHERE number = 'E1003';"
    "UPDATE shuidian.agreements SET service_point_id = 2, ends_date = '2027-01-01'"
    " WHERE id = 1": (
        "what an agreement owes is its bills less its payments",
        "a credit note is in the books, against its bill",
        "the bills of an agreement follow each other without a gap",
        "the bills of one service point never overlap, whoever held it",
    ),
    "INSERT INTO shuidian.disputes (number, agreement_id, bill_id, ground, words, person_id,"
    " opened_at, promised_date, state, answered_at)"
    " VALUES ('D1001', 2, 2, 'other', '', 1, '2026-01-01', '2026-01-08', 'declined',"
    " '2026-01-02')": ("an objection is answered by somebody, in words",),
    "INSERT INTO shuidian.disputes (number, agreement_id, bill_id, ground, words, person_id,"
    " opened_at, promised_date, state) VALUES ('D1001', 2, 2, 'other', '', 1, '2026-01-01',"
    " '2026-01-08', 'open');"
    "INSERT INTO shuidian.series VALUES ('D', 1001);"
    "INSERT INTO shuidian.dunning_steps (agreement_id, bill_id, kind, round, at, owed_minor,"
    " dedupe_key) VALUES (2, 2, 'reminder', 0, '2026-01-05', 1, 'x')": (
        "no step is taken for a bill while an objection to it is open",
    ),
    "INSERT INTO shuidian.payment_plans (number, agreement_id, currency, debt_minor, person_id,"
    " state, opened_at, paused_at, looked_on)"
    " VALUES ('A1001', 2, 'CNY', 5, 1, 'asked', '2026-01-01', '2026-01-01', '2026-01-01');"
    "INSERT INTO shuidian.plan_bills VALUES (1, 2);"
    "INSERT INTO shuidian.dunning_steps (agreement_id, bill_id, kind, round, at, owed_minor,"
    " dedupe_key) VALUES (2, 2, 'reminder', 0, '2026-01-05', 1, 'x')": (
        "a plan's parts add up to its debt",
        "nobody is dunned for a bill while it is paid in parts",
    ),
}


@pytest.mark.parametrize("breaking", BREAKS)
async def test_list_violations_finds_each_break(
    database: Database, target: Target, breaking: str
) -> None:
    await pay(database, target, 6000, "a")
    async with database.transaction() as session:
        await credit_bill(
            session, number="E1003", amount_minor=5, reason="x", actor_id=None, now=NOW
        )
    async with database.transaction() as session:
        assert await list_violations(session) == []

    async with database.transaction() as session:
        await session.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in breaking.split(";"):
            await session.execute(text(statement))

    async with database.transaction() as session:
        found = {violation.promise for violation in await list_violations(session)}
    assert found == set(BREAKS[breaking])

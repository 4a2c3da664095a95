"""The auditor of the books: one query per promise, each of which must find nothing."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.billing import correction_checks
from core.db import SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A promise that the books break: which, and by what."""

    promise: str
    subject: str


_CAME = "('succeeded', 'refunded', 'charged_back')"
_PROMISES = {
    "every transaction has two entries or more and sums to zero": """
        SELECT t.reference FROM {schema}.ledger_transactions t
          LEFT JOIN {schema}.ledger_entries e ON e.transaction_id = t.id
         GROUP BY t.id, e.currency HAVING count(e.id) < 2 OR sum(e.amount_minor) <> 0""",
    "a reversal is the opposite of its original": """
        SELECT r.reference FROM {schema}.ledger_transactions r
          JOIN {schema}.ledger_entries e ON e.transaction_id IN (r.id, r.reverses_id)
         WHERE r.reverses_id IS NOT NULL
         GROUP BY r.id, e.account, e.agreement_id, e.currency HAVING sum(e.amount_minor) <> 0""",
    "what an agreement owes is its bills less its payments": """
        SELECT CAST(a.id AS text) FROM {schema}.agreements a
         WHERE (SELECT coalesce(sum(amount_minor), 0) FROM {schema}.ledger_entries
                 WHERE agreement_id = a.id)
            <> (SELECT coalesce(sum(total_minor - credited_minor), 0) FROM {schema}.bills
                 WHERE agreement_id = a.id AND state IN ('issued', 'settled'))
             - (SELECT coalesce(sum(kept_minor), 0) FROM {schema}.payments
                 WHERE agreement_id = a.id AND state IN {came})""",
    "money that came in is in the books once, and no other": """
        SELECT p.number FROM {schema}.payments p
          LEFT JOIN {schema}.ledger_transactions t ON t.reference = 'payment:' || p.number
          LEFT JOIN {schema}.ledger_entries e
                 ON e.transaction_id = t.id AND e.account IN ('cash', 'suspense')
         GROUP BY p.id
        HAVING coalesce(sum(e.amount_minor), 0)
            <> CASE WHEN p.state IN {came} THEN p.amount_minor ELSE 0 END""",
    "what went back of a payment is in the books, and never more than came": """
        SELECT p.number FROM {schema}.payments p LEFT JOIN (
               SELECT split_part(t.reference, ':', -1) AS number, sum(e.amount_minor) AS minor
                 FROM {schema}.ledger_transactions t
                 JOIN {schema}.ledger_entries e
                   ON e.transaction_id = t.id AND e.account = 'receivable'
                WHERE t.kind IN ('refund', 'chargeback', 'reinstated')
                   OR t.reference LIKE 'reverse:payment:%'
                GROUP BY 1) back USING (number)
         WHERE p.refunded_minor + p.charged_back_minor <> coalesce(back.minor, 0)""",
    "a payment's state is what came and went back of it": """
        SELECT number FROM {schema}.payments
         WHERE state <> CASE WHEN state NOT IN {came} THEN state
                             WHEN charged_back_minor > 0 THEN 'charged_back'
                             WHEN refunded_minor = amount_minor THEN 'refunded'
                             ELSE 'succeeded' END
            OR state NOT IN {came} AND kept_minor <> amount_minor""",
    "what a provider confirmed was credited or lies in suspense": """
        SELECT DISTINCT v.provider || ' ' || v.reference FROM {schema}.provider_events v
         WHERE v.kind = 'succeeded' AND v.problem IS NULL
           AND NOT EXISTS (SELECT FROM {schema}.payments p
                            WHERE p.provider = v.provider AND p.reference = v.reference
                              AND p.amount_minor = v.amount_minor AND p.state IN {came})
           AND NOT EXISTS (SELECT FROM {schema}.suspense_items s
                            WHERE s.provider = v.provider AND s.reference = v.reference
                              AND s.amount_minor = v.amount_minor)""",
    "all that lies in suspense is on the list of what waits": """
        SELECT currency FROM (
            SELECT currency, -amount_minor AS minor FROM {schema}.ledger_entries
             WHERE account = 'suspense'
            UNION ALL SELECT currency, -left_minor FROM {schema}.suspense_items) s
         GROUP BY currency HAVING sum(minor) <> 0""",
    "the bills of an agreement follow each other without a gap": """
        SELECT number FROM (
            SELECT number, starts_date, lag(ends_date) OVER (
                       PARTITION BY agreement_id ORDER BY starts_date) AS before
              FROM {schema}.bills WHERE state <> 'void') b
         WHERE before <> starts_date""",
    "a bill opens where the one before closed": """
        SELECT later.number FROM {schema}.bills later
          JOIN {schema}.bills earlier ON earlier.agreement_id = later.agreement_id
               AND earlier.ends_date = later.starts_date AND earlier.state <> 'void'
         CROSS JOIN jsonb_array_elements(later.inputs -> 'readings') opened
         CROSS JOIN jsonb_array_elements(earlier.inputs -> 'readings') closed
         WHERE later.state <> 'void' AND opened -> 'meter_id' = closed -> 'meter_id'
           AND opened -> 'register' = closed -> 'register'
           AND opened -> 'opening' <> closed -> 'closing'""",
    "a bill's parts add up to its consumption": """
        SELECT b.number FROM {schema}.bills b
         CROSS JOIN jsonb_array_elements(b.inputs -> 'parts') part
         CROSS JOIN jsonb_each_text(part -> 'quantities') q
         GROUP BY b.id HAVING sum(CAST(q.value AS numeric)) <> b.consumption""",
    "a held bill is not due, not posted and not told": """
        SELECT number FROM {schema}.bills
         WHERE state = 'held' AND (due_date IS NOT NULL
            OR EXISTS (SELECT FROM {schema}.ledger_transactions WHERE reference = 'bill:' || number)
            OR EXISTS (SELECT FROM {schema}.deliveries WHERE dedupe_key = 'bill:' || number))""",
    "a payment is put to bills once at most": """
        SELECT p.number FROM {schema}.payments p JOIN {schema}.allocations a ON a.payment_id = p.id
         GROUP BY p.id HAVING sum(a.amount_minor) > p.kept_minor OR p.state NOT IN {came}""",
    "a bill takes its total at most, and is settled exactly then": """
        SELECT b.number FROM {schema}.bills b
          LEFT JOIN {schema}.allocations a ON a.bill_id = b.id
         GROUP BY b.id
        HAVING coalesce(sum(a.amount_minor), 0) > greatest(b.total_minor - b.credited_minor, 0)
            OR (b.state IN ('issued', 'settled') AND (b.state = 'settled')
                <> (coalesce(sum(a.amount_minor), 0) = b.total_minor - b.credited_minor))
            OR (b.state IN ('held', 'void') AND count(a.payment_id) > 0)""",
    "nobody has credit and an open bill at once": """
        SELECT CAST(p.agreement_id AS text) FROM {schema}.payments p
          LEFT JOIN {schema}.allocations a ON a.payment_id = p.id
         WHERE p.state IN {came} AND EXISTS (
               SELECT FROM {schema}.bills WHERE agreement_id = p.agreement_id AND state = 'issued')
         GROUP BY p.id HAVING coalesce(sum(a.amount_minor), 0) < p.kept_minor""",
    "a plan's parts add up to its debt": """
        SELECT l.number FROM {schema}.payment_plans l
          LEFT JOIN {schema}.plan_parts p ON p.plan_id = l.id
         GROUP BY l.id HAVING coalesce(sum(p.amount_minor), 0) <> l.debt_minor""",
    "nobody is dunned for a bill while it is paid in parts": """
        SELECT l.number FROM {schema}.payment_plans l
          JOIN {schema}.plan_bills b ON b.plan_id = l.id
          JOIN {schema}.dunning_steps s ON s.bill_id = b.bill_id
         WHERE s.at > l.paused_at AND (l.ended_at IS NULL OR s.at < l.ended_at)""",
    "numbers have no gaps": """
        SELECT s.prefix FROM {schema}.series s JOIN (
               SELECT left(number, 1) AS prefix, number FROM {schema}.bills
               UNION ALL SELECT left(number, 1), number FROM {schema}.payments
               UNION ALL SELECT left(number, 1), number FROM {schema}.credit_notes
               UNION ALL SELECT left(number, 1), number FROM {schema}.payment_plans
               UNION ALL SELECT left(number, 1), number FROM {schema}.disputes) n USING (prefix)
         GROUP BY s.prefix
        HAVING s.latest <> max(CAST(substr(n.number, 2) AS bigint))
            OR count(*) <> s.latest - min(CAST(substr(n.number, 2) AS bigint)) + 1""",
}


async def list_violations(session: AsyncSession) -> list[Violation]:
    """Return every broken promise of the books; empty when all is well."""
    found = []
    for promise, query in {**_PROMISES, **correction_checks.PROMISES}.items():
        subjects = await session.scalars(text(query.format(schema=SCHEMA, came=_CAME)))
        found += [Violation(promise=promise, subject=subject) for subject in subjects]
    return found

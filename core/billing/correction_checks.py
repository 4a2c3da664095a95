"""What the auditor asks of bills and their corrections; each query must find nothing."""

from collections.abc import Mapping
from typing import Final

PROMISES: Final[Mapping[str, str]] = {
    "the bills of one service point never overlap, whoever held it": """
        SELECT later.number FROM {schema}.bills later
          JOIN {schema}.agreements mine ON mine.id = later.agreement_id
          JOIN {schema}.agreements theirs ON theirs.service_point_id = mine.service_point_id
               AND theirs.id < mine.id
          JOIN {schema}.bills earlier ON earlier.agreement_id = theirs.id
               AND earlier.state <> 'void' AND earlier.starts_date < later.ends_date
               AND later.starts_date < earlier.ends_date
         WHERE later.state <> 'void'""",
    "a bill's use is what its registers went, less what was billed ahead": """
        SELECT number FROM (
            SELECT b.number, b.consumption, b.inputs,
                   sum(CAST(r ->> 'multiplier' AS numeric)) AS cut_off_at_most,
                   sum(CAST(r ->> 'multiplier' AS numeric) * CASE
                       WHEN r #>> '{{opening,source}}' = 'estimate' AND went * 2 > capacity
                            THEN went - capacity
                       WHEN r #>> '{{opening,source}}' = 'estimate' AND went * 2 < -capacity
                            THEN went + capacity
                       WHEN r #>> '{{opening,source}}' <> 'estimate' AND went < 0
                            THEN went + capacity
                       ELSE went END) AS moved
              FROM {schema}.bills b
             CROSS JOIN jsonb_array_elements(b.inputs -> 'readings') r
             CROSS JOIN LATERAL (SELECT
                   CAST(r #>> '{{closing,value}}' AS numeric)
                       - CAST(r #>> '{{opening,value}}' AS numeric) AS went,
                   power(CAST(10 AS numeric), CAST(r ->> 'digits' AS int)) AS capacity) s
             WHERE b.state <> 'void' GROUP BY b.id) w
         WHERE abs(moved - consumption
               - (SELECT coalesce(sum(CAST(value AS numeric)), 0)
                    FROM jsonb_each_text(inputs -> 'was_ahead'))
               + (SELECT coalesce(sum(CAST(value AS numeric)), 0)
                    FROM jsonb_each_text(inputs -> 'ahead'))) > cut_off_at_most""",
    "a bill's total is its lines, rounded once": """
        SELECT b.number FROM {schema}.bills b
          JOIN {schema}.bill_lines l ON l.bill_id = b.id
         GROUP BY b.id
        HAVING abs(sum(l.amount) - b.total_minor
             / CASE WHEN b.currency IN ('JPY', 'TWD') THEN 1.0 ELSE 100 END) >= 1""",
    "a held bill has nothing that follows from being seen": """
        SELECT b.number FROM {schema}.bills b
         WHERE b.state = 'held' AND (b.credited_minor > 0
            OR EXISTS (SELECT FROM {schema}.dunning_steps WHERE bill_id = b.id)
            OR EXISTS (SELECT FROM {schema}.allocations WHERE bill_id = b.id)
            OR EXISTS (SELECT FROM {schema}.disputes WHERE bill_id = b.id))""",
    "no use is billed past the limit unless somebody said why, or it was taken off": """
        SELECT b.number FROM {schema}.bills b
         WHERE b.state IN ('issued', 'settled') AND b.waived_by_id IS NULL
           AND b.replaces_id IS NULL AND b.total_minor > 0
           AND coalesce(CAST(b.inputs ->> 'since' AS date), b.starts_date) < b.billable_from
           AND NOT EXISTS (SELECT FROM {schema}.credit_notes
                            WHERE bill_id = b.id AND kind = 'old_use')""",
    "a bill is credited with its credit notes": """
        SELECT b.number FROM {schema}.bills b
          LEFT JOIN {schema}.credit_notes c ON c.bill_id = b.id
         GROUP BY b.id HAVING b.credited_minor <> coalesce(sum(c.amount_minor), 0)""",
    "a credit note is in the books, against its bill": """
        SELECT c.number FROM {schema}.credit_notes c
          JOIN {schema}.bills b ON b.id = c.bill_id
          LEFT JOIN {schema}.ledger_transactions t ON t.reference = 'credit:' || c.number
          LEFT JOIN {schema}.ledger_transactions o ON o.id = t.corrects_id
          LEFT JOIN {schema}.ledger_entries e ON e.transaction_id = t.id
               AND e.account = 'receivable' AND e.agreement_id = b.agreement_id
         WHERE e.amount_minor IS DISTINCT FROM -c.amount_minor
            OR o.reference IS DISTINCT FROM 'bill:' || b.number""",
    "no more is taken off a transaction than it posted": """
        SELECT o.reference FROM {schema}.ledger_transactions o
          JOIN {schema}.ledger_transactions t ON t.corrects_id = o.id
          JOIN {schema}.ledger_entries e ON e.transaction_id IN (o.id, t.id)
               AND e.account = 'receivable'
         GROUP BY o.id
        HAVING sum(DISTINCT CASE WHEN e.transaction_id = o.id THEN e.amount_minor ELSE 0 END)
             + sum(CASE WHEN e.transaction_id = t.id THEN e.amount_minor ELSE 0 END) < 0""",
    "a bill made again stands in the place of a void one": """
        SELECT b.number FROM {schema}.bills b JOIN {schema}.bills old ON old.id = b.replaces_id
         WHERE old.state <> 'void' OR old.agreement_id <> b.agreement_id""",
    "no step is taken for a bill while an objection to it is open": """
        SELECT d.number FROM {schema}.disputes d
         WHERE EXISTS (
               SELECT FROM {schema}.dunning_steps s WHERE s.bill_id = d.bill_id
                  AND s.at > d.opened_at AND s.at < coalesce(d.answered_at, 'infinity'))
            OR EXISTS (
               SELECT FROM {schema}.supply_orders o
                WHERE o.wanted = 'cut' AND o.reason = 'arrears'
                  AND CAST(o.inputs ->> 'bill_id' AS bigint) = d.bill_id
                  AND o.sent_at > d.opened_at AND o.sent_at < coalesce(d.answered_at, 'infinity'))
               """,
    "an objection is answered by somebody, in words": """
        SELECT number FROM {schema}.disputes
         WHERE state IN ('upheld', 'declined')
           AND (answered_by_id IS NULL OR coalesce(answer, '') = '')""",
}

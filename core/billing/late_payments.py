"""Which payments came late, for agreements whose tariff charges for it. Only reads."""

from collections.abc import Sequence
from datetime import date
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.billing.late_fees import LatePayment
from core.db import SCHEMA
from core.money import Money
from core.monitoring.rows import arrays

# Never for a bill that was objected to or reached nobody by its day, nor for the days in which an
# agreed plan stopped its clocks; each payment to a bill is charged once, by whichever bill names it
# and still stands. What comes in the place of money that went back is charged from there on.
_LATE = text(
    f"""
    SELECT b.agreement_id, b.number, p.number AS payment, a.amount_minor, b.currency, b.due_date,
           lower(late.days) AS since, upper(late.days) AS paid
      FROM unnest(CAST(:ids AS bigint[]), CAST(:sinces AS date[])) AS w (agreement, since)
      JOIN {SCHEMA}.bills b ON b.agreement_id = w.agreement AND b.due_date >= w.since
           AND b.state IN ('issued', 'settled')
      JOIN {SCHEMA}.allocations a ON a.bill_id = b.id
      JOIN {SCHEMA}.payments p ON p.id = a.payment_id
     CROSS JOIN LATERAL (
           SELECT unnest(
                  datemultirange(daterange(
                      b.due_date, CAST(p.received_at AT TIME ZONE :zone AS date)))
                - coalesce(range_agg(f.days), '{{}}')) AS days
             FROM (SELECT daterange(CAST(q.paused_at AT TIME ZONE :zone AS date),
                                    CAST(q.ended_at AT TIME ZONE :zone AS date)) AS days
                     FROM {SCHEMA}.plan_bills l
                     JOIN {SCHEMA}.payment_plans q ON q.id = l.plan_id
                    WHERE l.bill_id = b.id AND q.agreed_at IS NOT NULL
                    UNION ALL
                   SELECT daterange(CAST(coalesce(l ->> 'since', l ->> 'due') AS date),
                                    CAST(l ->> 'paid' AS date))
                     FROM {SCHEMA}.bills x
                    CROSS JOIN jsonb_array_elements(coalesce(x.inputs -> 'late', '[]')) l
                     JOIN {SCHEMA}.payments q ON q.number = l ->> 'payment'
                    WHERE x.agreement_id = b.agreement_id AND x.state <> 'void'
                      AND l ->> 'bill' = b.number AND q.kept_minor < q.amount_minor) f) late
     WHERE CAST(p.received_at AT TIME ZONE :zone AS date) > b.due_date
       AND NOT EXISTS (SELECT FROM {SCHEMA}.disputes d WHERE d.bill_id = b.id)
       AND EXISTS (SELECT FROM {SCHEMA}.deliveries d WHERE d.dedupe_key = 'bill:' || b.number
               AND CAST(d.sent_at AT TIME ZONE :zone AS date) <= b.due_date)
       AND NOT EXISTS (
           SELECT FROM {SCHEMA}.bills x
            CROSS JOIN jsonb_array_elements(coalesce(x.inputs -> 'late', '[]')) l
            WHERE x.agreement_id = b.agreement_id AND x.state <> 'void'
              AND l ->> 'bill' = b.number AND l ->> 'payment' = p.number)
     ORDER BY b.agreement_id, b.due_date, p.id, since
    """  # noqa: S608 (a constant)
)


async def read_late_payments(
    session: AsyncSession, *, wanted: Sequence[tuple[int, date]], zone: ZoneInfo
) -> dict[int, list[LatePayment]]:
    """Return the late payments of agreements to bills that were due on a day or later."""
    found: dict[int, list[LatePayment]] = {}
    if not wanted:
        return found
    for row in await session.execute(_LATE, {**arrays("ids sinces", wanted), "zone": zone.key}):
        found.setdefault(row.agreement_id, []).append(
            LatePayment(
                bill=row.number,
                payment=row.payment,
                amount=Money(row.amount_minor, row.currency).amount,
                due=row.due_date,
                since=row.since,
                paid=row.paid,
            )
        )
    return found

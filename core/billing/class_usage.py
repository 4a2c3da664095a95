"""What customers of a class use: the measure for somebody whose own past is not known."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Service
from core.db import SCHEMA

# Among fewer bills the hundredth part is no bill at all.
BILLS_MIN: Final = 100
YEAR: Final = timedelta(days=365)

_P99 = text(
    f"""
    SELECT p.customer_class, percentile_disc(0.99) WITHIN GROUP (
               ORDER BY b.consumption / (b.ends_date - b.starts_date)) AS per_day
      FROM {SCHEMA}.bills b
      JOIN {SCHEMA}.agreements a ON a.id = b.agreement_id
      JOIN {SCHEMA}.service_points p ON p.id = a.service_point_id
     WHERE b.state IN ('issued', 'settled') AND p.service = :service
       AND b.ends_date > :since AND b.ends_date <= :until
     GROUP BY p.customer_class HAVING count(*) >= :bills_min
    """  # noqa: S608 (a constant)
)


async def find_class_p99(
    session: AsyncSession, *, service: Service, until: date
) -> dict[str, Decimal]:
    """
    Return what only one bill in a hundred of each customer class exceeded in the year before.

    Units: m³ or kWh a day.
    """
    rows = await session.execute(
        _P99,
        {"service": service, "since": until - YEAR, "until": until, "bills_min": BILLS_MIN},
    )
    return {row.customer_class: row.per_day for row in rows}

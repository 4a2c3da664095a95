"""
Why this much: the difference between two bills, taken apart so that the parts add up exactly.

One thing at a time is changed from the earlier bill to the later one (days, household, place in
the year's tiers, prices, use), the bill computed anew each time; each part is one such step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.billing.bills import get_basis
from core.billing.calculation import Basis, compute_bill
from core.billing.models import Bill, BillState
from core.billing.queries import BillSummary, get_summary
from core.billing.tariff_model import version_on
from core.money import divide
from core.periods import Period

# A bill about a year earlier is the same season's if its end lies within these days.
_SAME_SEASON = timedelta(days=21)
_YEAR = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One cause of a difference: days, household, tiers, price or use. Units: minor units."""

    cause: str
    minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A bill against an earlier one; `parts` add up to the difference of their totals."""

    earlier: Bill
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A bill, the one before it and that of the same time a year ago, where there are such."""

    summary: BillSummary
    before: Comparison | None
    year_ago: Comparison | None


def take_apart(earlier: Basis, later: Basis) -> list[Part]:
    """Return by what the later bill differs from the earlier; causes of nothing are left out."""
    parts = []
    reached = compute_bill(earlier).total_minor
    for cause, basis in _steps(earlier, later):
        total = compute_bill(basis).total_minor
        if total != reached:
            parts.append(Part(cause=cause, minor=total - reached))
        reached = total
    return parts


def _steps(earlier: Basis, later: Basis) -> Iterator[tuple[str, Basis]]:
    """
    Yield the bases between two bills; whole months differ in days by their use only.

    Where each interval has its own price, use and price cannot be told apart.
    """
    earlier = replace(earlier, late=later.late)
    yield "late", earlier
    if earlier.intervals or later.intervals:
        yield "use", later
        return
    digits = version_on(earlier.versions, earlier.period.starts).quantity_digits
    old, days = earlier.period, later.period.days
    is_as_many_months = old.months == later.period.months
    basis = replace(
        earlier,
        # The earlier prices, as if they went on.
        versions=(*earlier.versions[:-1], replace(earlier.versions[-1], valid_to=None)),
        period=old if is_as_many_months else Period(old.starts, old.starts + timedelta(days=days)),
        quantities={
            register: divide(quantity * days, old.days, digits=digits)
            for register, quantity in earlier.quantities.items()
        },
    )
    yield "days", basis
    basis = replace(basis, people=later.people)
    yield "household", basis
    basis = replace(basis, used=later.used, customer_since=later.customer_since)
    if not any(version.seasons for version in basis.versions):
        # Where the year begins decides how far its tiers are filled; a season has other prices.
        basis = replace(basis, period=later.period)
    yield "tiers", basis
    yield (
        "price",
        replace(basis, versions=later.versions, period=later.period, attributes=later.attributes),
    )
    yield "use", later


async def explain_bill(session: AsyncSession, *, number: str, person_id: int | None) -> Explanation:
    """
    Return what changed against the bill before and against a year ago.

    Raises:
        BillNotFound: there is no such bill that this person may see.
    """
    summary = await get_summary(session, number=number, person_id=person_id)
    bill = summary.bill
    found = await session.scalars(
        select(Bill)
        .where(
            Bill.agreement_id == bill.agreement_id,
            Bill.state.in_([BillState.ISSUED, BillState.SETTLED]),
            Bill.ends_date <= bill.starts_date,
            Bill.ends_date >= bill.ends_date - _YEAR - _SAME_SEASON,
        )
        .order_by(Bill.ends_date)
    )
    earlier = found.all()
    a_year_ago = bill.ends_date - _YEAR
    same_season = [old for old in earlier if abs(old.ends_date - a_year_ago) <= _SAME_SEASON]
    later = await get_basis(session, inputs=bill.inputs)

    async def compared(old: Bill) -> Comparison:
        basis = await get_basis(session, inputs=old.inputs)
        return Comparison(earlier=old, parts=take_apart(basis, later))

    return Explanation(
        summary=summary,
        before=await compared(earlier[-1]) if earlier else None,
        year_ago=await compared(same_season[-1]) if same_season else None,
    )

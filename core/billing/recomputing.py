"""Bills computed again from what was kept with them: every line must come out as it is stored."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Role, Service
from core.accounts.service import list_staff
from core.billing.audit_checks import list_violations
from core.billing.bill_rows import lines_of
from core.billing.bills import get_basis
from core.billing.calculation import compute_bill
from core.billing.models import Bill, BillLine, TariffVersion
from core.billing.run_models import BillingRun
from core.errors import DomainError
from core.notices import service as notices

SAMPLE_MIN = 100
SAMPLE_SHARE = 100  # one bill in a hundred


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where a bill does not come out as it is stored: its total, a line, or the tariff's text."""

    number: str
    what: str
    stored: str
    computed: str


class NoSuchBill(DomainError):
    """An operator named a bill that does not exist."""

    code = "billing.no_such_bill"


async def list_differences(session: AsyncSession, *, numbers: Iterable[str]) -> list[Difference]:
    """
    Return where these bills, computed again from their inputs, differ from what is stored.

    Raises:
        NoSuchBill: one of them does not exist.
    """
    return [each for number in numbers for each in await _compare(session, number)]


async def _compare(session: AsyncSession, number: str) -> list[Difference]:
    bill = await session.scalar(
        select(Bill).where(Bill.number == number).execution_options(populate_existing=True)
    )
    if bill is None:
        raise NoSuchBill(number=number)
    lines = await session.scalars(
        select(BillLine)
        .where(BillLine.bill_id == bill.id)
        .order_by(BillLine.position)
        .execution_options(populate_existing=True)
    )
    stored = {"total": str(bill.total_minor), "currency": bill.currency}
    stored |= await _tariff_digests(session, bill)
    computed = {
        **stored,
        **{f"tariff {used['id']}": used["sha256"] for used in bill.inputs["tariff"]},
    }
    try:
        again = compute_bill(await get_basis(session, inputs=bill.inputs))
    except DomainError as refusal:
        return [
            Difference(number=number, what="total", stored=stored["total"], computed=str(refusal))
        ]
    expected = lines_of(again)
    computed |= {"total": str(again.total_minor), "currency": again.currency}
    computed |= {f"line {line['position']}": _written(line) for line in expected}
    stored |= {
        f"line {line.position}": _written({name: getattr(line, name) for name in _NAMES})
        for line in lines
    }
    return [
        Difference(
            number=number, what=what, stored=stored.get(what, "-"), computed=computed.get(what, "-")
        )
        for what in sorted(stored.keys() | computed.keys())
        if stored.get(what) != computed.get(what)
    ]


_NAMES = (
    "position",
    "kind",
    "component",
    "starts_date",
    "ends_date",
    "tier",
    "tier_from",
    "tier_to",
    "register",
    "quantity",
    "price",
    "amount",
)


def _written(line: dict[str, Any]) -> str:
    """Return a line as text, numbers with all their digits: 1.50 is not 1.5."""
    return " ".join(
        format(line[name], "f") if isinstance(line[name], Decimal) else str(line[name])
        for name in _NAMES
    )


async def _tariff_digests(session: AsyncSession, bill: Bill) -> dict[str, str]:
    """Return what the texts of the tariff versions that priced a bill come to now."""
    used = [each["id"] for each in bill.inputs["tariff"]]
    rows = await session.execute(
        select(TariffVersion.id, TariffVersion.content).where(TariffVersion.id.in_(used))
    )
    return {f"tariff {row.id}": sha256(row.content.encode()).hexdigest() for row in rows}


async def draw_sample(session: AsyncSession, *, day: date) -> Sequence[str]:
    """Return bills of the last run of each service: one in a hundred, others on other days."""
    numbers: list[str] = []
    for service in Service:
        run_id = await session.scalar(
            select(BillingRun.id)
            .where(BillingRun.service == service, BillingRun.finished_at.is_not(None))
            .order_by(BillingRun.starts_date.desc())
            .limit(1)
        )
        made = await session.scalar(select(func.count()).where(Bill.run_id == run_id)) or 0
        numbers += await session.scalars(
            select(Bill.number)
            .where(Bill.run_id == run_id)
            .order_by(func.hashtextextended(Bill.number, day.toordinal()))
            .limit(max(SAMPLE_MIN, made // SAMPLE_SHARE))
        )
    return numbers


async def find_faults(session: AsyncSession, *, now: datetime) -> list[str]:
    """Return all that is wrong with the books and with a sample of the bills, a line each."""
    broken = await list_violations(session)
    sample = await draw_sample(session, day=now.date())
    differing = await list_differences(session, numbers=sample)
    return [f"broken: {each.promise}: {each.subject}" for each in broken] + [
        difference_line(each) for each in differing
    ]


def difference_line(found: Difference) -> str:
    """Return a difference as whoever runs the service reads it."""
    return f"differs: {found.number} {found.what}: {found.stored} stored, {found.computed} computed"


async def audit_books(session: AsyncSession, *, now: datetime) -> None:
    """Look for faults every night, and tell managers how many there are."""
    faults = await find_faults(session, now=now)
    if faults:
        await notices.enqueue(
            session,
            person_ids=await list_staff(session, role=Role.MANAGER),
            kind="audit.faults",
            params={"count": len(faults), "first": faults[0]},
            dedupe_key=f"audit.faults:{now.date().isoformat()}",
            now=now,
        )

"""Bills: issued in chunks or held back, each told in the same transaction."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import AccountRight, Agreement, Service
from core.accounts.service import get_operator
from core.billing import ledger
from core.billing.back_billing import hold_old, oldest_billable
from core.billing.bill_rows import BILLS, LINES, bill_row, line_rows, numbered
from core.billing.calculation import Basis, ComputedBill, compute_bill
from core.billing.drafts import Draft, Skipped, draft_bills, hold_if_old
from core.billing.inputs import read_basis, read_ends
from core.billing.ledger import Posting
from core.billing.models import Bill, BillState, LedgerAccount, TariffVersion
from core.billing.run_models import BillingSkip
from core.billing.runs import get_scope
from core.billing.settlement import list_creditors, lock_agreements, settle
from core.billing.tariff_store import read_version
from core.db import SCHEMA
from core.errors import DomainError
from core.monitoring.estimates import keep_estimates
from core.monitoring.rows import copy_lines, is_among
from core.notices import service as notices
from core.numbers import take_numbers
from core.periods import local_day

# How long people have to pay; what the operator promises on every bill.
DAYS_TO_PAY = timedelta(days=15)
_NEXT_IDS = text(
    f"""
    SELECT nextval('{SCHEMA}.bills_id_seq') FROM generate_series(1, CAST(:count AS bigint))
    """  # noqa: S608 (a constant)
)
SERIES = {Service.WATER: "W", Service.ELECTRICITY: "E"}


class BillNotFound(DomainError):
    """There is no bill of this number that this person may see."""

    code = "billing.bill_not_found"


class DueBill(NamedTuple):
    """A bill that has to be paid from now on. Units: minor units."""

    number: str
    agreement_id: int
    total_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedChunk:
    """What became of a chunk; `skipped` counts reasons. Units: `total_minor` of what was issued."""

    issued: int
    held: int
    skipped: Mapping[str, int]
    total_minor: int


async def issue_bills(
    session: AsyncSession, *, run_id: int, agreement_ids: Sequence[int], now: datetime
) -> IssuedChunk:
    """
    Bill a chunk of agreements for a run's period: bills, lines, books and messages at once.

    Locks the agreements, so two workers with the same chunk issue every bill once. Whoever
    cannot be billed is kept with the reason. Bills that look wrong are held and told to nobody.
    """
    await lock_agreements(session, agreement_ids=agreement_ids)
    scope = await get_scope(session, run_id=run_id)
    found = await draft_bills(session, scope=scope, agreement_ids=agreement_ids)
    oldest = await oldest_billable(session, now=now)
    drafts = [hold_if_old(each, oldest) for each in found if isinstance(each, Draft)]
    skips = [each for each in found if isinstance(each, Skipped)]
    await _keep_skips(session, run_id, skips, drafts, now)
    guessed = {key: value for draft in drafts for key, value in draft.estimates.items()}
    await keep_estimates(session, guessed, now=now)
    issued_as = (now, await _due_date(session, now), oldest)
    await _store(session, run_id, SERIES[scope.service], drafts, issued_as)
    issued = [draft for draft in drafts if draft.held_reason is None]
    return IssuedChunk(
        issued=len(issued),
        held=len(drafts) - len(issued),
        skipped=Counter(skip.reason for skip in skips),
        total_minor=sum(draft.computed.total_minor for draft in issued),
    )


async def _keep_skips(
    session: AsyncSession,
    run_id: int,
    skips: Sequence[Skipped],
    drafts: Sequence[Draft],
    now: datetime,
) -> None:
    billed = [draft.agreement_id for draft in drafts]
    await session.execute(
        delete(BillingSkip)
        .where(is_among(BillingSkip.agreement_id, billed))
        .execution_options(synchronize_session=False)
    )
    if skips:
        added = insert(BillingSkip)
        await session.execute(
            added.on_conflict_do_update(
                index_elements=["run_id", "agreement_id"],
                set_={"reason": added.excluded.reason, "at": added.excluded.at},
            ),
            [
                {
                    "run_id": run_id,
                    "agreement_id": skip.agreement_id,
                    "reason": skip.reason,
                    "at": now,
                }
                for skip in skips
            ],
        )


async def _store(
    session: AsyncSession,
    run_id: int,
    prefix: str,
    drafts: Sequence[Draft],
    issued: tuple[datetime, date, date],
) -> None:
    """Write bills as they leave the house, held ones as held, and tell the others."""
    if not drafts:
        return
    numbers = await insert_bills(
        session, run_id=run_id, prefix=prefix, drafts=drafts, issued=issued
    )
    due = [
        DueBill(number, draft.agreement_id, draft.computed.total_minor, draft.computed.currency)
        for number, draft in zip(numbers, drafts, strict=True)
        if draft.held_reason is None
    ]
    await _announce(session, due, issued[0])


async def insert_bills(
    session: AsyncSession,
    *,
    run_id: int | None,
    prefix: str,
    drafts: Sequence[Draft],
    issued: tuple[datetime, date, date] | None = None,
    replaces_id: int | None = None,
) -> dict[str, int]:
    """
    Store drafts as bills with the next numbers and return their ids by them, in the same order.

    They are issued at the moment, with the due date and the first day whose use may be billed,
    that `issued` says; without it, and where there is a reason to hold one, nobody sees them yet.
    """
    ids = await session.scalars(_NEXT_IDS, {"count": len(drafts)})
    pairs = list(zip(ids, drafts, strict=True))
    lines = "".join([line_rows(draft.computed, bill_id=bill_id) for bill_id, draft in pairs])
    rows = [
        bill_row(draft, bill_id=bill_id, run_id=run_id, issued=issued, replaces_id=replaces_id)
        for bill_id, draft in pairs
    ]
    numbers = await take_numbers(session, prefix=prefix, count=len(drafts))
    await copy_lines(session, BILLS, iter([numbered(rows, numbers)]))
    if lines:
        await copy_lines(session, LINES, iter([lines]))
    return dict(zip(numbers, [bill_id for bill_id, _ in pairs], strict=True))


async def _due_date(session: AsyncSession, now: datetime) -> date:
    zone = ZoneInfo((await get_operator(session)).timezone)
    return local_day(now, zone=zone) + DAYS_TO_PAY


async def make_due(
    session: AsyncSession,
    *,
    bill_ids: Sequence[int],
    now: datetime,
    is_decided: bool = False,
    is_told: bool = True,
) -> list[int]:
    """
    Issue bills that are stored as held and return which: date, post, use credit, tell the people.

    One with use older than the limit stays held, unless what to do with it `is_decided`.
    """
    if not is_decided:
        bill_ids = await hold_old(session, bill_ids=bill_ids, now=now)
    issued = await session.execute(
        update(Bill)
        .where(Bill.id.in_(bill_ids), Bill.state == BillState.HELD)
        .values(
            state=BillState.ISSUED,
            issued_at=now,
            due_date=await _due_date(session, now),
            billable_from=await oldest_billable(session, now=now),
        )
        .returning(Bill.number, Bill.agreement_id, Bill.total_minor, Bill.currency)
        .execution_options(synchronize_session=False)
    )
    # The books tell them in their order, and E10000 comes after E9999.
    rows = sorted(issued, key=lambda row: (len(row.number), row.number))
    await _announce(session, [DueBill(*row) for row in rows], now, is_told=is_told)
    return list(bill_ids)


async def _announce(
    session: AsyncSession, due: Sequence[DueBill], now: datetime, *, is_told: bool = True
) -> None:
    """Post bills that became due, use the credit of their agreements and tell the people."""
    postings = [
        Posting(
            kind="bill",
            reference=f"bill:{bill.number}",
            entries=ledger.owed_against(
                LedgerAccount.REVENUE,
                agreement_id=bill.agreement_id,
                amount_minor=bill.total_minor,
                currency=bill.currency,
            ),
        )
        for bill in due
        if bill.total_minor
    ]
    await ledger.post_new(session, postings=postings, at=now)
    agreements = [bill.agreement_id for bill in due]
    credited = await list_creditors(session, agreement_ids=agreements)
    # Nothing is left to pay of a bill over nothing.
    credited |= {bill.agreement_id for bill in due if not bill.total_minor}
    if credited:
        await settle(session, agreement_ids=credited, now=now)
    people = await people_of(session, agreement_ids=agreements)
    await notices.enqueue_each(
        session,
        kind="bill.issued",
        messages=[
            notices.Message(
                person_ids=people[bill.agreement_id],
                params={"number": bill.number},
                dedupe_key=f"bill:{bill.number}",
            )
            for bill in due
            if is_told and bill.agreement_id in people
        ],
        now=now,
    )


async def people_of(session: AsyncSession, *, agreement_ids: Iterable[int]) -> dict[int, list[int]]:
    """Return the people with a right on each agreement's account."""
    people: dict[int, list[int]] = {}
    for agreement_id, person_id in await session.execute(
        select(Agreement.id, AccountRight.person_id)
        .join(AccountRight, AccountRight.account_id == Agreement.account_id)
        .where(is_among(Agreement.id, set(agreement_ids)))
        .order_by(Agreement.id, AccountRight.person_id)
    ):
        people.setdefault(agreement_id, []).append(person_id)
    return people


async def recompute(session: AsyncSession, *, number: str) -> ComputedBill:
    """
    Return a bill computed again from what was kept with it.

    Raises:
        BillNotFound: there is no such bill.
    """
    inputs = await session.scalar(select(Bill.inputs).where(Bill.number == number))
    if inputs is None:
        raise BillNotFound(number=number)
    return compute_bill(await get_basis(session, inputs=inputs))


async def get_basis(session: AsyncSession, *, inputs: Mapping[str, Any]) -> Basis:
    """Return what a stored bill was computed from, priced by the versions it was priced by."""
    ends = read_ends(inputs)
    rows = await session.scalars(
        select(TariffVersion).where(TariffVersion.id.in_(ends)).order_by(TariffVersion.valid_from)
    )
    versions = [replace(read_version(row), valid_to=ends[row.id]) for row in rows]
    return read_basis(inputs, versions=versions)

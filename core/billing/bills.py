"""Bills: issued in chunks or held back, each told in the same transaction."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import AccountRight, Agreement, Service
from core.accounts.service import get_operator
from core.billing import ledger
from core.billing.back_billing import OLD, hold_old, oldest_billable
from core.billing.calculation import Basis, ComputedBill, compute_bill
from core.billing.drafts import Draft, Skipped, draft_bills
from core.billing.inputs import read_basis, read_ends
from core.billing.ledger import Posting
from core.billing.models import (
    Bill,
    BillingSkip,
    BillLine,
    BillState,
    LedgerAccount,
    TariffVersion,
)
from core.billing.runs import finish_if_tried, get_scope
from core.billing.settlement import lock_agreements, settle
from core.billing.tariff_store import read_version
from core.errors import DomainError
from core.monitoring.estimates import keep_estimates
from core.notices import service as notices
from core.numbers import take_numbers
from core.periods import local_day

# How long people have to pay; what the operator promises on every bill.
DAYS_TO_PAY = timedelta(days=15)
SERIES = {Service.WATER: "W", Service.ELECTRICITY: "E"}


class BillNotFound(DomainError):
    """There is no bill of this number that this person may see."""

    code = "billing.bill_not_found"


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
    The last chunk finishes the run.
    """
    await lock_agreements(session, agreement_ids=agreement_ids)
    scope = await get_scope(session, run_id=run_id)
    found = await draft_bills(session, scope=scope, agreement_ids=agreement_ids)
    oldest = await oldest_billable(session, now=now)
    drafts = [_hold_old(each, oldest) for each in found if isinstance(each, Draft)]
    skips = [each for each in found if isinstance(each, Skipped)]
    await _keep_skips(session, run_id, skips, drafts, now)
    guessed = {key: value for draft in drafts for key, value in draft.estimates.items()}
    await keep_estimates(session, guessed, now=now)
    issued = [draft for draft in drafts if draft.held_reason is None]
    if drafts:
        numbers = await take_numbers(session, prefix=SERIES[scope.service], count=len(drafts))
        bill_ids = await insert_bills(
            session, run_id=run_id, drafts=dict(zip(numbers, drafts, strict=True))
        )
        due = [bill_ids[n] for n, draft in zip(numbers, drafts, strict=True) if draft in issued]
        await make_due(session, bill_ids=due, now=now)
    await finish_if_tried(session, run_id=run_id, now=now)
    return IssuedChunk(
        issued=len(issued),
        held=len(drafts) - len(issued),
        skipped=Counter(skip.reason for skip in skips),
        total_minor=sum(draft.computed.total_minor for draft in issued),
    )


def _hold_old(draft: Draft, oldest: date) -> Draft:
    is_old = draft.held_reason is None and draft.since < oldest
    return replace(draft, held_reason=OLD) if is_old else draft


async def _keep_skips(
    session: AsyncSession,
    run_id: int,
    skips: Sequence[Skipped],
    drafts: Sequence[Draft],
    now: datetime,
) -> None:
    await session.execute(
        delete(BillingSkip).where(
            BillingSkip.agreement_id.in_([draft.agreement_id for draft in drafts])
        )
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


async def insert_bills(
    session: AsyncSession,
    *,
    run_id: int | None,
    drafts: Mapping[str, Draft],
    replaces_id: int | None = None,
) -> dict[str, int]:
    """Store drafts under their numbers as bills that nobody sees yet; return their ids."""
    rows = await session.execute(
        insert(Bill).returning(Bill.number, Bill.id),
        [
            {
                "number": number,
                "agreement_id": draft.agreement_id,
                "run_id": run_id,
                "tariff_version_id": draft.tariff_version_id,
                "starts_date": draft.period.starts,
                "ends_date": draft.period.ends,
                "consumption": draft.consumption,
                "currency": draft.computed.currency,
                "total_minor": draft.computed.total_minor,
                "state": BillState.HELD,
                "held_reason": draft.held_reason,
                "inputs": draft.inputs,
                "replaces_id": replaces_id,
            }
            for number, draft in drafts.items()
        ],
    )
    ids = {row.number: row.id for row in rows}
    lines = [
        {"bill_id": ids[number], **line}
        for number, draft in drafts.items()
        for line in lines_of(draft.computed)
    ]
    if lines:
        await session.execute(insert(BillLine), lines)
    return ids


def lines_of(computed: ComputedBill) -> list[dict[str, Any]]:
    """Return a computed bill's lines as they are stored."""
    lines = [(part.period, line) for part in computed.parts for line in part.lines]
    return [
        {
            "position": position,
            "kind": line.kind.value,
            "component": line.code,
            "starts_date": period.starts,
            "ends_date": period.ends,
            "tier": line.tier,
            "tier_from": line.tier_from,
            "tier_to": line.tier_to,
            "register": line.register,
            "quantity": line.quantity,
            "price": line.unit_price,
            "amount": line.amount,
        }
        for position, (period, line) in enumerate(lines, 1)
    ]


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
    zone = ZoneInfo((await get_operator(session)).timezone)
    issued = (
        await session.execute(
            update(Bill)
            .where(Bill.id.in_(bill_ids), Bill.state == BillState.HELD)
            .values(
                state=BillState.ISSUED,
                issued_at=now,
                due_date=local_day(now, zone=zone) + DAYS_TO_PAY,
            )
            .returning(Bill.number, Bill.agreement_id, Bill.total_minor, Bill.currency)
            .execution_options(synchronize_session=False)
        )
    ).all()
    # The books tell them in their order, and E10000 comes after E9999.
    rows = sorted(issued, key=lambda row: (len(row.number), row.number))
    postings = [
        Posting(
            kind="bill",
            reference=f"bill:{row.number}",
            entries=ledger.owed_against(
                LedgerAccount.REVENUE,
                agreement_id=row.agreement_id,
                amount_minor=row.total_minor,
                currency=row.currency,
            ),
        )
        for row in rows
        if row.total_minor
    ]
    await ledger.post_all(session, postings=postings, at=now)
    agreements = {row.agreement_id for row in rows}
    await settle(session, agreement_ids=agreements, now=now)
    people = await people_of(session, agreement_ids=agreements)
    await notices.enqueue_each(
        session,
        kind="bill.issued",
        messages=[
            notices.Message(
                person_ids=people.get(row.agreement_id, ()),
                params={"number": row.number},
                dedupe_key=f"bill:{row.number}",
            )
            for row in rows
            if is_told
        ],
        now=now,
    )
    return list(bill_ids)


async def people_of(session: AsyncSession, *, agreement_ids: Iterable[int]) -> dict[int, list[int]]:
    """Return the people with a right on each agreement's account."""
    people: dict[int, list[int]] = {}
    for agreement_id, person_id in await session.execute(
        select(Agreement.id, AccountRight.person_id)
        .join(AccountRight, AccountRight.account_id == Agreement.account_id)
        .where(Agreement.id.in_(sorted(set(agreement_ids))))
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

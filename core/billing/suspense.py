"""Money that cannot be placed: it lies in suspense, with the reason, until a person places it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts import service as accounts
from core.accounts.models import Account, Agreement, Role
from core.billing import ledger
from core.billing.ledger import Entry
from core.billing.models import (
    Allocation,
    Bill,
    BillState,
    LedgerAccount,
    Payment,
    ProviderEvent,
    SuspenseItem,
)
from core.billing.payment_states import CAME, OPEN
from core.billing.payments import RecordedPayment, Target, record_payment
from core.db import lock_for_transaction
from core.errors import DomainError
from core.money import Money
from core.notices import service as notices

SHOWN_MAX = 200
CANDIDATES_MAX = 5
CLEARED_WITHIN = timedelta(hours=24)


class NotInSuspense(DomainError):
    """No money waits under this number."""

    code = "suspense.not_found"


class MoneyIsForeign(DomainError):
    """Accounts are kept in the operator's currency; other money pays no bill at par."""

    code = "suspense.money_is_foreign"


class PartsDoNotFit(DomainError):
    """The parts are more than waits, or one of them is nothing."""

    code = "suspense.parts_do_not_fit"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A bill that the money may be for, and why: evidence to look at, not a score."""

    why: str
    bill: str
    account: str
    holder: str
    left_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exceptions:
    """What waits for a person: money, payments of unknown fate, events that could not be used."""

    items: Sequence[SuspenseItem]
    unknown: Sequence[Payment]
    events: Sequence[ProviderEvent]

    def __len__(self) -> int:
        return len(self.items) + len(self.unknown) + len(self.events)


async def place_in_suspense(
    session: AsyncSession,
    *,
    provider: str,
    reference: str,
    amount_minor: int,
    currency: str,
    payer: str,
    words: str,
    reason: str,
    received_at: datetime,
    now: datetime,
) -> int | None:
    """Take in money that cannot be placed and return its number, unless it came in before."""
    await lock_for_transaction(session, f"payment:{provider}:{reference}")
    if await find_known(session, provider=provider, reference=reference) is not None:
        return None
    item = SuspenseItem(
        provider=provider,
        reference=reference,
        amount_minor=amount_minor,
        left_minor=amount_minor,
        currency=currency,
        payer=payer,
        words=words,
        reason=reason,
        received_at=received_at,
        at=now,
    )
    session.add(item)
    await session.flush()
    entries = _entries(amount_minor, currency)
    reference = f"suspense:{item.id}"
    await ledger.post(session, kind="suspense", reference=reference, entries=entries, at=now)
    return item.id


def _entries(amount_minor: int, currency: str) -> tuple[Entry, Entry]:
    cash = Entry(account=LedgerAccount.CASH, amount_minor=amount_minor, currency=currency)
    kept = Entry(account=LedgerAccount.SUSPENSE, amount_minor=-amount_minor, currency=currency)
    return cash, kept


async def find_known(session: AsyncSession, *, provider: str, reference: str) -> int | None:
    """Return how much came in under this reference before, placed or not. Units: minor units."""
    known: int | None = await session.scalar(
        select(SuspenseItem.amount_minor)
        .where(SuspenseItem.provider == provider, SuspenseItem.reference == reference)
        .union_all(
            select(Payment.amount_minor).where(
                Payment.provider == provider,
                Payment.reference == reference,
                Payment.state.in_(CAME),
            )
        )
        .limit(1)
    )
    return known


async def get_item(session: AsyncSession, *, item_id: int) -> SuspenseItem:
    """
    Return money that waits, locked.

    Raises:
        NotInSuspense: there is none, or all of it is placed.
    """
    item = await session.scalar(
        select(SuspenseItem)
        .where(SuspenseItem.id == item_id, SuspenseItem.left_minor > 0)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if item is None:
        raise NotInSuspense(number=item_id)
    return item


async def assign(
    session: AsyncSession,
    *,
    item_id: int,
    parts: Sequence[tuple[Target, int]],
    actor_id: int | None,
    now: datetime,
) -> list[RecordedPayment]:
    """
    Place money that waits, wholly or in parts; what is left over waits on.

    Raises:
        NotInSuspense: it does not wait.
        PartsDoNotFit: the parts are more than waits, or one is nothing.
        MoneyIsForeign: it is another currency than the operator's.
    """
    item = await get_item(session, item_id=item_id)
    own = (await accounts.get_operator(session)).currency
    if item.currency != own:
        raise MoneyIsForeign(currency=item.currency, own=own)
    if not parts or any(amount <= 0 for _, amount in parts) or _sum(parts) > item.left_minor:
        raise PartsDoNotFit(left=Money(item.left_minor, item.currency))
    placed = []
    for target, amount in parts:
        item.payments += 1
        recorded = await record_payment(
            session,
            provider=item.provider,
            reference=f"{item.reference}/{item.payments}",
            target=target,
            amount_minor=amount,
            currency=item.currency,
            received_at=item.received_at,
            now=now,
            source=LedgerAccount.SUSPENSE,
        )
        placed.append(recorded)
    item.left_minor -= _sum(parts)
    audit.record(
        session,
        at=now,
        actor_id=actor_id,
        action="suspense.assigned",
        subject=f"suspense:{item.id}",
        payments=[payment.number for payment in placed],
    )
    await session.flush()
    return placed


def _sum(parts: Sequence[tuple[Target, int]]) -> int:
    return sum(amount for _, amount in parts)


async def send_back_item(
    session: AsyncSession,
    item: SuspenseItem,
    *,
    amount_minor: int,
    reason: str,
    actor_id: int | None,
    now: datetime,
) -> None:
    """
    Give money that waits back to whom it came from; less than nothing when it came again.

    Raises:
        PartsDoNotFit: it is more than waits, or more came again than ever did.
    """
    if not 0 <= item.left_minor - amount_minor <= item.amount_minor:
        raise PartsDoNotFit(left=Money(item.left_minor, item.currency))
    item.returns += 1
    item.left_minor -= amount_minor
    item.returned_minor += amount_minor
    await ledger.post(
        session,
        kind="returned",
        reference=f"returned:{item.returns}:{item.id}",
        entries=_entries(-amount_minor, item.currency),
        at=now,
    )
    audit.record(
        session,
        at=now,
        actor_id=actor_id,
        action="suspense.returned",
        subject=f"suspense:{item.id}",
        amount_minor=amount_minor,
        reason=reason,
    )
    await session.flush()


async def list_candidates(session: AsyncSession, item: SuspenseItem) -> list[Candidate]:
    """Return open bills of the same amount or of the payer's name."""
    paid = (
        select(func.coalesce(func.sum(Allocation.amount_minor), 0))
        .where(Allocation.bill_id == Bill.id)
        .correlate(Bill)
        .scalar_subquery()
    )
    left = Bill.total_minor - Bill.credited_minor - paid
    is_amount, is_name = left == item.left_minor, Account.holder_name == item.payer
    rows = await session.execute(
        select(is_amount, is_name, Bill.number, Account.number, Account.holder_name, left)
        .join(Agreement, Agreement.id == Bill.agreement_id)
        .join(Account, Account.id == Agreement.account_id)
        .where(Bill.state == BillState.ISSUED, or_(is_amount, is_name))
        .order_by((is_amount & is_name).desc(), is_name.desc(), Bill.due_date, Bill.id)
        .limit(CANDIDATES_MAX)
    )
    whys = {(True, True): "both", (True, False): "amount", (False, True): "payer"}
    return [
        Candidate(whys[amount, name], bill, account, holder, int(left_minor))
        for amount, name, bill, account, holder, left_minor in rows
    ]


async def list_exceptions(session: AsyncSession, *, before: datetime) -> Exceptions:
    """Return what has waited for a person since before a moment, the oldest first."""
    items = await session.scalars(
        select(SuspenseItem)
        .where(SuspenseItem.left_minor > 0, SuspenseItem.at <= before)
        .order_by(SuspenseItem.received_at, SuspenseItem.id)
        .limit(SHOWN_MAX)
    )
    unknown = await session.scalars(
        select(Payment)
        .where(Payment.state.in_(OPEN), Payment.received_at <= before)
        .order_by(Payment.received_at, Payment.id)
        .limit(SHOWN_MAX)
    )
    events = await session.scalars(
        select(ProviderEvent)
        .where(
            ProviderEvent.problem.is_not(None),
            ProviderEvent.noted_by_id.is_(None),
            ProviderEvent.received_at <= before,
        )
        .order_by(ProviderEvent.id)
        .limit(SHOWN_MAX)
    )
    return Exceptions(items=items.all(), unknown=unknown.all(), events=events.all())


async def remind_of_suspense(session: AsyncSession, *, now: datetime) -> None:
    """Tell managers once a day what has not been cleared within its time."""
    if await list_exceptions(session, before=now - CLEARED_WITHIN):
        await notices.enqueue(
            session,
            person_ids=await accounts.list_staff(session, role=Role.MANAGER),
            kind="suspense.waiting",
            params={},
            dedupe_key=f"suspense.waiting:{now.date().isoformat()}",
            now=now,
        )

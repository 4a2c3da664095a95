"""
The books: double entry, only ever added to, every transaction zero by the database itself.

A debit is positive. A receivable belongs to one agreement: what its holder owes, or less than
zero for what we owe the holder.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import BigInteger, cast, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.billing.models import LedgerAccount, LedgerEntry, LedgerTransaction
from core.errors import DomainError


class TransactionNotFound(DomainError):
    """The books have no transaction with this reference."""

    code = "ledger.not_found"


class AlreadyReversed(DomainError):
    """A transaction is reversed at most once."""

    code = "ledger.already_reversed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One side of a transaction. Units: minor units of the currency, debit positive."""

    account: LedgerAccount
    amount_minor: int
    currency: str
    agreement_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """A transaction to post; `reference` is its identity for ever, `corrects` its original's."""

    kind: str
    reference: str
    entries: Sequence[Entry]
    corrects: str | None = None


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One movement on an agreement's receivable and the balance after it. Units: minor units."""

    at: datetime
    kind: str
    reference: str
    amount_minor: int
    currency: str
    balance_minor: int


def owed_against(
    account: LedgerAccount, *, agreement_id: int, amount_minor: int, currency: str
) -> tuple[Entry, Entry]:
    """Return the entries by which an agreement owes more, or less, against an account."""
    return (
        Entry(
            account=LedgerAccount.RECEIVABLE,
            agreement_id=agreement_id,
            amount_minor=amount_minor,
            currency=currency,
        ),
        Entry(account=account, amount_minor=-amount_minor, currency=currency),
    )


async def post(
    session: AsyncSession,
    *,
    kind: str,
    reference: str,
    entries: Sequence[Entry],
    at: datetime,
    corrects: str | None = None,
) -> bool:
    """Post one transaction; tell whether it is new, since a reference is posted once for ever."""
    posting = Posting(kind=kind, reference=reference, entries=entries, corrects=corrects)
    return reference in await post_all(session, postings=[posting], at=at)


async def post_all(
    session: AsyncSession, *, postings: Sequence[Posting], at: datetime
) -> frozenset[str]:
    """Post transactions at once and return the references that were new."""
    if not postings:
        return frozenset()
    added = await session.execute(
        insert(LedgerTransaction)
        .on_conflict_do_nothing(index_elements=["reference"])
        .returning(LedgerTransaction.reference, LedgerTransaction.id),
        [
            {
                "at": at,
                "kind": posting.kind,
                "reference": posting.reference,
                "corrects_id": await _find_id(session, posting.corrects),
            }
            for posting in postings
        ],
    )
    ids = {row.reference: row.id for row in added}
    entries = [
        {"transaction_id": ids[posting.reference], **asdict(entry)}
        for posting in postings
        if posting.reference in ids
        for entry in posting.entries
    ]
    if entries:
        await session.execute(insert(LedgerEntry), entries)
    return frozenset(ids)


async def _find_id(session: AsyncSession, reference: str | None) -> int | None:
    if reference is None:
        return None
    return await session.scalar(
        select(LedgerTransaction.id).where(LedgerTransaction.reference == reference)
    )


async def reverse(session: AsyncSession, *, reference: str, at: datetime) -> None:
    """
    Post the opposite of a transaction, which stays as it is.

    Raises:
        TransactionNotFound: nothing was posted under the reference.
        AlreadyReversed: its opposite was posted before.
    """
    original = await _find_id(session, reference)
    if original is None:
        raise TransactionNotFound(reference=reference)
    reversal = await session.scalar(
        insert(LedgerTransaction)
        .values(at=at, kind="reversal", reference=f"reverse:{reference}", reverses_id=original)
        .on_conflict_do_nothing()
        .returning(LedgerTransaction.id)
    )
    if reversal is None:
        raise AlreadyReversed(reference=reference)
    entry = LedgerEntry
    opposite = select(
        literal(reversal), entry.account, entry.agreement_id, entry.currency, -entry.amount_minor
    ).where(entry.transaction_id == original)
    columns = ["transaction_id", "account", "agreement_id", "currency", "amount_minor"]
    await session.execute(insert(entry).from_select(columns, opposite))


async def balance_of(session: AsyncSession, *, agreement_id: int) -> int:
    """Return what an agreement owes, less than zero if it has credit. Units: minor units."""
    total = await session.scalar(
        select(func.sum(LedgerEntry.amount_minor)).where(LedgerEntry.agreement_id == agreement_id)
    )
    return int(total or 0)


async def entries_of(session: AsyncSession, *, agreement_id: int) -> list[StatementLine]:
    """Return all movements of an agreement, the oldest first, with the balance after each."""
    rows = await session.execute(
        select(
            LedgerTransaction.at,
            LedgerTransaction.kind,
            LedgerTransaction.reference,
            LedgerEntry.amount_minor,
            LedgerEntry.currency,
            cast(func.sum(LedgerEntry.amount_minor).over(order_by=LedgerEntry.id), BigInteger),
        )
        .join(LedgerTransaction, LedgerTransaction.id == LedgerEntry.transaction_id)
        .where(LedgerEntry.agreement_id == agreement_id)
        .order_by(LedgerEntry.id)
    )
    return [StatementLine(*row) for row in rows]

"""
The books: double entry, only ever added to, every transaction zero by the database itself.

A debit is positive. A receivable belongs to one agreement: what its holder owes, or less than
zero for what we owe the holder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
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
    """A transaction to post; `reference` is its identity for ever."""

    kind: str
    reference: str
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """One movement on an agreement's receivable and the balance after it. Units: minor units."""

    at: datetime
    kind: str
    reference: str
    amount_minor: int
    balance_minor: int
    currency: str


async def post(
    session: AsyncSession, *, kind: str, reference: str, entries: Sequence[Entry], at: datetime
) -> bool:
    """Post one transaction; tell whether it is new, since a reference is posted once for ever."""
    posting = Posting(kind=kind, reference=reference, entries=entries)
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
        [{"at": at, "kind": posting.kind, "reference": posting.reference} for posting in postings],
    )
    ids = {row.reference: row.id for row in added}
    await _add_entries(
        session, {ids[p.reference]: p.entries for p in postings if p.reference in ids}
    )
    return frozenset(ids)


async def _add_entries(session: AsyncSession, by_transaction: dict[int, Sequence[Entry]]) -> None:
    rows = [
        {
            "transaction_id": transaction_id,
            "account": entry.account,
            "agreement_id": entry.agreement_id,
            "currency": entry.currency,
            "amount_minor": entry.amount_minor,
        }
        for transaction_id, entries in by_transaction.items()
        for entry in entries
    ]
    if rows:
        await session.execute(insert(LedgerEntry), rows)


async def reverse(session: AsyncSession, *, reference: str, at: datetime) -> None:
    """
    Post the opposite of a transaction, which stays as it is.

    Raises:
        TransactionNotFound: nothing was posted under the reference.
        AlreadyReversed: its opposite was posted before.
    """
    original = await session.scalar(
        select(LedgerTransaction.id).where(LedgerTransaction.reference == reference)
    )
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
    entries = await session.scalars(
        select(LedgerEntry).where(LedgerEntry.transaction_id == original)
    )
    opposite = [
        Entry(
            account=entry.account,
            amount_minor=-entry.amount_minor,
            currency=entry.currency,
            agreement_id=entry.agreement_id,
        )
        for entry in entries
    ]
    await _add_entries(session, {reversal: opposite})


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
        )
        .join(LedgerTransaction, LedgerTransaction.id == LedgerEntry.transaction_id)
        .where(LedgerEntry.agreement_id == agreement_id)
        .order_by(LedgerEntry.transaction_id, LedgerEntry.id)
    )
    lines: list[StatementLine] = []
    for at, kind, reference, amount, currency in rows:
        balance = amount + (lines[-1].balance_minor if lines else 0)
        lines.append(
            StatementLine(
                at=at,
                kind=kind,
                reference=reference,
                amount_minor=amount,
                balance_minor=balance,
                currency=currency,
            )
        )
    return lines

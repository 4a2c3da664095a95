"""
The books: double entry, only ever added to, every transaction zero by the database itself.

A debit is positive. A receivable belongs to one agreement: what its holder owes, or less than
zero for what we owe the holder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, cast, func, literal, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.billing.models import LedgerAccount, LedgerEntry, LedgerTransaction
from core.db import SCHEMA
from core.errors import DomainError
from core.monitoring.rows import NULL, arrays, copy_lines

# All of a transaction in one statement, those of new references only, in the order given.
_POST = text(
    f"""
    WITH given AS (
        SELECT * FROM unnest(
            CAST(:references AS text[]), CAST(:kinds AS text[]), CAST(:corrected AS text[]),
            CAST(:accounts AS text[]), CAST(:agreements AS bigint[]),
            CAST(:currencies AS text[]), CAST(:amounts AS bigint[])
        ) WITH ORDINALITY
            g (reference, kind, corrects, account, agreement_id, currency, amount_minor, nr)
    ), added AS (
        INSERT INTO {SCHEMA}.ledger_transactions (at, kind, reference, corrects_id)
        SELECT CAST(:at AS timestamptz), posting.kind, posting.reference, original.id
        FROM (SELECT DISTINCT ON (reference) * FROM given ORDER BY reference, nr) posting
        LEFT JOIN {SCHEMA}.ledger_transactions original ON original.reference = posting.corrects
        ORDER BY posting.nr
        ON CONFLICT (reference) DO NOTHING RETURNING id, reference
    ), entered AS (
        INSERT INTO {SCHEMA}.ledger_entries
            (transaction_id, account, agreement_id, currency, amount_minor)
        SELECT added.id, account, agreement_id, currency, amount_minor
        FROM given JOIN added USING (reference) ORDER BY nr
    )
    SELECT reference FROM added
    """  # noqa: S608 (constants)
)

_NEXT_IDS = text(
    f"""
    SELECT nextval('{SCHEMA}.ledger_transactions_id_seq')
    FROM generate_series(1, CAST(:count AS bigint))
    """  # noqa: S608 (a constant)
)
_TRANSACTIONS = f"COPY {SCHEMA}.ledger_transactions (id, at, kind, reference) FROM STDIN"
_ENTRIES = (
    f"COPY {SCHEMA}.ledger_entries (transaction_id, account, currency, amount_minor, agreement_id)"
    " FROM STDIN"
)


class TransactionNotFound(DomainError):
    """The books have no transaction with this reference."""

    code = "ledger.not_found"


class AlreadyReversed(DomainError):
    """A transaction is reversed at most once."""

    code = "ledger.already_reversed"


class Entry(NamedTuple):
    """One side of a transaction. Units: minor units of the currency, debit positive."""

    account: LedgerAccount
    amount_minor: int
    currency: str
    agreement_id: int | None = None


class Posting(NamedTuple):
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
    rows = [
        (
            p.reference,
            p.kind,
            p.corrects,
            e.account.value,
            e.agreement_id,
            e.currency,
            e.amount_minor,
        )
        for p in postings
        for e in p.entries
    ]
    named = arrays("references kinds corrected accounts agreements currencies amounts", rows)
    return frozenset(await session.scalars(_POST, {**named, "at": at}))


async def post_new(session: AsyncSession, *, postings: Sequence[Posting], at: datetime) -> None:
    """Post many transactions whose references cannot have been posted and that correct nothing."""
    if not postings:
        return
    ids = (await session.scalars(_NEXT_IDS, {"count": len(postings)})).all()
    posted = list(zip(ids, postings, strict=True))
    rows = [f"{id_}\t{at}\t{posting.kind}\t{posting.reference}\n" for id_, posting in posted]
    entries = [
        f"{id_}\t{entry.account.value}\t{entry.currency}\t{entry.amount_minor}\t"
        f"{NULL if entry.agreement_id is None else entry.agreement_id}\n"
        for id_, posting in posted
        for entry in posting.entries
    ]
    await copy_lines(session, _TRANSACTIONS, iter(["".join(rows)]))
    await copy_lines(session, _ENTRIES, iter(["".join(entries)]))


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

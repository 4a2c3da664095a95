"""The chunks of a run: planned once it is approved, each issued once by whichever worker comes."""

from datetime import datetime

from sqlalchemy import BigInteger, cast, delete, func, literal, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Agreement
from core.billing import bills, proposals, runs
from core.billing.bills import IssuedChunk
from core.billing.models import Bill, BillState
from core.billing.run_models import BillingChunk

CHUNK = 1000
_APPROVED = 1
_FINISHED = 2


async def plan_chunks(session: AsyncSession, *, run_id: int, now: datetime) -> list[int]:
    """
    Return the chunks of an approved run that are still to issue, planned anew if there are none.

    A run that has nothing to issue is finished.

    Raises:
        RunNotFound: there is no such run.
        RunNotApproved: nobody has approved it.
    """
    run = await runs.lock_run(session, run_id=run_id)
    if run.approved_at is None:
        raise runs.RunNotApproved(run=run_id)
    waiting = await list_waiting(session, run_id=run_id)
    if waiting:
        return waiting
    unbilled = await runs.unbilled(session, await runs.get_scope(session, run_id=run_id))
    latest = await session.scalar(
        select(func.coalesce(func.max(BillingChunk.nr), 0)).where(BillingChunk.run_id == run_id)
    )
    if latest:
        await _count_anew(session, run_id, latest, now)
    numbered = unbilled.order_by(None).subquery()
    nr = (func.row_number().over(order_by=numbered.c.id) - 1) // CHUNK
    rows = select(numbered.c.id, nr.label("nr")).subquery()
    await session.execute(
        insert(BillingChunk).from_select(
            ["run_id", "nr", "first_id", "last_id", "agreements"],
            select(
                literal(run_id),
                rows.c.nr + latest + 1,
                func.min(rows.c.id),
                func.max(rows.c.id),
                func.count(),
            ).group_by(rows.c.nr),
        )
    )
    waiting = await list_waiting(session, run_id=run_id)
    if waiting:
        run.finished_at = None
    elif run.finished_at is None:
        run.finished_at = now
    await session.flush()
    await proposals.show_run(session, run_id=run_id, version=_APPROVED, now=now)
    return waiting


async def _count_anew(session: AsyncSession, run_id: int, latest: int, now: datetime) -> None:
    """
    Put what earlier rounds made into one chunk, counted from the bills.

    Whoever was skipped, or whose bill was taken back, is tried again in a chunk of its own.
    """
    ours = Bill.run_id == run_id
    issued = Bill.state.in_([BillState.ISSUED, BillState.SETTLED])
    held = Bill.state == BillState.HELD
    total = func.coalesce(func.sum(Bill.total_minor).filter(issued), 0)
    counted = await session.execute(
        select(
            func.count().filter(issued | held).label("agreements"),
            func.count().filter(issued).label("issued"),
            func.count().filter(held).label("held"),
            cast(total, BigInteger).label("total_minor"),
        ).where(ours)
    )
    known = delete(BillingChunk).where(BillingChunk.run_id == run_id)
    await session.execute(known.execution_options(synchronize_session=False))
    await session.execute(
        insert(BillingChunk).values(
            run_id=run_id,
            nr=latest,
            first_id=0,
            last_id=0,
            done_at=now,
            **counted.one()._mapping,  # noqa: SLF001 (public, whatever its name)
        )
    )


async def list_waiting(session: AsyncSession, *, run_id: int) -> list[int]:
    """Return the chunks of a run that are not issued yet."""
    return list(
        await session.scalars(
            select(BillingChunk.nr)
            .where(BillingChunk.run_id == run_id, BillingChunk.done_at.is_(None))
            .order_by(BillingChunk.nr)
        )
    )


async def issue_chunk(
    session: AsyncSession, *, run_id: int, nr: int, now: datetime
) -> IssuedChunk | None:
    """
    Issue the bills of one chunk, the last one finishing the run; nothing if it is done or taken.

    Whoever is killed in the middle leaves no trace, and the chunk to the next.
    """
    chunk = await session.scalar(
        select(BillingChunk)
        .where(BillingChunk.run_id == run_id, BillingChunk.nr == nr, BillingChunk.done_at.is_(None))
        .with_for_update(skip_locked=True)
    )
    if chunk is None:
        return None
    # Foreign keys are checked by plans that the connection keeps; those that were made while the
    # tables were small would read all of them for each row.
    await session.execute(text("DISCARD PLANS"))
    unbilled = await runs.unbilled(session, await runs.get_scope(session, run_id=run_id))
    ours = await session.scalars(
        unbilled.where(Agreement.id.between(chunk.first_id, chunk.last_id))
    )
    issued = await bills.issue_bills(session, run_id=run_id, agreement_ids=ours.all(), now=now)
    chunk.done_at, chunk.issued, chunk.held = now, issued.issued, issued.held
    chunk.skipped, chunk.total_minor = sum(issued.skipped.values()), issued.total_minor
    await session.flush()
    # Of the two that are last, one waits here and sees that the other is done.
    run = await runs.lock_run(session, run_id=run_id)
    if not await list_waiting(session, run_id=run_id):
        run.finished_at = now
        await session.flush()
        await proposals.show_run(session, run_id=run_id, version=_FINISHED + nr, now=now)
    return issued

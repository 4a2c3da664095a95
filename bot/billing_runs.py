"""Billing runs as background work: proposed, approved, then issued in chunks by any worker."""

from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from bot.tasks import defer, defer_all
from core.accounts.models import Service
from core.accounts.service import get_operator
from core.billing import chunks, runs
from core.periods import Period

PROPOSE_RUN = "propose-run"
ISSUE_CHUNK = "issue-chunk"
AUDIT_BOOKS = "audit-books"


async def start(session: AsyncSession, *, service: Service, period: Period, now: datetime) -> int:
    """
    Start a run that whoever calls approves, or take it up again; return its id.

    Raises:
        PeriodNotOver: days of the period are still to come.
    """
    run_id = await runs.start_run(session, service=service, period=period, now=now)
    if (await runs.lock_run(session, run_id=run_id)).approved_at is None:
        await runs.approve_run(session, run_id=run_id, actor_id=None, now=now)
    await _queue(session, run_id, now)
    return run_id


async def approve(
    session: AsyncSession, *, run_id: int, actor_id: int | None, now: datetime
) -> None:
    """
    Approve a run and queue its chunks.

    Raises:
        RunNotFound: there is no such run.
        RunAlreadyApproved: somebody was faster.
    """
    await runs.approve_run(session, run_id=run_id, actor_id=actor_id, now=now)
    await _queue(session, run_id, now)


async def start_due(session: AsyncSession, *, now: datetime) -> None:
    """Propose every month that has ended, or start it if nobody need approve; go on with others."""
    operator = await get_operator(session)
    zone = ZoneInfo(operator.timezone)
    for due in await runs.due_runs(session, now=now, zone=zone):
        run_id = await runs.start_run(session, service=due.service, period=due.period, now=now)
        run = await runs.lock_run(session, run_id=run_id)
        if run.approved_at is not None or not operator.approves_bills:
            await start(session, service=due.service, period=due.period, now=now)
        else:
            await defer(session, PROPOSE_RUN, once=f"{PROPOSE_RUN}:{run_id}", run_id=run_id)


async def _queue(session: AsyncSession, run_id: int, now: datetime) -> None:
    waiting = await chunks.plan_chunks(session, run_id=run_id, now=now)
    await defer_all(session, ISSUE_CHUNK, [{"run_id": run_id, "nr": nr} for nr in waiting])


async def start_audit(session: AsyncSession, *, now: datetime) -> None:  # noqa: ARG001 (a job's)
    """Queue the look at the books, which takes long, once however many nights were missed."""
    await defer(session, AUDIT_BOOKS, once=AUDIT_BOOKS)

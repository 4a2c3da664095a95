"""Billing runs as background work: the run and its chunks are queued in one transaction."""

from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from bot.tasks import defer
from core.accounts.models import Service
from core.accounts.service import get_operator
from core.billing import runs
from core.periods import Period

ISSUE_BILLS = "issue-bills"


async def start(session: AsyncSession, *, service: Service, period: Period, now: datetime) -> int:
    """
    Start a run, or take it up again, and queue what is not billed yet; return its id.

    Raises:
        PeriodNotOver: days of the period are still to come.
    """
    run_id = await runs.start_run(session, service=service, period=period, now=now)
    scope = await runs.get_scope(session, run_id=run_id)
    for chunk in runs.chunks_of(await runs.list_unbilled(session, scope=scope)):
        await defer(session, ISSUE_BILLS, run_id=run_id, agreement_ids=chunk)
    await runs.finish_if_tried(session, run_id=run_id, now=now)
    return run_id


async def start_due(session: AsyncSession, *, now: datetime) -> None:
    """Start every run whose month has ended, or take it up again."""
    zone = ZoneInfo((await get_operator(session)).timezone)
    for due in await runs.due_runs(session, now=now, zone=zone):
        await start(session, service=due.service, period=due.period, now=now)

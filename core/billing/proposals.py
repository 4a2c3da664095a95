"""What managers are told of a run: what it would do, how far it is, and whom its bills reached."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import service as accounts
from core.accounts.models import Person, Role
from core.billing import runs
from core.billing.run_models import BillingChunk, BillingRun, BillingSkip
from core.billing.runs import Preview, StrangeBill
from core.db import SCHEMA
from core.notices import service as notices
from core.notices.models import Delivery, Outcome
from core.periods import Period, local_day

# The timetable proposes at night; people are asked in the morning.
MORNING: Final = time(8)
# Whoever was not reached by then is counted as not reached.
REACHED_WITHIN: Final = timedelta(days=1)
_WAITS = (Outcome.DUE, Outcome.SENDING, Outcome.POSTPONED)

_REACH = text(
    f"""
    SELECT reach, count(*) FROM (
        SELECT CASE min(CASE d.outcome WHEN 'sent' THEN 1 WHEN 'unknown' THEN 2
                        WHEN 'failed' THEN 3 WHEN 'blocked' THEN 4
                        ELSE CASE WHEN d.outcome IS NULL AND d.id IS NOT NULL THEN 5 ELSE 6 END
                        END)
               WHEN 1 THEN 'sent' WHEN 2 THEN 'unknown' WHEN 3 THEN 'failed'
               WHEN 4 THEN 'blocked' WHEN 5 THEN 'waiting' ELSE 'nobody' END AS reach
        FROM {SCHEMA}.bills b
        LEFT JOIN {SCHEMA}.deliveries d ON d.dedupe_key = 'bill:' || b.number
        WHERE b.run_id = :run_id AND b.issued_at IS NOT NULL
        GROUP BY b.id
    ) bills GROUP BY reach
    """  # noqa: S608 (a constant)
)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, in agreements. Units: `total_minor` of what was issued, minor units."""

    planned: int
    done: int
    issued: int
    held: int
    skipped: int
    total_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run as managers see it, with the agreements that it could not bill by reason."""

    run: BillingRun
    approved_by: str | None
    proposal: Preview | None
    progress: Progress
    skipped: Mapping[str, int]


async def propose_run(session: AsyncSession, *, run_id: int, now: datetime) -> None:
    """
    Keep what a run would do, and ask the managers for their approval in the morning.

    Raises:
        RunNotFound: there is no such run.
    """
    run = await runs.lock_run(session, run_id=run_id)
    if run.approved_at is not None:
        return
    found = await runs.preview_run(
        session, service=run.service, period=Period(run.starts_date, run.ends_date), now=now
    )
    run.proposal = _written(found)
    await session.flush()
    zone = ZoneInfo((await accounts.get_operator(session)).timezone)
    morning = datetime.combine(local_day(now, zone=zone), MORNING, tzinfo=zone)
    await show_run(session, run_id=run_id, version=0, now=now, due_at=max(now, morning))


async def show_run(
    session: AsyncSession,
    *,
    run_id: int,
    version: int,
    now: datetime,
    due_at: datetime | None = None,
) -> None:
    """Have the message that shows a run to each manager drawn again, or sent for the first time."""
    await notices.enqueue(
        session,
        person_ids=await accounts.list_staff(session, role=Role.MANAGER),
        kind="run.card",
        params={"run": run_id},
        dedupe_key=f"run:{run_id}:{version}",
        card=f"run:{run_id}",
        now=now,
        due_at=due_at,
    )


async def report_reach(session: AsyncSession, *, now: datetime) -> None:
    """Tell managers whom the bills of a finished run reached, once no message of it waits."""
    waits = select(Delivery.id).where(Delivery.kind == "bill.issued", Delivery.outcome.in_(_WAITS))
    is_over = BillingRun.finished_at < now - REACHED_WITHIN
    finished = await session.scalars(
        select(BillingRun)
        .where(
            BillingRun.finished_at.is_not(None),
            BillingRun.approved_at.is_not(None),
            or_(BillingRun.reached_at.is_(None), BillingRun.reached_at < BillingRun.finished_at),
            is_over | ~waits.exists(),
        )
        .order_by(BillingRun.id)
    )
    managers = await accounts.list_staff(session, role=Role.MANAGER)
    for run in finished:
        found = await session.execute(_REACH, {"run_id": run.id})
        run.reach, run.reached_at = {row.reach: row.count for row in found}, now
        await notices.enqueue(
            session,
            person_ids=managers,
            kind="run.reached",
            params={"run": run.id},
            dedupe_key=f"run.reached:{run.id}:{run.finished_at}",
            now=now,
        )
    await session.flush()


async def get_run(session: AsyncSession, *, run_id: int) -> RunView:
    """
    Return a run as managers see it.

    Raises:
        RunNotFound: there is no such run.
    """
    found = await _views(session, run_id=run_id, limit=1)
    if not found:
        raise runs.RunNotFound(run=run_id)
    return found[0]


async def list_runs(session: AsyncSession, *, limit: int) -> Sequence[RunView]:
    """Return the latest runs, the newest first."""
    return await _views(session, run_id=None, limit=limit)


async def _views(session: AsyncSession, *, run_id: int | None, limit: int) -> list[RunView]:
    chunk = BillingChunk
    columns = (chunk.issued, chunk.held, chunk.skipped, chunk.total_minor)
    done = func.sum(chunk.agreements).filter(chunk.done_at.is_not(None))
    query = (
        select(BillingRun, Person.name, func.sum(chunk.agreements), done, *map(func.sum, columns))
        .outerjoin(Person, Person.id == BillingRun.approved_by_id)
        .outerjoin(chunk, chunk.run_id == BillingRun.id)
        .group_by(BillingRun.id, Person.id)
        .order_by(BillingRun.starts_date.desc(), BillingRun.id.desc())
        .limit(limit)
        .execution_options(populate_existing=True)
    )
    if run_id is not None:
        query = query.where(BillingRun.id == run_id)
    found = (await session.execute(query)).all()
    skip = BillingSkip
    rows = await session.execute(
        select(skip.run_id, skip.reason, func.count())
        .where(skip.run_id.in_([run.id for run, *_ in found]))
        .group_by(skip.run_id, skip.reason)
        .order_by(skip.reason)
    )
    skipped: dict[int, dict[str, int]] = {}
    for skipped_by, reason, count in rows:
        skipped.setdefault(skipped_by, {})[reason] = count
    return [
        RunView(
            run=run,
            approved_by=name,
            proposal=None if run.proposal is None else _read(run.proposal),
            progress=Progress(*(int(value or 0) for value in counts)),
            skipped=skipped.get(run.id, {}),
        )
        for run, name, *counts in found
    ]


def _written(found: Preview) -> dict[str, Any]:
    written = asdict(found)
    written["consumption"] = str(found.consumption)
    for bill in written["strangest"]:
        bill["consumption"] = None if bill["consumption"] is None else str(bill["consumption"])
    return written


def _read(written: dict[str, Any]) -> Preview:
    strangest = [
        StrangeBill(**{**bill, "consumption": bill["consumption"] and Decimal(bill["consumption"])})
        for bill in written["strangest"]
    ]
    consumption = Decimal(written["consumption"])
    return Preview(**{**written, "consumption": consumption, "strangest": strangest})

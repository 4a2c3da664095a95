"""Billing runs: which are due, what one would do, how far one is, and when it is finished."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import Select, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts.models import Agreement, Service, ServicePoint
from core.accounts.service import get_operator
from core.billing.back_billing import OLD, oldest_billable
from core.billing.class_usage import find_class_p99
from core.billing.drafts import Draft, Scope, Skipped, draft_bills, hold_if_old
from core.billing.models import Bill, BillState
from core.billing.run_models import BillingRun, BillingSkip
from core.billing.tariff_store import get_tariffs, list_codes
from core.errors import DomainError
from core.monitoring.models import Meter
from core.periods import Period, local_day, month_of

PREVIEWED_AT_ONCE = 1000
STRANGEST_MAX = 20
# What a person should look at first.
_STRANGE = (
    "negative",
    "billing.reading_goes_backwards",
    "absurd",
    "ahead",
    "estimated",
    "unusual",
    "first",
    OLD,
    "billing.reading_waits",
    "billing.no_reading",
    "zero_after_use",
)


class PeriodNotOver(DomainError):
    """A period is billed when it has ended."""

    code = "billing.period_not_over"


class RunNotApproved(DomainError):
    """Nothing is issued before a manager has approved it."""

    code = "billing.run_not_approved"


class RunAlreadyApproved(DomainError):
    """A run is approved once."""

    code = "billing.run_already_approved"


class RunNotFound(DomainError):
    """There is no such billing run."""

    code = "billing.run_not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRun:
    """A service and a month that ended and is not billed, or not to its end."""

    service: Service
    period: Period


@dataclass(frozen=True, slots=True, kw_only=True)
class StrangeBill:
    """A bill, or none, that somebody should look at. Units: m³ or kWh; minor units."""

    account_number: str
    address: str
    reason: str
    consumption: Decimal | None
    total_minor: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a run would do. Units: `consumption` m³ or kWh, `totals_minor` by currency."""

    bills: int
    held: int
    consumption: Decimal
    totals_minor: Mapping[str, int]
    skipped: Mapping[str, int]
    strangest: Sequence[StrangeBill]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """A run and what came of it: bills by state, agreements skipped by reason."""

    run: BillingRun
    bills: Mapping[str, int]
    skipped: Mapping[str, int]
    totals_minor: Mapping[str, int]


async def due_runs(session: AsyncSession, *, now: datetime, zone: ZoneInfo) -> list[DueRun]:
    """
    Return the months that ended and are not billed to their end, the oldest first.

    Before the first run of a service the last month that ended is due.
    """
    running = month_of(local_day(now, zone=zone))
    due = []
    for service in Service:
        latest = await session.scalar(
            select(func.max(BillingRun.ends_date)).where(BillingRun.service == service)
        )
        unfinished = await session.execute(
            select(BillingRun.starts_date, BillingRun.ends_date).where(
                BillingRun.service == service, BillingRun.finished_at.is_(None)
            )
        )
        periods = [Period(*bounds) for bounds in unfinished]
        period = month_of(latest) if latest else month_of(running.starts - timedelta(days=1))
        while period.ends <= running.starts:
            periods.append(period)
            period = month_of(period.ends)
        due += [DueRun(service=service, period=each) for each in periods]
    return sorted(due, key=lambda run: run.period)


async def start_run(
    session: AsyncSession, *, service: Service, period: Period, now: datetime
) -> int:
    """
    Return the id of the run over a service and a period, started now if it never was.

    Raises:
        PeriodNotOver: days of the period are still to come.
    """
    await _require_over(session, period, now)
    key = {"service": service, "starts_date": period.starts, "ends_date": period.ends}
    known = select(BillingRun.id).filter_by(**key)
    run_id = await session.scalar(known)
    if run_id is not None:
        return run_id
    usual = await find_class_p99(session, service=service, until=period.starts)
    added = insert(BillingRun).values(
        **key, started_at=now, class_p99={name: str(value) for name, value in usual.items()}
    )
    await session.execute(added.on_conflict_do_nothing())
    return (await session.execute(known)).scalar_one()


async def _require_over(session: AsyncSession, period: Period, now: datetime) -> None:
    zone = ZoneInfo((await get_operator(session)).timezone)
    if period.ends > local_day(now, zone=zone):
        raise PeriodNotOver(ends=period.ends)


async def get_scope(session: AsyncSession, *, run_id: int) -> Scope:
    """
    Return what a run bills.

    Raises:
        RunNotFound: there is no such run.
    """
    run = await _get_run(session, run_id)
    period = Period(run.starts_date, run.ends_date)
    class_p99 = {name: Decimal(value) for name, value in run.class_p99.items()}
    return await _scope(session, run.service, period, class_p99)


async def _get_run(session: AsyncSession, run_id: int) -> BillingRun:
    run = await session.get(BillingRun, run_id)
    if run is None:
        raise RunNotFound(run=run_id)
    return run


async def _scope(
    session: AsyncSession, service: Service, period: Period, class_p99: Mapping[str, Decimal]
) -> Scope:
    first = await session.scalar(
        select(func.min(BillingRun.starts_date)).where(BillingRun.service == service)
    )
    return Scope(
        service=service,
        period=period,
        first_date=min(first or period.starts, period.starts),
        class_p99=class_p99,
    )


async def approve_run(
    session: AsyncSession, *, run_id: int, actor_id: int | None, now: datetime
) -> None:
    """
    Note that what a run proposes may be issued, and who said so.

    Raises:
        RunNotFound: there is no such run.
        RunAlreadyApproved: somebody was faster.
    """
    run = await lock_run(session, run_id=run_id)
    if run.approved_at is not None:
        raise RunAlreadyApproved(run=run_id)
    run.approved_at, run.approved_by_id = now, actor_id
    await session.flush()
    audit.record(
        session, at=now, actor_id=actor_id, action="billing.approved", subject=f"run:{run_id}"
    )


async def lock_run(session: AsyncSession, *, run_id: int) -> BillingRun:
    """
    Return a run as it is now, held until the transaction ends; bills may refer to it meanwhile.

    Raises:
        RunNotFound: there is no such run.
    """
    run = await session.scalar(
        select(BillingRun)
        .where(BillingRun.id == run_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    if run is None:
        raise RunNotFound(run=run_id)
    return run


async def list_unbilled(session: AsyncSession, *, scope: Scope) -> list[int]:
    """Return the agreements that are due for a bill up to a period's end and have none, by id."""
    return list(await session.scalars(await unbilled(session, scope)))


async def unbilled(session: AsyncSession, scope: Scope) -> Select[int]:
    """Return the query for the agreements that are due for a bill and have none, by id."""
    codes = await list_codes(session)
    tariffs = await get_tariffs(
        session, codes=[code for code, service in codes.items() if service is scope.service]
    )
    later = [code for code, stored in tariffs.items() if not scope.is_due(stored)]
    billed = (
        select(Bill.id)
        .where(
            Bill.agreement_id == Agreement.id,
            Bill.state != BillState.VOID,
            Bill.ends_date >= func.least(scope.period.ends, Agreement.ends_date),
        )
        .exists()
    )
    # A master meter checks those behind it, which are billed themselves.
    is_master = (
        select(Meter.id)
        .where(
            Meter.service_point_id == ServicePoint.id,
            Meter.master_of_id.is_not(None),
            Meter.removed_at.is_(None),
        )
        .exists()
    )
    return (
        select(Agreement.id)
        .join(ServicePoint, ServicePoint.id == Agreement.service_point_id)
        .where(
            ~is_master,
            ServicePoint.service == scope.service,
            Agreement.starts_date < scope.period.ends,
            or_(Agreement.ends_date.is_(None), Agreement.ends_date > scope.first_date),
            or_(Agreement.tariff_code.notin_(later), Agreement.ends_date <= scope.period.ends),
            ~billed,
        )
        .order_by(Agreement.id)
    )


async def preview_run(
    session: AsyncSession, *, service: Service, period: Period, now: datetime
) -> Preview:
    """
    Return what a run would issue, the strangest bills first; nothing is written.

    Raises:
        PeriodNotOver: days of the period are still to come.
    """
    await _require_over(session, period, now)
    class_p99 = await find_class_p99(session, service=service, until=period.starts)
    oldest = await oldest_billable(session, now=now)
    scope = await _scope(session, service, period, class_p99)
    waiting = (await unbilled(session, scope)).limit(PREVIEWED_AT_ONCE)
    skipped: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    consumption, bills, held = Decimal(0), 0, 0
    strange: list[StrangeBill] = []
    latest = 0
    while chunk := (await session.scalars(waiting.where(Agreement.id > latest))).all():
        latest = chunk[-1]
        for each in await draft_bills(session, scope=scope, agreement_ids=chunk):
            found = hold_if_old(each, oldest) if isinstance(each, Draft) else each
            if isinstance(found, Draft):
                bills += 1
                held += found.held_reason is not None
                consumption += found.consumption
                totals[found.computed.currency] += found.computed.total_minor
            else:
                skipped[found.reason] += 1
            oddity = _find_oddity(found)
            if oddity is not None:
                strange.append(oddity)
        strange = sorted(strange, key=_strangeness)[:STRANGEST_MAX]
    return Preview(
        bills=bills,
        held=held,
        consumption=consumption,
        totals_minor=dict(totals),
        skipped=dict(skipped),
        strangest=strange,
    )


def _strangeness(bill: StrangeBill) -> tuple[int, int]:
    return _STRANGE.index(bill.reason), -(bill.total_minor or 0)


def _find_oddity(found: Draft | Skipped) -> StrangeBill | None:
    consumption = total = None
    if isinstance(found, Skipped):
        reason: str | None = found.reason
    else:
        consumption, total = found.consumption, found.computed.total_minor
        is_idle = found.usual_per_day and not consumption
        reason = found.held_reason or ("zero_after_use" if is_idle else None)
    if reason not in _STRANGE:
        return None
    return StrangeBill(
        account_number=found.account_number,
        address=found.address,
        reason=reason,
        consumption=consumption,
        total_minor=total,
    )


async def finish_run(session: AsyncSession, *, run_id: int, now: datetime) -> RunState:
    """
    Note that every agreement of a run was tried, and return what came of it.

    Raises:
        RunNotFound: there is no such run.
    """
    state = await get_run(session, run_id=run_id)
    state.run.finished_at = state.run.finished_at or now
    await session.flush()
    return state


async def get_run(session: AsyncSession, *, run_id: int) -> RunState:
    """
    Return a run and how far it is.

    Raises:
        RunNotFound: there is no such run.
    """
    run = await _get_run(session, run_id)
    bills: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for state, currency, count, total in await session.execute(
        select(Bill.state, Bill.currency, func.count(), func.sum(Bill.total_minor))
        .where(Bill.run_id == run_id)
        .group_by(Bill.state, Bill.currency)
    ):
        bills[state.value] += count
        if state in {BillState.ISSUED, BillState.SETTLED}:
            totals[currency] += int(total)
    skipped = await session.execute(
        select(BillingSkip.reason, func.count().label("agreements"))
        .where(BillingSkip.run_id == run_id)
        .group_by(BillingSkip.reason)
        .order_by(BillingSkip.reason)
    )
    return RunState(
        run=run,
        bills=bills,
        skipped={row.reason: row.agreements for row in skipped},
        totals_minor=totals,
    )

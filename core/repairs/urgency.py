"""Open repairs are weighed again and again: what gets worse is told, what eases is noted."""

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Service
from core.monitoring.models import Alarm, Quantity, Side
from core.repairs.evidence import latest_sample
from core.repairs.journal import News, record_event
from core.repairs.models import Follower, Repair
from core.repairs.promises import default_promise
from core.repairs.severity import Severity, weigh
from core.repairs.workflow import ENDED, UNCLAIMED, UNDERWAY, State

# People get one message, not two, about what is urgent from the start.
JUST_TOLD = timedelta(minutes=10)


async def weigh_repairs(session: AsyncSession, *, now: datetime) -> int:
    """
    Raise and lower the urgency of open repairs by what their meters say; return how many changed.

    A level that was told before is not told again. Where nothing is known now, nothing changes.
    """
    rows = await session.execute(
        select(Repair, Alarm, latest_sample(since=now))
        .outerjoin(Follower, Follower.repair_id == Repair.id)
        .join(
            Alarm,
            Alarm.id == func.coalesce(Follower.alarm_id, Repair.alarm_id),
        )
        .where(Repair.state.not_in({*ENDED, State.FIXED}))
        .where(or_(Alarm.ended_at.is_(None), Repair.severity > Severity.ORDINARY))
        .order_by(Repair.id)
        .with_for_update(of=Repair, skip_locked=True)
    )
    changed = 0
    for repair, group in groupby(rows, key=lambda row: row[0]):
        found = [
            (alarm, alarm.worst if alarm.quantity is Quantity.SILENCE else latest)
            for _, alarm, latest in group
            if alarm.ended_at is None
        ]
        known = [(alarm, value) for alarm, value in found if value is not None]
        if found and not known:
            continue
        was = Severity(repair.severity)
        now_is = Severity.ORDINARY
        if known:
            alarm, value = max(known, key=lambda each: _beyond(*each))
            now_is = weigh(
                quantity=alarm.quantity,
                limit=alarm.limit,
                beyond=_beyond(alarm, value),
                lasted=now - min(each.began_at for each, _ in found),
                homes=len(found),
                was=was,
            )
        if now_is != was:
            value_told = {"quantity": alarm.quantity, "value": value} if known else {}
            await _note(session, repair, now_is, value_told, now=now)
            changed += 1
    return changed


async def make_critical(session: AsyncSession, repair: Repair, *, now: datetime) -> None:
    """Raise a leak that is a burst to the highest urgency; a longer promise is cut short."""
    if repair.severity < Severity.CRITICAL:
        await _note(session, repair, Severity.CRITICAL, {}, now=now)
    promised_at = default_promise(Service.WATER, is_burst=True, now=now)
    if repair.state in UNDERWAY and repair.promised_at and repair.promised_at > promised_at:
        repair.promised_at = promised_at
        repair.promise_moves += 1
        repair.version += 1
        await record_event(
            session,
            repair=repair,
            kind="promise",
            actor_id=None,
            now=now,
            promised_at=promised_at,
            details={"reason": "burst"},
            news=[News.PROMISE],
        )


def _beyond(alarm: Alarm, value: Decimal) -> Decimal:
    """Return by how much a value is outside the limit; inside, it is negative."""
    return value - alarm.limit if alarm.side is Side.HIGH else alarm.limit - value


async def _note(
    session: AsyncSession,
    repair: Repair,
    severity: Severity,
    told: dict[str, object],
    *,
    now: datetime,
) -> None:
    is_worse = severity > repair.severity
    is_new = severity > repair.severity_told
    repair.severity = severity
    repair.severity_told = max(severity, repair.severity_told)
    await record_event(
        session,
        repair=repair,
        kind="worse" if is_worse else "eased",
        actor_id=None,
        now=now,
        details={**told, "severity": severity.name.lower()},
        # Who has just been told of the repair sees it on the card.
        news=[News.WORSE] if is_new and now - repair.filed_at >= JUST_TOLD else [],
        is_offer=repair.state in UNCLAIMED,
    )

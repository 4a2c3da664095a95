"""What time alone does to repairs: late ones are escalated, silent ones end."""

from datetime import datetime

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.monitoring.models import Alarm, Quantity, Watch
from core.monitoring.thresholds import SILENCE_MAX
from core.repairs.journal import News, record_event
from core.repairs.models import Follower, Repair
from core.repairs.promises import BELIEVED, DISMISSED, SILENCE
from core.repairs.queries import is_late
from core.repairs.service import take_step
from core.repairs.workflow import Act, State

CHUNK = 100


async def escalate_late(session: AsyncSession, *, now: datetime) -> int:
    """
    Mark repairs that nobody accepted in time or whose promise has passed, once for each breach.

    Managers and the technician are told. Takes at most a hundred and returns how many.
    """
    late = (
        await session.scalars(
            select(Repair)
            .where(is_late(now=now, is_unsaid=True))
            .order_by(Repair.id)
            .limit(CHUNK)
            .with_for_update(skip_locked=True)
        )
    ).all()
    for repair in late:
        repair.escalated_at = now
        await record_event(
            session, repair=repair, kind="late", actor_id=None, now=now, news=[News.LATE]
        )
    await session.flush()
    return len(late)


async def doubt_words(session: AsyncSession, *, now: datetime) -> int:
    """
    Take alarms up again whose repair people ended, or call fixed, while the meter disagrees.

    The meter counts only while it speaks. People are believed for an hour, a manager who
    cancelled it for a day; each word is doubted once. Takes at most a hundred, returns how many.
    """
    followed = select(Follower.repair_id).where(Follower.alarm_id == Alarm.id)
    newest = (
        select(func.max(Repair.id))
        .where(
            or_(
                Repair.area_id.is_(None) & (Repair.alarm_id == Alarm.id),
                Repair.id.in_(followed),
            ),
            Repair.state != State.MERGED,
        )
        .correlate(Alarm)
        .scalar_subquery()
    )
    still_outside = (
        select(Watch.alarm_id)
        .where(
            Watch.alarm_id == Alarm.id, Watch.side == Alarm.side, Watch.last_at > now - SILENCE_MAX
        )
        .exists()
    )
    is_said = or_(
        Repair.state.in_({State.FIXED, State.CLOSED}) & (Repair.state_since <= now - BELIEVED),
        (Repair.state == State.CANCELLED) & (Repair.state_since <= now - DISMISSED),
    )
    alarms = (
        await session.scalars(
            select(Alarm)
            .join(Repair, Repair.id == newest)
            .where(
                Alarm.ended_at.is_(None),
                Alarm.taken_up_at <= Repair.state_since,
                is_said,
                or_(Alarm.quantity == Quantity.SILENCE, still_outside),
            )
            .order_by(Alarm.id)
            .limit(CHUNK)
            .with_for_update(of=Alarm, skip_locked=True)
        )
    ).all()
    for alarm in alarms:
        alarm.taken_up_at = None
    await session.flush()
    return len(alarms)


async def close_silent(session: AsyncSession, *, now: datetime) -> int:
    """
    Close repairs that were said to be fixed and that no customer answered in three days.

    A repair that an alarm filed stays open while its meter is outside the range. Takes at most
    a hundred and returns how many.
    """
    silent = (
        await session.scalars(
            select(Repair.id)
            .where(
                Repair.state == State.FIXED,
                Repair.fixed_at <= now - SILENCE,
                or_(Repair.alarm_id.is_(None), Repair.normal_at.is_not(None)),
            )
            .order_by(Repair.id)
            .limit(CHUNK)
            .with_for_update(skip_locked=True)
        )
    ).all()
    for repair_id in silent:
        await take_step(session, act=Act.LAPSE, person_id=None, repair=repair_id, now=now)
    return len(silent)

"""What time alone does to repairs: late ones are escalated, silent ones end."""

from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.repairs.journal import News, record_event
from core.repairs.models import Repair
from core.repairs.promises import SILENCE
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

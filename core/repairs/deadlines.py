"""What time alone does to repairs: late ones are escalated, silent ones end."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.repairs.announcements import Audience, News, redraw, tell
from core.repairs.journal import record_event
from core.repairs.models import Repair
from core.repairs.promises import ACCEPT_WITHIN, SILENCE
from core.repairs.service import take_step
from core.repairs.workflow import ENDED, UNCLAIMED, Act, State

CHUNK = 100


async def escalate_late(session: AsyncSession, *, now: datetime) -> int:
    """
    Mark repairs that nobody accepted in time or whose promise has passed, once for each breach.

    Managers and the technician are told; a new promise that is broken again is a new breach.
    Takes at most a hundred and returns how many.
    """

    def breached(moment: SQLColumnExpression[Any]) -> ColumnElement[bool]:
        return and_(moment <= now, or_(Repair.escalated_at.is_(None), Repair.escalated_at < moment))

    unaccepted = and_(Repair.state.in_(UNCLAIMED), breached(Repair.state_since + ACCEPT_WITHIN))
    late = (
        await session.scalars(
            select(Repair)
            .where(
                Repair.state.not_in({*ENDED, State.FIXED}),
                or_(unaccepted, breached(Repair.promised_at)),
            )
            .order_by(Repair.id)
            .limit(CHUNK)
            .with_for_update(skip_locked=True)
        )
    ).all()
    for repair in late:
        repair.escalated_at = now
        event = await record_event(session, repair=repair, kind="late", actor_id=None, now=now)
        await redraw(session, repair=repair, event=event, now=now)
        for to in (Audience.MANAGERS, Audience.TECHNICIAN):
            await tell(session, news=News.LATE, to=to, repair=repair, event=event, now=now)
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

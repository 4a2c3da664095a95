"""What people at home answer to a suspected leak, and what follows from it."""

from datetime import datetime

from sqlalchemy import Select, Text, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.monitoring import leaks
from core.monitoring.leak_rules import LeakKind
from core.monitoring.models import Leak, LeakAnswer, Meter
from core.monitoring.ranges import find_meters
from core.repairs.filing import lock_filing
from core.repairs.intake import file_repair
from core.repairs.journal import News, record_event
from core.repairs.models import Cause, Repair, RepairEvent
from core.repairs.service import take_step
from core.repairs.urgency import make_critical
from core.repairs.workflow import ENDED, Act, Party, may


async def answer_leak(
    session: AsyncSession, *, leak_id: int, person_id: int, answer: LeakAnswer, now: datetime
) -> Repair | None:
    """
    Keep an answer, and return the open repair of the leak, if there is or was one.

    Who needs help, or is away, gets it filed; a burst makes it critical. Who says then that the
    water was theirs closes it; once a technician is there, that one is told.

    Raises:
        LeakNotFound: there is none, it is over, or it is not at this person's home.
    """
    leak = await leaks.answer_leak(
        session, leak_id=leak_id, person_id=person_id, answer=answer, now=now
    )
    if answer is LeakAnswer.MINE:
        return await _withdraw(session, leak, person_id=person_id, now=now)
    (meter,) = await find_meters(session, Meter.id == leak.meter_id)
    repair, _ = await file_repair(
        session,
        service_point_id=meter.service_point_id,
        cause=Cause.LEAK,
        reporter_id=person_id,
        details={
            "leak": leak.id,
            "pattern": leak.kind,
            "rate": leak.rate,
            "since": leak.began_at.isoformat(),
        },
        now=now,
    )
    if leak.kind is LeakKind.BURST:
        await make_critical(session, repair, now=now)
    return repair


async def _withdraw(
    session: AsyncSession, leak: Leak, *, person_id: int, now: datetime
) -> Repair | None:
    """Close the repair that was filed for this leak alone, or tell on it whose the water was."""
    await lock_filing(session)
    repair = await session.scalar(
        select(Repair)
        .where(Repair.id.in_(_noted(leak)), Repair.state.not_in(ENDED))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if repair is None:
        return None
    others = select(RepairEvent.id).where(
        RepairEvent.repair_id == repair.id,
        RepairEvent.details["leak"].astext != str(leak.id),
    )
    is_alone = await session.scalar(others.limit(1)) is None
    if is_alone and may(Act.CONFIRM, state=repair.state, parties=frozenset({Party.CUSTOMER})):
        repair.normal_at = now
        await session.flush()
        await take_step(session, act=Act.CONFIRM, person_id=person_id, repair=repair.id, now=now)
    else:
        await record_event(
            session, repair=repair, kind="mine", actor_id=person_id, now=now, news=[News.MINE]
        )
    return repair


def _noted(leak: Leak) -> Select[int]:
    return select(RepairEvent.repair_id).where(RepairEvent.details["leak"].astext == str(leak.id))


async def find_open_leak(session: AsyncSession, *, repair_id: int) -> int | None:
    """Return the leak that is noted on a repair and is not over."""
    leak_id: int | None = await session.scalar(
        select(func.max(Leak.id))
        .join(RepairEvent, RepairEvent.details["leak"].astext == cast(Leak.id, Text))
        .where(RepairEvent.repair_id == repair_id, Leak.ended_at.is_(None))
    )
    return leak_id

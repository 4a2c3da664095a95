"""What people at home answer to a suspected leak, and what follows from it."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from core.monitoring import leaks
from core.monitoring.models import LeakAnswer, Meter
from core.monitoring.ranges import find_meters
from core.repairs.intake import file_repair
from core.repairs.models import Cause, Repair


async def answer_leak(
    session: AsyncSession, *, leak_id: int, person_id: int, answer: LeakAnswer, now: datetime
) -> Repair | None:
    """
    Keep an answer; who needs help, or is away, gets a repair filed for the leak.

    Raises:
        LeakNotFound: there is none, it is over, or it is not at this person's home.
    """
    leak = await leaks.answer_leak(
        session, leak_id=leak_id, person_id=person_id, answer=answer, now=now
    )
    if answer is LeakAnswer.MINE:
        return None
    (meter,) = await find_meters(session, Meter.id == leak.meter_id)
    repair, _ = await file_repair(
        session,
        service_point_id=meter.service_point_id,
        cause=Cause.LEAK,
        reporter_id=person_id,
        now=now,
    )
    return repair

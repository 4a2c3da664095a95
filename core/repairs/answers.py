"""What a customer says of an incident is said of their own home; all homes together close it."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.repairs.access import list_own_points
from core.repairs.evidence import find_measured
from core.repairs.intake import file_repair
from core.repairs.journal import record_event
from core.repairs.models import Cause, Follower, Repair, RepairEvent
from core.repairs.workflow import Act


async def answer_for_home(
    session: AsyncSession,
    repair: Repair,
    act: Act,
    person_id: int | None,
    *,
    words: str,
    now: datetime,
) -> tuple[Repair, bool] | None:
    """
    Take a customer's yes or no about an incident for their own homes.

    A no from a home whose meter is normal is about that home: a repair of its own is filed. The
    caller holds the filing. Returns the repair that the customer sees next and whether anything
    changed; nothing, if the act moves the repair itself: any other act, the last yes, or a no that
    a meter confirms.
    """
    if repair.area_id is None or person_id is None or act not in {Act.CONFIRM, Act.DENY}:
        return None
    points = await list_own_points(session, repair=repair, person_id=person_id)
    measured = await find_measured(session, repair=repair, points=points, now=now)
    if act is Act.DENY and (measured is None or measured.is_abnormal):
        return None
    homes = (
        await session.scalars(
            select(Follower)
            .where(Follower.repair_id == repair.id, Follower.service_point_id.in_(points))
            .order_by(Follower.service_point_id)
        )
    ).all()
    unanswered = [home for home in homes if home.answered_at is None]
    if act is Act.DENY:
        known = None if unanswered else await _find_own(session, repair, person_id)
        if known is not None:
            return known, False
        home = (unanswered or homes)[0]
        return await _go_on(session, repair, home, person_id=person_id, words=words, now=now), True
    for home in unanswered:
        home.answered_at = now
    left = await session.scalar(
        select(func.count()).where(Follower.repair_id == repair.id, Follower.answered_at.is_(None))
    )
    if not left:
        return None
    if unanswered:
        await record_event(
            session,
            repair=repair,
            kind="home_confirm",
            actor_id=person_id,
            now=now,
            details={"text": words},
            customers_at=[home.service_point_id for home in unanswered],
        )
    return repair, bool(unanswered)


async def _find_own(session: AsyncSession, repair: Repair, person_id: int) -> Repair | None:
    """Return the repair of somebody's own home, if they said after the last fix that it goes on."""
    number = (
        select(RepairEvent.details["into"].astext)
        .where(
            RepairEvent.repair_id == repair.id,
            RepairEvent.kind == "home_deny",
            RepairEvent.actor_id == person_id,
            RepairEvent.at >= repair.fixed_at,
        )
        .order_by(RepairEvent.id.desc())
        .limit(1)
    )
    found: Repair | None = await session.scalar(
        select(Repair).where(Repair.number == number.scalar_subquery())
    )
    return found


async def _go_on(
    session: AsyncSession,
    repair: Repair,
    home: Follower,
    *,
    person_id: int,
    words: str,
    now: datetime,
) -> Repair:
    """File a repair for the one home where it is not over."""
    home.answered_at = now
    single, _ = await file_repair(
        session,
        service_point_id=home.service_point_id,
        cause=Cause.REPORTED,
        reporter_id=person_id,
        text=words,
        previous=repair.number,
        now=now,
    )
    await record_event(
        session,
        repair=repair,
        kind="home_deny",
        actor_id=person_id,
        now=now,
        details={"text": words, "into": single.number},
        customers_at=[home.service_point_id],
    )
    return single

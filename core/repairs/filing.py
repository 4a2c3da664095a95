"""A new repair under a new number; one transaction at a time files."""

from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core import numbers
from core.repairs.models import Cause, Follower, Repair
from core.repairs.promises import CHATTERING, REMEMBERED
from core.repairs.workflow import State


async def lock_filing(session: AsyncSession) -> None:
    """
    Let one transaction at a time look for an open repair and file one if there is none.

    The series of numbers is the lock: whoever files takes it anyway, and always first, so two
    that file cannot wait for each other. The unique indexes guard the rules in any case.
    """
    await numbers.take_numbers(session, prefix="R", count=0)


async def open_repair(
    session: AsyncSession,
    *,
    service_point_id: int,
    cause: Cause,
    now: datetime,
    area_id: int | None = None,
    reporter_id: int | None = None,
) -> Repair:
    """Return a new repair; the caller holds the filing and records how it began."""
    (number,) = await numbers.take_numbers(session, prefix="R")
    repair = Repair(
        number=number,
        service_point_id=service_point_id,
        area_id=area_id,
        cause=cause,
        state=State.NEW,
        state_since=now,
        reporter_id=reporter_id,
        filed_at=now,
        version=1,
        promise_moves=0,
        reopened_count=0,
    )
    session.add(repair)
    await session.flush()
    return repair


async def find_chattering(
    session: AsyncSession, *, service_point_id: int, cause: Cause, now: datetime
) -> Repair | None:
    """Return the repair of a home that ended for this cause so lately that it is not over."""
    found: Repair | None = await session.scalar(
        select(Repair)
        .where(
            Repair.service_point_id == service_point_id,
            Repair.area_id.is_(None),
            Repair.cause == cause,
            Repair.state.in_({State.CLOSED, State.CANCELLED}),
            Repair.closed_at > now - CHATTERING,
        )
        .order_by(Repair.id.desc())
        .limit(1)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return found


def reopen(repair: Repair, *, now: datetime) -> None:
    """Take back that a repair is fixed or over; nobody is at it and nothing is promised."""
    repair.state = State.REOPENED
    repair.state_since = now
    repair.technician_id = repair.fixed_at = repair.closed_at = repair.promised_at = None
    repair.version += 1
    repair.reopened_count += 1


async def find_previous(session: AsyncSession, *, repair: Repair) -> str | None:
    """Return the number of the repair that lately ended here for the same cause."""
    followed = select(Follower.repair_id).where(
        Follower.service_point_id == repair.service_point_id
    )
    number: str | None = await session.scalar(
        select(Repair.number)
        .where(
            or_(
                Repair.service_point_id == repair.service_point_id,
                Repair.id.in_(followed),
            ),
            Repair.cause == repair.cause,
            Repair.closed_at > repair.filed_at - REMEMBERED,
            Repair.state != State.MERGED,
        )
        .order_by(Repair.id.desc())
        .limit(1)
    )
    return number

"""Scheduled push messages: a text per language, an audience, a time, once or repeated."""

import calendar
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import areas
from core.accounts import service as accounts
from core.accounts.models import Service
from core.errors import DomainError
from core.notices import service as notices
from core.notices.models import Lane, PushSchedule, Repeat

TEXT_MAX = 2000


class ScheduleNotFound(DomainError):
    """There is no such schedule."""

    code = "schedule.not_found"


class ScheduleInThePast(DomainError):
    """A push that goes out once cannot be scheduled for the past."""

    code = "schedule.in_the_past"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleView:
    """A schedule as it stands; `next_at` is empty when nothing more will go out."""

    id: int
    name: str
    texts: Mapping[str, str]
    area_id: int
    service: Service | None
    first_at: datetime
    repeat: Repeat
    next_at: datetime | None
    paused_at: datetime | None
    people: int


def following(moment: datetime, *, repeat: Repeat, first_at: datetime, zone: ZoneInfo) -> datetime:
    """
    Return the next time after `moment`, at the same local time of day as the first.

    A monthly one whose day a month lacks goes out on that month's last day.
    """
    local = moment.astimezone(zone)
    first = first_at.astimezone(zone)
    if repeat is Repeat.MONTHLY:
        year, month = divmod(local.year * 12 + local.month, 12)
        day = min(first.day, calendar.monthrange(year, month + 1)[1])
        return first.replace(year=year, month=month + 1, day=day)
    days = {Repeat.DAILY: 1, Repeat.WEEKLY: 7}[repeat]
    # The first one's hour on the wall is kept, whatever a change of clocks did to this one.
    return datetime.combine(local.date() + timedelta(days=days), first.time(), tzinfo=zone)


async def create(
    session: AsyncSession,
    *,
    name: str,
    texts: Mapping[str, str],
    area_id: int,
    service: Service | None,
    at: datetime,
    repeat: Repeat,
    now: datetime,
) -> ScheduleView:
    """
    Schedule a push message.

    Raises:
        AreaNotFound: there is no such area.
        ScheduleInThePast: it is to go out once, at a time that has passed.
    """
    await areas.get_area(session, area_id=area_id)
    if at < now and repeat is Repeat.ONCE:
        raise ScheduleInThePast(at=at)
    schedule = PushSchedule(
        name=name,
        texts=dict(texts),
        area_id=area_id,
        service=service,
        first_at=at,
        repeat=repeat,
        next_at=at,
        created_at=now,
    )
    session.add(schedule)
    await session.flush()
    return await _view(session, schedule)


async def list_schedules(session: AsyncSession) -> list[ScheduleView]:
    """Return all schedules that were not deleted, oldest first."""
    found = await session.scalars(
        select(PushSchedule).where(PushSchedule.deleted_at.is_(None)).order_by(PushSchedule.id)
    )
    return [await _view(session, schedule) for schedule in found]


async def set_paused(
    session: AsyncSession, *, schedule_id: int, paused: bool, now: datetime
) -> ScheduleView:
    """
    Pause a schedule or let it go on; what came due meanwhile is skipped.

    Raises:
        ScheduleNotFound: there is no such schedule.
    """
    schedule = await _lock(session, schedule_id)
    schedule.paused_at = now if paused else None
    if not paused:
        await _skip_to_future(session, schedule, now=now)
    return await _view(session, schedule)


async def delete(session: AsyncSession, *, schedule_id: int, now: datetime) -> None:
    """
    Delete a schedule; what it has sent stays on record.

    Raises:
        ScheduleNotFound: there is no such schedule.
    """
    schedule = await _lock(session, schedule_id)
    schedule.deleted_at = now


async def take_up_due(session: AsyncSession, *, now: datetime) -> int:
    """Queue what is due, each once however late, and set the next time. Return how many."""
    due = await session.scalars(
        select(PushSchedule)
        .where(
            PushSchedule.next_at <= now,
            PushSchedule.paused_at.is_(None),
            PushSchedule.deleted_at.is_(None),
        )
        .with_for_update(skip_locked=True)
    )
    count = 0
    for schedule in due:
        people = await accounts.list_audience(
            session, area_id=schedule.area_id, service=schedule.service
        )
        assert schedule.next_at is not None  # noqa: S101 (it was compared)
        await notices.enqueue(
            session,
            person_ids=people,
            kind="push.text",
            params={"schedule": schedule.id},
            dedupe_key=f"push:{schedule.id}:{schedule.next_at.isoformat()}",
            now=now,
            lane=Lane.BROADCAST,
        )
        await _skip_to_future(session, schedule, now=now)
        count += 1
    return count


async def _skip_to_future(session: AsyncSession, schedule: PushSchedule, *, now: datetime) -> None:
    zone = ZoneInfo((await accounts.get_operator(session)).timezone)
    while schedule.next_at is not None and schedule.next_at <= now:
        schedule.next_at = (
            None
            if schedule.repeat is Repeat.ONCE
            else following(
                schedule.next_at, repeat=schedule.repeat, first_at=schedule.first_at, zone=zone
            )
        )


async def _lock(session: AsyncSession, schedule_id: int) -> PushSchedule:
    schedule = await session.get(PushSchedule, schedule_id, with_for_update=True)
    if schedule is None or schedule.deleted_at is not None:
        raise ScheduleNotFound(schedule=schedule_id)
    return schedule


async def _view(session: AsyncSession, schedule: PushSchedule) -> ScheduleView:
    people = await accounts.list_audience(
        session, area_id=schedule.area_id, service=schedule.service
    )
    return ScheduleView(
        id=schedule.id,
        name=schedule.name,
        texts=schedule.texts,
        area_id=schedule.area_id,
        service=schedule.service,
        first_at=schedule.first_at,
        repeat=schedule.repeat,
        next_at=schedule.next_at,
        paused_at=schedule.paused_at,
        people=len(people),
    )

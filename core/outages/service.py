"""Outage notices: written once, shown to exactly the people whose supply comes that way."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts import areas
from core.accounts import service as accounts
from core.accounts.models import Contact, Role, Service
from core.errors import DomainError
from core.notices import service as notices
from core.notices.models import Lane
from core.numbers import take_numbers
from core.outages.models import (
    Outage,
    OutageKind,
    OutageRecipient,
    OutageState,
    OutageVersion,
)
from core.outages.queries import OutageNotFound, OutageView, card_of, view_of

REASON_MAX = 300
LASTS_MAX = timedelta(days=14)
# Warning that the law or the usual promise wants before planned work: electricity 7 days
# (电力供应与使用条例 art. 28), water 24 hours (城市供水条例 art. 22).
LEAD_TIME = {Service.ELECTRICITY: timedelta(days=7), Service.WATER: timedelta(hours=24)}


class OutageIsOver(DomainError):
    """The notice was ended or withdrawn."""

    code = "outage.is_over"


class OutageMovedOn(DomainError):
    """Somebody changed the notice since it was shown."""

    code = "outage.moved_on"


class NothingChanged(DomainError):
    """The notice says that already."""

    code = "outage.nothing_changed"


class EndsBeforeItStarts(DomainError):
    """The end is not after the start."""

    code = "outage.ends_before_it_starts"


class StartsInThePast(DomainError):
    """Planned work cannot begin in the past."""

    code = "outage.starts_in_the_past"


class LastsTooLong(DomainError):
    """The interruption would be longer than one notice covers."""

    code = "outage.lasts_too_long"


class NobodyAffected(DomainError):
    """Nobody gets this service through that area."""

    code = "outage.nobody_affected"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageDraft:
    """What a manager wants to tell."""

    service: Service
    kind: OutageKind
    area_id: int
    reason: str
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Whom a draft would reach, and whether it comes later than it should."""

    area_name: str
    people: int
    without_contact: int
    is_late: bool


def check(draft: OutageDraft, *, now: datetime) -> None:
    """
    Make sure that a draft can be told.

    Raises:
        EndsBeforeItStarts, StartsInThePast, LastsTooLong: the times cannot be meant.
    """
    if draft.ends_at <= draft.starts_at or draft.ends_at <= now:
        raise EndsBeforeItStarts(starts_at=draft.starts_at, ends_at=draft.ends_at)
    if draft.kind is OutageKind.PLANNED and draft.starts_at < now - timedelta(minutes=5):
        raise StartsInThePast(starts_at=draft.starts_at)
    if draft.ends_at - draft.starts_at > LASTS_MAX:
        raise LastsTooLong(days=LASTS_MAX.days)


async def preview(session: AsyncSession, *, draft: OutageDraft, now: datetime) -> Preview:
    """
    Return whom a draft would reach; nothing is told yet.

    Raises:
        NobodyAffected: nobody gets this service through the area.
    """
    check(draft, now=now)
    area = await areas.get_area(session, area_id=draft.area_id)
    people = await accounts.list_audience(session, area_id=draft.area_id, service=draft.service)
    if not people:
        raise NobodyAffected(area=area.full_name)
    reached = set(
        await session.scalars(select(Contact.person_id).where(Contact.person_id.in_(people)))
    )
    lead = draft.starts_at - now
    return Preview(
        area_name=area.full_name,
        people=len(people),
        without_contact=len(people) - len(reached),
        is_late=draft.kind is OutageKind.PLANNED and lead < LEAD_TIME[draft.service],
    )


async def announce(
    session: AsyncSession, *, draft: OutageDraft, actor_id: int | None, now: datetime
) -> OutageView:
    """
    Tell exactly the people affected, who are frozen now, and the managers.

    Raises:
        NobodyAffected: nobody gets this service through the area.
    """
    await preview(session, draft=draft, now=now)
    (number,) = await take_numbers(session, prefix="N")
    outage = Outage(
        number=number,
        service=draft.service,
        kind=draft.kind,
        state=OutageState.ANNOUNCED,
        area_id=draft.area_id,
        reason=draft.reason,
        starts_at=draft.starts_at,
        ends_at=draft.ends_at,
        version=1,
        announced_at=now,
        announced_by_id=actor_id,
    )
    session.add(outage)
    await session.flush()
    people = await accounts.list_audience(session, area_id=draft.area_id, service=draft.service)
    session.add_all(OutageRecipient(outage_id=outage.id, person_id=person) for person in people)
    await _record(session, outage, actor_id=actor_id, now=now)
    return await view_of(session, outage)


async def change(
    session: AsyncSession,
    *,
    number: str,
    version: int | None,
    ends_at: datetime | None,
    reason: str | None,
    actor_id: int | None,
    now: datetime,
) -> OutageView:
    """
    Give a notice a new end time or reason; everybody's message is edited and says so.

    Raises:
        OutageNotFound, OutageIsOver, OutageMovedOn: it is not there, over, or was changed.
        NothingChanged: it says that already.
        EndsBeforeItStarts, LastsTooLong: the new end cannot be meant.
    """
    outage = await _lock_open(session, number=number, version=version)
    ends_at, reason = ends_at or outage.ends_at, reason or outage.reason
    has_new_end = ends_at != outage.ends_at
    if not has_new_end and reason == outage.reason:
        raise NothingChanged(number=number)
    if ends_at <= max(outage.starts_at, now):
        raise EndsBeforeItStarts(starts_at=outage.starts_at, ends_at=ends_at)
    if ends_at - outage.starts_at > LASTS_MAX:
        raise LastsTooLong(days=LASTS_MAX.days)
    outage.ends_at, outage.reason = ends_at, reason
    news = "changed" if has_new_end else "reason"
    return await _say_change(session, outage, news=news, actor_id=actor_id, now=now)


async def end(
    session: AsyncSession, *, number: str, version: int | None, actor_id: int | None, now: datetime
) -> OutageView:
    """
    End a notice: supply is back, or the work that never began is called off.

    Raises:
        OutageNotFound, OutageIsOver, OutageMovedOn: it is not there, over, or was changed.
    """
    outage = await _lock_open(session, number=number, version=version)
    begun = now >= outage.starts_at
    outage.state = OutageState.ENDED if begun else OutageState.WITHDRAWN
    outage.ended_at = now
    return await _say_change(session, outage, news=outage.state, actor_id=actor_id, now=now)


async def take_up_overruns(session: AsyncSession, *, now: datetime) -> None:
    """Tell managers once about each notice whose promised end has passed without word."""
    overdue = await session.scalars(
        select(Outage).where(Outage.state == OutageState.ANNOUNCED, Outage.ends_at < now)
    )
    managers = await accounts.list_staff(session, role=Role.MANAGER)
    for outage in overdue:
        await notices.enqueue(
            session,
            person_ids=managers,
            kind="outage.overrun",
            params={"number": outage.number},
            dedupe_key=f"outage-overrun:{outage.id}:{outage.version}",
            now=now,
            lane=Lane.URGENT,
        )


async def _lock_open(session: AsyncSession, *, number: str, version: int | None) -> Outage:
    outage = await session.scalar(select(Outage).where(Outage.number == number).with_for_update())
    if outage is None:
        raise OutageNotFound(number=number)
    if outage.state is not OutageState.ANNOUNCED:
        raise OutageIsOver(number=number)
    if version is not None and outage.version != version:
        raise OutageMovedOn(number=number)
    return outage


async def _record(
    session: AsyncSession, outage: Outage, *, actor_id: int | None, now: datetime
) -> None:
    """Keep what the notice says now, and have everybody's card drawn again."""
    session.add(
        OutageVersion(
            outage_id=outage.id,
            version=outage.version,
            at=now,
            actor_id=actor_id,
            starts_at=outage.starts_at,
            ends_at=outage.ends_at,
            reason=outage.reason,
            state=outage.state,
        )
    )
    audit.record(
        session,
        at=now,
        actor_id=actor_id,
        action=f"outage.{outage.state}",
        subject=f"outage:{outage.number}",
        version=outage.version,
        ends_at=outage.ends_at.isoformat(),
    )
    await session.flush()
    people = await _people_of(session, outage)
    managers = await accounts.list_staff(session, role=Role.MANAGER)
    await notices.refresh_card(
        session,
        person_ids={*people, *managers},
        kind="outage.card",
        params={"outage": outage.id},
        card=card_of(outage.id),
        version=outage.version,
        now=now,
        lane=Lane.URGENT if outage.kind is OutageKind.EMERGENCY else Lane.BROADCAST,
    )


async def _say_change(
    session: AsyncSession, outage: Outage, *, news: str, actor_id: int | None, now: datetime
) -> OutageView:
    """An edited message makes no sound, so a change is also said in a short new one."""
    outage.version += 1
    await _record(session, outage, actor_id=actor_id, now=now)
    await notices.enqueue(
        session,
        person_ids=await _people_of(session, outage),
        kind="outage.news",
        params={"outage": outage.id, "version": outage.version, "news": news},
        dedupe_key=f"outage-news:{outage.id}:{outage.version}",
        now=now,
        lane=Lane.URGENT,
    )
    return await view_of(session, outage)


async def _people_of(session: AsyncSession, outage: Outage) -> list[int]:
    return list(
        await session.scalars(
            select(OutageRecipient.person_id).where(OutageRecipient.outage_id == outage.id)
        )
    )

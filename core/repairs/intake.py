"""How repairs begin: by an alarm, by a customer's words; one open repair per place and cause."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import service as accounts
from core.accounts.models import ServicePoint
from core.errors import DomainError
from core.monitoring.models import Alarm, Meter, Quantity
from core.monitoring.ranges import SWITCHED_OFF
from core.repairs import incidents
from core.repairs.access import is_about
from core.repairs.filing import find_chattering, find_previous, lock_filing, open_repair, reopen
from core.repairs.journal import News, record_event
from core.repairs.models import Cause, Repair, RepairEvent
from core.repairs.promises import CHATTERING
from core.repairs.workflow import ENDED, UNCLAIMED, State

CHUNK = 100
SWITCH = "switch"


class NothingReported(DomainError):
    """A report needs words or a photo."""

    code = "repair.nothing_reported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """Where a report went: a new repair, or the open one of the same place."""

    repair_id: int
    number: str
    is_new: bool


async def take_up_alarms(session: AsyncSession, *, now: datetime) -> int:
    """
    File or feed a repair for every alarm, and note on it when the meter is back to normal.

    Takes at most a hundred alarms, skipping those that somebody else is at; returns how many,
    so that the caller comes back while there are more. A voltage that became normal while the
    supply is cut off counts once it is back: before, nobody can say that all is well.
    """
    is_dark = (Alarm.quantity == Quantity.VOLTAGE) & ServicePoint.supply.in_(SWITCHED_OFF)
    is_over = Alarm.ended_at.is_not(None) & ~is_dark
    rows = (
        await session.execute(
            select(Alarm, Meter.service_point_id, is_over)
            .join(Meter, Meter.id == Alarm.meter_id)
            .join(ServicePoint, ServicePoint.id == Meter.service_point_id)
            .where(
                or_(Alarm.taken_up_at.is_(None), is_over & Alarm.end_taken_up_at.is_(None)),
            )
            .order_by(Alarm.id)
            .limit(CHUNK)
            .with_for_update(of=Alarm, skip_locked=True)
        )
    ).all()
    if not rows:
        return 0
    await lock_filing(session)
    begun = [(alarm, point) for alarm, point, _ in rows if alarm.taken_up_at is None]
    followed = await incidents.take_up_begins(session, begun, now=now)
    # In the order of the alarms, begin and end together: the next alarm of a meter comes after
    # the end of the one before.
    for alarm, service_point_id, has_ended in rows:
        if alarm.taken_up_at is None:
            if alarm.id not in followed:
                await _take_up_begin(
                    session, alarm=alarm, service_point_id=service_point_id, now=now
                )
            alarm.taken_up_at = now
        if has_ended:
            await _take_up_end(session, alarm=alarm, now=now)
            alarm.end_taken_up_at = now
    ended = [alarm.id for alarm, _, has_ended in rows if has_ended]
    await incidents.take_up_ends(session, alarm_ids=ended, now=now)
    await session.flush()
    return len(rows)


async def _take_up_begin(
    session: AsyncSession, *, alarm: Alarm, service_point_id: int, now: datetime
) -> None:
    cause = incidents.CAUSE_OF[alarm.quantity, alarm.side]
    ended = await find_chattering(session, service_point_id=service_point_id, cause=cause, now=now)
    repair, is_new = await _find_or_open(
        session, service_point_id=service_point_id, cause=cause, now=now, ended=ended
    )
    kind, news = "alarm", []
    if is_new:
        kind = "filed"
    elif repair is ended:
        kind, news = "recurred", [News.RECURRED, News.OFFERED]
    elif repair.state is State.FIXED:
        kind, news = "contradicted", [News.CONTRADICTED]
    is_free = kind in {"filed", "recurred"}
    repair.alarm_id = alarm.id
    repair.normal_at = None
    await record_event(
        session,
        repair=repair,
        kind=kind,
        actor_id=None,
        now=now,
        state=repair.state if is_free else None,
        details={
            "alarm_id": alarm.id,
            "quantity": alarm.quantity,
            "value": alarm.worst,
            "previous": await find_previous(session, repair=repair) if is_new else None,
        },
        news=news,
        is_offer=is_free,
    )


async def _take_up_end(session: AsyncSession, *, alarm: Alarm, now: datetime) -> None:
    repair = await session.scalar(
        _open_repairs().where(Repair.alarm_id == alarm.id, Repair.area_id.is_(None))
    )
    if repair is None:
        return
    repair.normal_at = alarm.ended_at
    asked = select(RepairEvent.id).where(
        RepairEvent.repair_id == repair.id,
        RepairEvent.kind == "normal",
        RepairEvent.at > now - CHATTERING,
    )
    is_asked = await session.scalar(asked.limit(1)) is not None
    await record_event(
        session,
        repair=repair,
        kind="normal",
        actor_id=None,
        now=now,
        details={"alarm_id": alarm.id, "quantity": alarm.quantity, "value": alarm.end_value},
        news=[News.NORMAL] if repair.state in UNCLAIMED and not is_asked else [],
    )


async def note_answering(
    session: AsyncSession, *, service_point_id: int, taken_at: datetime, now: datetime
) -> None:
    """Note on the repair of a valve or switch, if one is open, that it has obeyed after all."""
    stuck = _open_repairs().where(
        Repair.service_point_id == service_point_id,
        Repair.cause == Cause.SUPPLY_SWITCH,
        Repair.normal_at.is_(None),
    )
    repair = await session.scalar(stuck)
    if repair is None:
        return
    repair.normal_at = taken_at
    await record_event(
        session,
        repair=repair,
        kind="normal",
        actor_id=None,
        now=now,
        details={"quantity": SWITCH},
        news=[News.NORMAL] if repair.state in UNCLAIMED else [],
    )


async def ask_again(session: AsyncSession, *, service_point_id: int, now: datetime) -> None:
    """Ask what nobody could say in the dark: supply is back, is all well that is said to be?"""
    repairs = await session.scalars(
        select(Repair)
        .where(
            Repair.service_point_id == service_point_id,
            Repair.area_id.is_(None),
            Repair.state == State.FIXED,
        )
        .order_by(Repair.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    for repair in repairs.all():
        await record_event(
            session, repair=repair, kind="supplied", actor_id=None, now=now, news=[News.FIXED]
        )


async def report(
    session: AsyncSession,
    *,
    person_id: int,
    service_point_id: int,
    text: str,
    photo_ref: str,
    now: datetime,
) -> Reported:
    """
    File a repair in a customer's own words, or add them to the one that is open at this place.

    Raises:
        NothingReported: there are neither words nor a photo.
        AccountNotFound: the place is not this person's.
    """
    if not text and not photo_ref:
        raise NothingReported
    await accounts.get_place_of(session, person_id=person_id, service_point_id=service_point_id)
    await lock_filing(session)
    repair = await session.scalar(_open_repairs().where(is_about(service_point_id)))
    is_new = repair is None
    if repair is not None:
        await add_words(
            session, repair=repair, person_id=person_id, text=text, photo_ref=photo_ref, now=now
        )
    else:
        repair, _ = await file_repair(
            session,
            service_point_id=service_point_id,
            cause=Cause.REPORTED,
            reporter_id=person_id,
            text=text,
            photo_ref=photo_ref,
            now=now,
        )
    return Reported(repair_id=repair.id, number=repair.number, is_new=is_new)


async def file_repair(
    session: AsyncSession,
    *,
    service_point_id: int,
    cause: Cause,
    now: datetime,
    reporter_id: int | None = None,
    text: str = "",
    photo_ref: str = "",
    previous: str | None = None,
    details: Mapping[str, object] | None = None,
) -> tuple[Repair, RepairEvent]:
    """
    File a repair for a cause that no alarm tells of, or note it on the one that is open for it.

    Whoever it concerns is told in the same transaction, under the same number. `previous` is the
    number of what it continues; `details` are noted with it.
    """
    repair, is_new = await _find_or_open(
        session, service_point_id=service_point_id, cause=cause, now=now, reporter_id=reporter_id
    )
    if cause is Cause.SUPPLY_SWITCH:
        repair.normal_at = None  # it is stuck again
    event = await record_event(
        session,
        repair=repair,
        kind="filed" if is_new else "comment",
        actor_id=reporter_id,
        now=now,
        state=State.NEW if is_new else None,
        photo_ref=photo_ref,
        details={
            "text": text,
            "previous": previous or (await find_previous(session, repair=repair) if is_new else ""),
            **(details or {}),
        },
        is_offer=is_new,
    )
    return repair, event


async def add_words(
    session: AsyncSession,
    *,
    repair: Repair,
    person_id: int,
    text: str,
    photo_ref: str,
    now: datetime,
    news: Sequence[News] = (),
) -> None:
    """Add somebody's words or photo to a repair; they reach its technician as a message."""
    await record_event(
        session,
        repair=repair,
        kind="comment",
        actor_id=person_id,
        now=now,
        photo_ref=photo_ref,
        details={"text": text},
        news=[News.WORDS, *news],
    )


async def _find_or_open(
    session: AsyncSession,
    *,
    service_point_id: int,
    cause: Cause,
    now: datetime,
    reporter_id: int | None = None,
    ended: Repair | None = None,
) -> tuple[Repair, bool]:
    """Return the open repair of a cause, else the `ended` one opened again, else a new one."""
    await lock_filing(session)
    found = await session.scalar(
        _open_repairs().where(
            Repair.service_point_id == service_point_id,
            Repair.area_id.is_(None),
            Repair.cause == cause,
        )
    )
    if found is not None:
        return found, False
    if ended is not None:
        reopen(ended, now=now)
        return ended, False
    repair = await open_repair(
        session, service_point_id=service_point_id, cause=cause, now=now, reporter_id=reporter_id
    )
    return repair, True


def _open_repairs() -> Select[Repair]:
    """Select the newest open repair, locked, as it stands now."""
    return (
        select(Repair)
        .where(Repair.state.not_in(ENDED))
        .order_by(Repair.id.desc())
        .limit(1)
        .with_for_update()
        .execution_options(populate_existing=True)
    )

"""While nobody is at home: any use of water is told, and at the end whether there was any."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import service as accounts
from core.accounts.models import Service
from core.db import lock_for_transaction
from core.errors import DomainError
from core.monitoring.leak_rules import HOUR, Finding, LeakKind, Span, find_spells
from core.monitoring.leaks import begin_leak, load_spans
from core.monitoring.models import Leak, Meter, Reading, ReadingStatus, Source, Vacation
from core.monitoring.ranges import MeterFacts, find_meters
from core.monitoring.service import TOTAL, MeterNotFound, find_meter_of
from core.notices import service as notices
from core.notices.models import Lane
from core.periods import local_day, start_of_day

CHUNK = 100
EVERY = timedelta(minutes=1)
DAYS_MAX = 92
# A meter that has told nothing for so long, and for twice its usual pause, is silent.
SILENT_AFTER = timedelta(hours=6)
LAST_WORD_AFTER = timedelta(hours=8)  # the last readings are in, and nobody is woken


class DayNotPossible(DomainError):
    """The day has passed, or is months away."""

    code = "vacation.day_not_possible"


class VacationNotFound(DomainError):
    """No such watch is this person's, or it is over."""

    code = "vacation.not_found"


class Watched(NamedTuple):
    """
    What a watch has seen: the use since its beginning, and the latest reading.

    Units: `used` m³; nothing if the meter has not told of any time within the watch.
    """

    used: Decimal | None
    heard_at: datetime | None
    is_silent: bool


async def begin_vacation(
    session: AsyncSession, *, person_id: int, meter_id: int, until: date, now: datetime
) -> tuple[Vacation, Watched]:
    """
    Watch a water meter for somebody until the end of a day, or until another day than before.

    Raises:
        MeterNotFound: there is no such water meter, or it is not theirs.
        DayNotPossible: the day has passed, or is more than three months away.
    """
    meter = await find_meter_of(session, person_id=person_id, meter_id=meter_id)
    if meter.service is not Service.WATER:
        raise MeterNotFound
    today = local_day(now, zone=await _zone(session))
    if not today <= until <= today + timedelta(days=DAYS_MAX):
        raise DayNotPossible(day=until)
    await lock_for_transaction(session, f"vacation:{meter_id}:{person_id}")
    vacation = await find_vacation(session, person_id=person_id, meter_id=meter_id)
    if vacation is None:
        vacation = Vacation(
            meter_id=meter_id,
            person_id=person_id,
            begins_at=now,
            told_until=now,
            looked_at=now,
        )
        session.add(vacation)
    vacation.until_date = until
    await session.flush()
    return vacation, await _look(session, vacation, meter, now=now)


async def find_vacation(session: AsyncSession, *, person_id: int, meter_id: int) -> Vacation | None:
    """Return the watch over a meter that goes on for somebody."""
    found: Vacation | None = await session.scalar(
        select(Vacation).where(
            Vacation.person_id == person_id,
            Vacation.meter_id == meter_id,
            Vacation.ended_at.is_(None),
        )
    )
    return found


async def end_vacation(
    session: AsyncSession, *, person_id: int, vacation_id: int, now: datetime
) -> tuple[MeterFacts, Watched]:
    """
    End a watch before its day; return the meter and what was seen.

    Raises:
        VacationNotFound: there is none, it is over, or somebody else's.
    """
    vacation = await session.get(Vacation, vacation_id, with_for_update=True)
    if vacation is None or vacation.ended_at is not None or vacation.person_id != person_id:
        raise VacationNotFound
    (meter,) = await find_meters(session, Meter.id == vacation.meter_id)
    watched = await _look(session, vacation, meter, now=now)
    vacation.ended_at = now
    await session.flush()
    return meter, watched


async def watch_vacations(session: AsyncSession, *, now: datetime) -> int:
    """
    Tell those who are away of new use, of a silent meter, and at the end what there was.

    A spell of use is told once. Takes at most `CHUNK` watches, those first that were looked at
    longest ago; returns how many.
    """
    zone = await _zone(session)
    due = (
        await session.scalars(
            select(Vacation)
            .where(Vacation.ended_at.is_(None), Vacation.looked_at <= now - EVERY)
            .order_by(Vacation.looked_at)
            .limit(CHUNK)
            .with_for_update(skip_locked=True)
        )
    ).all()
    meters = {
        meter.id: meter
        for meter in await find_meters(session, Meter.id.in_([each.meter_id for each in due]))
    }
    for vacation in due:
        vacation.looked_at = now
        meter = meters[vacation.meter_id]
        people = await accounts.list_people_at(session, service_point_ids=[meter.service_point_id])
        if vacation.person_id not in people:  # it is no longer their home
            vacation.ended_at = now
            continue
        ends_at = start_of_day(vacation.until_date + timedelta(days=1), zone=zone)
        await _tell_use(session, vacation, meter, until=min(now, ends_at))
        watched = await _look(session, vacation, meter, now=min(now, ends_at))
        if now >= ends_at + LAST_WORD_AFTER:
            vacation.ended_at = now
            await _tell(session, vacation, watched, kind="vacation.over", now=now)
        elif watched.is_silent and now < ends_at:
            await _tell(session, vacation, watched, kind="vacation.silent", now=now)
    await session.flush()
    return len(due)


async def _zone(session: AsyncSession) -> ZoneInfo:
    return ZoneInfo((await accounts.get_operator(session)).timezone)


async def _spans(
    session: AsyncSession, vacation: Vacation, meter: MeterFacts, until: datetime
) -> list[Span]:
    since = vacation.begins_at - HOUR
    found = await load_spans(session, {meter.id: meter}, since=since, now=until)
    return [span for span in found.get(meter.id, []) if span.starts >= vacation.begins_at]


async def _look(
    session: AsyncSession, vacation: Vacation, meter: MeterFacts, *, now: datetime
) -> Watched:
    spans = await _spans(session, vacation, meter, now)
    used = sum((span.used for span in spans), Decimal(0)) if spans else None
    heard = (
        await session.scalars(
            select(Reading.taken_at)
            .where(
                Reading.meter_id == meter.id,
                Reading.register == TOTAL,
                Reading.taken_at <= now,
                Reading.status == ReadingStatus.ACCEPTED,
                Reading.source != Source.ESTIMATE,
            )
            .order_by(Reading.taken_at.desc())
            .limit(2)
        )
    ).all()
    pause = 2 * (heard[0] - heard[1]) if len(heard) > 1 else SILENT_AFTER
    is_silent = not heard or now - heard[0] > max(SILENT_AFTER, pause)
    return Watched(used=used, heard_at=heard[0] if heard else None, is_silent=is_silent)


async def _tell_use(
    session: AsyncSession, vacation: Vacation, meter: MeterFacts, *, until: datetime
) -> None:
    spans = await _spans(session, vacation, meter, until)
    spells = find_spells(spans, since=vacation.begins_at, until=until)
    fresh = [spell for spell in spells if spell.starts >= vacation.told_until]
    if spells:
        vacation.told_until = max(vacation.told_until, spells[-1].ends)
    if not fresh or await _is_told(session, meter, fresh[0].starts):
        return
    whole = Span(
        starts=fresh[0].starts,
        ends=fresh[-1].ends,
        used=sum((spell.used for spell in fresh), Decimal(0)),
    )
    found = Finding(kind=LeakKind.WHILE_AWAY, began_at=whole.starts, rate=whole.rate)
    await begin_leak(
        session,
        meter,
        found,
        now=vacation.looked_at,
        used=str(whole.used),
        until=whole.ends.isoformat(),
    )


async def _is_told(session: AsyncSession, meter: MeterFacts, began_at: datetime) -> bool:
    """Tell whether a leak is known already, or this use was told with another watch."""
    told = await session.scalar(
        select(Leak.id).where(
            Leak.meter_id == meter.id,
            or_(
                Leak.ended_at.is_(None) & (Leak.kind != LeakKind.WHILE_AWAY),
                (Leak.kind == LeakKind.WHILE_AWAY) & (Leak.began_at == began_at),
            ),
        )
    )
    return told is not None


async def _tell(
    session: AsyncSession, vacation: Vacation, watched: Watched, *, kind: str, now: datetime
) -> None:
    heard_at = None if watched.heard_at is None else watched.heard_at.isoformat()
    await notices.enqueue(
        session,
        person_ids=[vacation.person_id],
        kind=kind,
        params={
            "meter_id": vacation.meter_id,
            "used": None if watched.used is None else str(watched.used),
            "heard_at": heard_at,
            "is_silent": watched.is_silent,
            "is_over": vacation.ended_at is not None,
        },
        dedupe_key=f"{kind}:{vacation.id}" + (f":{heard_at}" if kind == "vacation.silent" else ""),
        now=now,
        lane=Lane.NOTICE,
    )

"""Suspected leaks: looked for every hour, told to the people at home, ended by what is measured."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby, pairwise
from zoneinfo import ZoneInfo

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import service as accounts
from core.accounts.models import Premise, Role, Service, ServicePoint, Supply
from core.errors import DomainError
from core.monitoring.leak_rules import HOUR, LOOK_BACK, Finding, LeakKind, Span, find_leak, is_over
from core.monitoring.models import (
    Leak,
    LeakAnswer,
    LeakLook,
    Meter,
    Reading,
    ReadingStatus,
    Source,
    Vacation,
)
from core.monitoring.ranges import MeterFacts, find_meters
from core.monitoring.registers import advance
from core.monitoring.service import TOTAL
from core.notices import service as notices
from core.notices.models import Lane

CHUNK = 200
LEARNT_FOR = timedelta(days=90)


class LeakNotFound(DomainError):
    """No such leak is this person's to answer, or it is over."""

    code = "leak.not_found"


async def look_for_leaks(session: AsyncSession, *, now: datetime) -> int:
    """
    Look at the use of water meters that were not looked at for an hour; return how many.

    A leak is told once; it ends when a measurement shows that it stopped. Takes at most `CHUNK`
    meters, so that the caller comes back; two that look at once take different ones.
    """
    meters = await _take_meters(session, now)
    if not meters:
        return 0
    zone = ZoneInfo((await accounts.get_operator(session)).timezone)
    spans = await load_spans(session, meters, since=now - LOOK_BACK - 2 * HOUR, now=now)
    learnt = await _load_learnt(session, meters, now=now)
    leaks = await session.scalars(
        select(Leak).where(Leak.meter_id.in_(list(meters)), Leak.ended_at.is_(None))
    )
    running = {leak.meter_id: leak for leak in leaks}
    stopped = await _load_stopped(session, meters, now=now)
    for meter in meters.values():
        used = spans.get(meter.id, [])
        leak = running.get(meter.id)
        is_away = leak is not None and leak.kind is LeakKind.WHILE_AWAY
        if leak is None or is_away:
            since = stopped.get(meter.id)
            fresh = [span for span in used if since is None or span.ends > since]
            found = find_leak(fresh, now=now, zone=zone, learnt=learnt.get(meter.id, Decimal(0)))
            if found is not None:
                await begin_leak(session, meter, found, now=now)
                continue
        if leak is None:
            continue
        since = leak.began_at if is_away else leak.found_at
        if is_over(leak.kind, used, since=since, zone=zone):
            leak.ended_at = now
            await _tell(session, leak, meter, kind="leak.over", now=now)
    return len(meters)


async def _take_meters(session: AsyncSession, now: datetime) -> dict[int, MeterFacts]:
    taken = await session.scalars(
        select(Meter.id)
        .join(ServicePoint, ServicePoint.id == Meter.service_point_id)
        .outerjoin(LeakLook, LeakLook.meter_id == Meter.id)
        .where(
            Meter.removed_at.is_(None),
            Meter.master_of_id.is_(None),  # somebody in a building always draws
            ServicePoint.service == Service.WATER,
            ServicePoint.supply == Supply.CONNECTED,
            or_(LeakLook.looked_at.is_(None), LeakLook.looked_at <= now - HOUR),
        )
        .order_by(Meter.id)
        .limit(CHUNK)
        .with_for_update(of=Meter, key_share=True, skip_locked=True)
    )
    ids = taken.all()
    if not ids:
        return {}
    await session.execute(
        insert(LeakLook)
        .values([{"meter_id": meter_id, "looked_at": now} for meter_id in ids])
        .on_conflict_do_update(index_elements=["meter_id"], set_={"looked_at": now})
    )
    return {meter.id: meter for meter in await find_meters(session, Meter.id.in_(ids))}


async def load_spans(
    session: AsyncSession, meters: Mapping[int, MeterFacts], *, since: datetime, now: datetime
) -> dict[int, list[Span]]:
    """Return what went through each meter; estimates and held readings are left out."""
    rows = await session.execute(
        select(Reading.meter_id, Reading.taken_at, Reading.value)
        .where(
            Reading.meter_id.in_(list(meters)),
            Reading.register == TOTAL,
            Reading.taken_at > since,
            Reading.taken_at <= now,
            Reading.status == ReadingStatus.ACCEPTED,
            Reading.source != Source.ESTIMATE,
        )
        .order_by(Reading.meter_id, Reading.taken_at)
    )
    return {
        meter_id: list(_spans(meters[meter_id], list(group)))
        for meter_id, group in groupby(rows, key=lambda row: row.meter_id)
    }


def _spans(meter: MeterFacts, rows: Sequence[tuple[int, datetime, Decimal]]) -> Iterable[Span]:
    for (_, starts, before), (_, ends, after) in pairwise(rows):
        used = advance(before, after, digits=meter.digits)
        if used is not None:
            yield Span(starts=starts, ends=ends, used=used * meter.multiplier)


async def _load_learnt(
    session: AsyncSession, meters: Iterable[int], *, now: datetime
) -> dict[int, Decimal]:
    """Return the flow that people declared to be theirs, by meter. Units: m³/h."""
    rows = await session.execute(
        select(Leak.meter_id, func.max(Leak.rate))
        .where(
            Leak.meter_id.in_(list(meters)),
            Leak.kind != LeakKind.WHILE_AWAY,  # what a guest drew is nothing that goes on
            Leak.answer == LeakAnswer.MINE,
            Leak.answered_at > now - LEARNT_FOR,
        )
        .group_by(Leak.meter_id)
    )
    return {meter_id: rate for meter_id, rate in rows if rate is not None}


async def _load_stopped(
    session: AsyncSession, meters: Iterable[int], *, now: datetime
) -> dict[int, datetime]:
    """Return when a slow leak was over lately, by meter: what ran before accuses nobody again."""
    rows = await session.execute(
        select(Leak.meter_id, func.max(Leak.ended_at))
        .where(
            Leak.meter_id.in_(list(meters)),
            Leak.kind.not_in([LeakKind.BURST, LeakKind.WHILE_AWAY]),
            Leak.answer.is_distinct_from(LeakAnswer.MINE),
            Leak.ended_at > now - LOOK_BACK,
        )
        .group_by(Leak.meter_id)
    )
    return {meter_id: ended_at for meter_id, ended_at in rows if ended_at is not None}


async def begin_leak(
    session: AsyncSession, meter: MeterFacts, found: Finding, *, now: datetime, **more: str
) -> None:
    """Keep and tell a finding, with more for its words; what a home's absence told ends by it."""
    await session.execute(
        update(Leak)
        .where(
            Leak.meter_id == meter.id,
            Leak.kind == LeakKind.WHILE_AWAY,
            Leak.ended_at.is_(None),
        )
        .values(ended_at=now)
    )
    leak = Leak(
        meter_id=meter.id,
        kind=found.kind,
        rate=found.rate.quantize(Decimal("0.0001")),
        began_at=found.began_at,
        found_at=now,
    )
    session.add(leak)
    await session.flush()
    await _tell(session, leak, meter, kind="leak.found", now=now, **more)


async def _tell(
    session: AsyncSession, leak: Leak, meter: MeterFacts, *, kind: str, now: datetime, **more: str
) -> None:
    await notices.enqueue(
        session,
        person_ids=await _list_told(session, leak, meter),
        kind=kind,
        params={"leak": leak.id, **more},
        dedupe_key=f"{kind}:{leak.id}",
        now=now,
        lane=Lane.URGENT if leak.kind is LeakKind.BURST else Lane.NOTICE,
    )


async def _list_told(session: AsyncSession, leak: Leak, meter: MeterFacts) -> set[int]:
    """Return the people at home; of an absence only those hear who asked to."""
    at_home = set(
        await accounts.list_people_at(session, service_point_ids=[meter.service_point_id])
    )
    if leak.kind is LeakKind.WHILE_AWAY:
        asked = await session.scalars(
            select(Vacation.person_id).where(
                Vacation.meter_id == meter.id,
                Vacation.begins_at <= leak.found_at,
                or_(Vacation.ended_at.is_(None), Vacation.ended_at >= leak.found_at),
            )
        )
        return at_home & set(asked)
    if leak.kind is LeakKind.BURST:
        at_home.update(await accounts.list_staff(session, role=Role.MANAGER))
    return at_home


async def get_leak(session: AsyncSession, *, leak_id: int) -> tuple[Leak, str]:
    """Return a leak and the address of the place, for a message that was decided before."""
    row = await session.execute(
        select(Leak, Premise.address)
        .join(Meter, Meter.id == Leak.meter_id)
        .join(ServicePoint, ServicePoint.id == Meter.service_point_id)
        .join(Premise, Premise.id == ServicePoint.premise_id)
        .where(Leak.id == leak_id)
    )
    leak, address = row.one()
    return leak, address


async def is_at_home(session: AsyncSession, *, leak: Leak, person_id: int) -> bool:
    """Tell whether somebody has a right on the place where a leak is suspected."""
    (meter,) = await find_meters(session, Meter.id == leak.meter_id)
    people = await accounts.list_people_at(session, service_point_ids=[meter.service_point_id])
    return person_id in people


async def answer_leak(
    session: AsyncSession, *, leak_id: int, person_id: int, answer: LeakAnswer, now: datetime
) -> Leak:
    """
    Keep what somebody at home says to a leak; what is theirs is over, and usual from now on.

    Raises:
        LeakNotFound: there is none, it is over, or it is not at this person's home.
    """
    leak = await session.get(Leak, leak_id, with_for_update=True)
    if leak is None or leak.ended_at is not None:
        raise LeakNotFound
    if not await is_at_home(session, leak=leak, person_id=person_id):
        raise LeakNotFound
    leak.answer, leak.answered_at, leak.answered_by_id = answer, now, person_id
    if answer is LeakAnswer.MINE:
        leak.ended_at = now
    await session.flush()
    return leak

"""What people do to a repair: each act checked, written down and told in one transaction."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Person, Role, ServicePoint, Staff
from core.errors import DomainError
from core.repairs import promises, workflow
from core.repairs.access import find_repair, list_parties
from core.repairs.answers import answer_for_home
from core.repairs.evidence import find_measured
from core.repairs.filing import lock_filing
from core.repairs.intake import add_words
from core.repairs.journal import NEWS_OF, News, record_event
from core.repairs.models import Cause, Follower, Repair, RepairEvent
from core.repairs.severity import Severity
from core.repairs.workflow import (
    ENDED,
    UNCLAIMED,
    UNDERWAY,
    Act,
    NotYourRepair,
    Party,
    Standing,
    State,
    StepNotPossible,
)


class Reason(StrEnum):
    """Why work waits or a promise moves."""

    PART = "part"
    ACCESS = "access"
    WEATHER = "weather"
    OTHER = "other"


class AlreadyClaimed(DomainError):
    """Another technician was faster."""

    code = "repair.already_claimed"


class RepairMovedOn(DomainError):
    """The button shows an earlier state of the repair."""

    code = "repair.moved_on"


class MeterStillAbnormal(DomainError):
    """The technician says it is fixed, the meter does not."""

    code = "repair.still_abnormal"


class NoSuchTechnician(DomainError):
    """The person to whom the job should go is no technician."""

    code = "repair.no_such_technician"


class NothingSaid(DomainError):
    """A comment needs words or a photo."""

    code = "repair.nothing_said"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What an act did; `changed` is false when it had been done before."""

    repair_id: int
    number: str
    changed: bool


async def take_step(
    session: AsyncSession,
    *,
    act: Act,
    person_id: int | None,
    repair: int | str,
    now: datetime,
    version: int | None = None,
    words: str = "",
    reason: Reason | None = None,
    promised_at: datetime | None = None,
    technician_id: int | None = None,
    despite_meter: bool = False,
) -> Done:
    """
    Do an act to a repair, given by id or number, and tell everybody whom it concerns.

    Locks the repair. An act that comes late or twice changes nothing. `version` comes from a
    button; typed commands have none. A wait needs `reason` and `promised_at`, an assignment
    `technician_id`; without a person the service itself acts. See also `answer_for_home`.

    Raises:
        RepairNotFound, RepairMovedOn: it is not visible, or the button is old.
        AlreadyClaimed: a claim, and another technician has the job.
        NotYourRepair, StepNotPossible: the workflow does not allow it.
        MeterStillAbnormal: fixed, but not by the meter, and `despite_meter` was not given.
        PromiseInThePast, PromiseTooFar: the promised time cannot be promised.
        NoSuchTechnician: the job was assigned to somebody who is none.
    """
    if act is Act.WAIT and (reason is None or promised_at is None):
        raise ValueError("a wait needs a reason and a promised time")
    found = await _lock(session, repair, act, person_id)
    if act is Act.CLAIM:
        technician_id = person_id
    parties = await list_parties(session, repair=found, person_id=person_id)
    latest = await _get_latest_step(session, found)
    just_did = latest.kind == act and latest.actor_id == person_id
    could = bool(workflow.RULES[act].by & parties)
    pressed_before = just_did and version == found.version - 1
    stands_there = _stands_there(found, act, technician_id, promised_at)
    if pressed_before or (stands_there and (could or just_did)):
        return _done(found, changed=False)  # late or twice: harmless
    _check_version(found, version)
    former = Standing(state=found.state, technician_id=found.technician_id)
    standing = workflow.advance(former, act=act, parties=parties, technician_id=technician_id)
    measured = await _weigh(session, found, act, despite_meter=despite_meter, now=now)
    answered = await answer_for_home(session, found, act, person_id, words=words, now=now)
    if answered is not None:
        return _done(answered[0], changed=answered[1])
    technician = ""
    if act in {Act.CLAIM, Act.ASSIGN}:
        technician = await _get_technician(session, technician_id)
        promised_at = await _keep_promise(session, found, now=now)
    if promised_at is not None:
        _set_promise(found, promised_at, now=now)
    await _write(session, found, act, standing, now=now)
    await record_event(
        session,
        repair=found,
        kind=act,
        actor_id=person_id,
        now=now,
        state=found.state,
        promised_at=promised_at,
        details={"text": words, "reason": reason, "technician": technician, **measured},
        news=NEWS_OF.get(act, ()),
        former_id=former.technician_id,
        is_offer=bool({former.state, found.state} & UNCLAIMED),
    )
    return _done(found, changed=True)


async def promise(
    session: AsyncSession,
    *,
    person_id: int,
    repair: int | str,
    reason: Reason,
    promised_at: datetime,
    version: int | None = None,
    words: str = "",
    now: datetime,
) -> Done:
    """
    Promise another time, with the reason; every change is kept and counted.

    Raises:
        PromiseInThePast, PromiseTooFar: the time cannot be promised.
        NotYourRepair: neither the technician nor a manager speaks.
        StepNotPossible: nobody is at work on it.
        RepairNotFound, RepairMovedOn: it is not visible, or the button is old.
    """
    found = await find_repair(session, repair, lock=True)
    parties = await list_parties(session, repair=found, person_id=person_id)
    if not parties & {Party.ASSIGNED, Party.MANAGER}:
        raise NotYourRepair
    if found.promised_at == promised_at:
        return _done(found, changed=False)
    _check_version(found, version)
    if found.state not in UNDERWAY:
        raise StepNotPossible
    _set_promise(found, promised_at, now=now)
    found.version += 1
    await record_event(
        session,
        repair=found,
        kind="promise",
        actor_id=person_id,
        now=now,
        promised_at=promised_at,
        details={"reason": reason, "text": words},
        news=[News.PROMISE],
    )
    return _done(found, changed=True)


async def comment(
    session: AsyncSession,
    *,
    person_id: int,
    repair: int | str,
    text: str = "",
    photo_ref: str = "",
    now: datetime,
) -> Done:
    """
    Add words or a photo, which everybody who sees the repair can read.

    They reach the technician as a message, and words of the staff the customers too. Of a merged
    repair they are added to what it goes on as.

    Raises:
        NothingSaid: there are neither words nor a photo.
        RepairNotFound: it is not visible to this person.
    """
    if not text and not photo_ref:
        raise NothingSaid
    found = await find_repair(session, repair, lock=True)
    parties = await list_parties(session, repair=found, person_id=person_id)
    if found.merged_into_id is not None:
        found = await find_repair(session, found.merged_into_id, lock=True)
    await add_words(
        session,
        repair=found,
        person_id=person_id,
        text=text,
        photo_ref=photo_ref,
        now=now,
        news=[News.ANSWER] if text and Party.CUSTOMER not in parties else [],
    )
    return _done(found, changed=True)


async def _refuse_claimed(session: AsyncSession, repair: Repair, person_id: int | None) -> None:
    """Name the winner to a technician who comes second; the job is no longer theirs to see."""
    if repair.state not in UNDERWAY or repair.technician_id == person_id:
        return
    if await session.get(Staff, (person_id, Role.TECHNICIAN)) is not None:
        winner = await session.get_one(Person, repair.technician_id)
        raise AlreadyClaimed(number=repair.number, name=winner.name)


async def _get_latest_step(session: AsyncSession, repair: Repair) -> RepairEvent:
    return (
        await session.scalars(
            select(RepairEvent)
            .where(RepairEvent.repair_id == repair.id, RepairEvent.state.is_not(None))
            .order_by(RepairEvent.id.desc())
            .limit(1)
        )
    ).one()


def _stands_there(
    repair: Repair, act: Act, technician_id: int | None, promised_at: datetime | None
) -> bool:
    """Tell whether a repair is already where an act would lead it."""
    match act:
        case Act.CLAIM:
            return repair.state in UNDERWAY and repair.technician_id == technician_id
        case Act.ASSIGN:
            return repair.technician_id == technician_id
        case Act.WAIT:
            return repair.state is State.WAITING and repair.promised_at == promised_at
    return repair.state is workflow.RULES[act].leads_to


def _check_version(repair: Repair, version: int | None) -> None:
    if version is not None and version != repair.version:
        raise RepairMovedOn(number=repair.number)


async def _weigh(
    session: AsyncSession, repair: Repair, act: Act, *, despite_meter: bool, now: datetime
) -> dict[str, object]:
    """Hold what is claimed against what the meter says; return what it says if it disagrees."""
    if act is Act.CONFIRM and repair.state is not State.FIXED and repair.normal_at is None:
        raise StepNotPossible
    if act is not Act.FIXED:
        return {}
    measured = await find_measured(session, repair=repair, now=now)
    if measured is None or not measured.is_abnormal:
        return {}
    if not despite_meter:
        raise MeterStillAbnormal(number=repair.number)
    if measured.latest is None:
        return {"unknown_since": (measured.latest_at or measured.began_at).isoformat()}
    return {"quantity": measured.quantity, "value": measured.latest}


async def _get_technician(session: AsyncSession, technician_id: int | None) -> str:
    if await session.get(Staff, (technician_id, Role.TECHNICIAN)) is None:
        raise NoSuchTechnician
    return (await session.get_one(Person, technician_id)).name


async def _keep_promise(session: AsyncSession, repair: Repair, *, now: datetime) -> datetime:
    """Return the promise given before, while it can still be kept, else the usual one."""
    if repair.promised_at is not None and repair.promised_at > now:
        return repair.promised_at
    point = await session.get_one(ServicePoint, repair.service_point_id)
    is_burst = repair.cause is Cause.LEAK and repair.severity >= Severity.CRITICAL
    return promises.default_promise(point.service, is_burst=is_burst, now=now)


def _set_promise(repair: Repair, promised_at: datetime, *, now: datetime) -> None:
    promises.check_promise(promised_at, now=now)
    if repair.promised_at is not None and repair.promised_at != promised_at:
        repair.promise_moves += 1
    repair.promised_at = promised_at


async def _lock(
    session: AsyncSession, repair: int | str, act: Act, person_id: int | None
) -> Repair:
    if act is Act.DENY:
        await lock_filing(session)  # before any repair, as everywhere: it may file another
    found = await find_repair(session, repair, lock=True)
    if act is Act.CLAIM:
        await _refuse_claimed(session, found, person_id)
    return found


async def _write(
    session: AsyncSession, repair: Repair, act: Act, standing: Standing, *, now: datetime
) -> None:
    repair.state = standing.state
    repair.technician_id = standing.technician_id
    repair.state_since = now
    repair.version += 1
    if standing.state is State.FIXED:
        repair.fixed_at = now
        await session.execute(  # every home of an incident is asked anew
            update(Follower).where(Follower.repair_id == repair.id).values(answered_at=None)
        )
    if standing.state in ENDED:
        repair.closed_at = now
    if act is Act.DENY:
        repair.fixed_at = None
        repair.reopened_count += 1


def _done(repair: Repair, *, changed: bool) -> Done:
    return Done(repair_id=repair.id, number=repair.number, changed=changed)

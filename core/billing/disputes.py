"""Objections to bills and readings: opened, put off, answered; each told in its transaction."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts.models import AccountRight, Agreement, Role, Staff
from core.accounts.service import get_operator, list_staff
from core.billing.bills import BillNotFound, people_of
from core.billing.correction_models import Dispute, DisputeState, Ground
from core.billing.dispute_rules import due_after, may_become
from core.billing.models import Bill, BillState
from core.billing.settlement import lock_agreements, reconsider_debts
from core.errors import DomainError
from core.monitoring.correcting import doubt_reading
from core.monitoring.held import Decision, decide_held
from core.monitoring.models import Meter
from core.monitoring.rows import Key
from core.notices import service as notices
from core.numbers import take_numbers
from core.periods import local_day

SERIES = "D"


class DisputeNotFound(DomainError):
    """There is no such objection, or it is somebody else's."""

    code = "dispute.not_found"


class DisputeClosed(DomainError):
    """The objection was answered or taken back."""

    code = "dispute.closed"


class AlreadyDisputed(DomainError):
    """The bill was objected to before; the answer stands."""

    code = "dispute.already"


class OwnDispute(DomainError):
    """Nobody answers an objection about their own account."""

    code = "dispute.own"


async def open_dispute(
    session: AsyncSession,
    *,
    bill_number: str,
    person_id: int,
    ground: Ground,
    words: str,
    now: datetime,
) -> str:
    """
    Take an objection to a bill and return its number; the clocks of that bill stop.

    Raises:
        BillNotFound: there is no such bill of this person, or it is void.
        AlreadyDisputed: an objection to it is open, was declined or taken back.
    """
    bill = (
        await session.execute(
            select(Bill.id, Bill.agreement_id, Bill.state).where(Bill.number == bill_number)
        )
    ).one_or_none()
    if bill is None or bill.state not in {BillState.ISSUED, BillState.SETTLED}:
        raise BillNotFound(number=bill_number)
    await lock_agreements(session, agreement_ids=[bill.agreement_id])
    people = await people_of(session, agreement_ids=[bill.agreement_id])
    if person_id not in people.get(bill.agreement_id, ()):
        raise BillNotFound(number=bill_number)
    before = await session.scalar(
        select(Dispute.number).where(
            Dispute.bill_id == bill.id, Dispute.state != DisputeState.UPHELD
        )
    )
    if before is not None:
        raise AlreadyDisputed(bill=bill_number, number=before)
    number = await _open(
        session,
        agreement_id=bill.agreement_id,
        subject={"bill_id": bill.id},
        said={"person_id": person_id, "ground": ground, "words": words},
        now=now,
    )
    await reconsider_debts(session, agreement_ids=[bill.agreement_id], now=now)
    return number


async def open_reading_dispute(
    session: AsyncSession, *, key: Key, person_id: int, ground: Ground, words: str, now: datetime
) -> str:
    """
    Take an objection to a reading and return its number; nothing is billed by it meanwhile.

    Raises:
        DisputeNotFound: the person has no agreement for this meter.
        ReadingNotFound: there is no accepted reading like this.
    """
    agreement_id = await session.scalar(
        select(Agreement.id)
        .join(Meter, Meter.service_point_id == Agreement.service_point_id)
        .join(AccountRight, AccountRight.account_id == Agreement.account_id)
        .where(
            Meter.id == key.meter_id,
            AccountRight.person_id == person_id,
            Agreement.ends_date.is_(None),
        )
    )
    if agreement_id is None:
        raise DisputeNotFound
    await lock_agreements(session, agreement_ids=[agreement_id])
    value = await doubt_reading(session, key=key)
    subject = {"meter_id": key.meter_id, "register": key.name, "taken_at": key.taken_at}
    return await _open(
        session,
        agreement_id=agreement_id,
        subject={**subject, "value": value},
        said={"person_id": person_id, "ground": ground, "words": words},
        now=now,
    )


async def _open(
    session: AsyncSession,
    *,
    agreement_id: int,
    subject: dict[str, Any],
    said: dict[str, Any],
    now: datetime,
) -> str:
    operator = await get_operator(session)
    today = local_day(now, zone=ZoneInfo(operator.timezone))
    (number,) = await take_numbers(session, prefix=SERIES)
    session.add(
        Dispute(
            number=number,
            agreement_id=agreement_id,
            opened_at=now,
            responsible_id=await _choose_manager(session, agreement_id),
            promised_date=today + timedelta(days=operator.dispute_days),
            state=DisputeState.OPEN,
            **subject,
            **said,
        )
    )
    await session.flush()
    audit.record(
        session,
        at=now,
        actor_id=said["person_id"],
        action="dispute.opened",
        subject=f"dispute:{number}",
        ground=said["ground"],
        words=said["words"],
    )
    await tell_people(session, number, agreement_id, kind="dispute.opened", now=now)
    await notices.enqueue(
        session,
        person_ids=await list_staff(session, role=Role.MANAGER),
        kind="dispute.new",
        params={"number": number},
        dedupe_key=f"dispute.new:{number}",
        now=now,
    )
    return number


async def _choose_manager(session: AsyncSession, agreement_id: int) -> int | None:
    """Return the manager with the fewest open objections whom this account does not concern."""
    own = (
        select(AccountRight.person_id)
        .join(Agreement, Agreement.account_id == AccountRight.account_id)
        .where(Agreement.id == agreement_id)
    )
    chosen: int | None = await session.scalar(
        select(Staff.person_id)
        .outerjoin(
            Dispute,
            (Dispute.responsible_id == Staff.person_id) & (Dispute.state == DisputeState.OPEN),
        )
        .where(Staff.role == Role.MANAGER, Staff.person_id.not_in(own))
        .group_by(Staff.person_id)
        .order_by(func.count(Dispute.id), Staff.person_id)
        .limit(1)
    )
    return chosen


async def decline(
    session: AsyncSession, *, number: str, answer: str, actor_id: int, now: datetime
) -> None:
    """
    Answer that a bill is right, and why; its clocks go on from where they stood.

    Raises:
        DisputeNotFound, DisputeClosed, OwnDispute: see each.
    """
    dispute = await lock_open(session, number, actor_id=actor_id)
    if dispute.taken_at is not None:
        await answer_reading(
            session,
            number=number,
            decision=Decision.ACCEPT,
            value=None,
            answer=answer,
            actor_id=actor_id,
            now=now,
        )
        return
    await _close(session, dispute, DisputeState.DECLINED, answer=answer, actor_id=actor_id, now=now)
    await tell_people(session, number, dispute.agreement_id, kind="dispute.answered", now=now)


async def answer_reading(
    session: AsyncSession,
    *,
    number: str,
    decision: Decision,
    value: Decimal | None,
    answer: str,
    actor_id: int,
    now: datetime,
) -> None:
    """
    Answer an objection to a reading: it is right, or corrected, or rejected.

    Raises:
        DisputeNotFound, DisputeClosed, OwnDispute: see each.
        DomainError: as `held.decide_held`.
    """
    dispute = await lock_open(session, number, actor_id=actor_id)
    if dispute.meter_id is None or dispute.register is None or dispute.taken_at is None:
        raise DisputeNotFound(number=number)
    await decide_held(
        session,
        key=Key(dispute.meter_id, dispute.register, dispute.taken_at),
        decision=decision,
        value=value,
        reason=answer,
        person_id=actor_id,
        now=now,
    )
    state = DisputeState.DECLINED if decision is Decision.ACCEPT else DisputeState.UPHELD
    await _close(session, dispute, state, answer=answer, actor_id=actor_id, now=now)
    await tell_people(session, number, dispute.agreement_id, kind="dispute.answered", now=now)


async def withdraw_dispute(
    session: AsyncSession, *, number: str, person_id: int, now: datetime
) -> None:
    """
    Take an objection back, as who made it; a reading that it doubted is accepted again.

    Raises:
        DisputeNotFound: it is somebody else's.
        DisputeClosed: it was answered.
    """
    dispute = await lock_open(session, number)
    if dispute.person_id != person_id:
        raise DisputeNotFound(number=number)
    if dispute.meter_id is not None and dispute.register and dispute.taken_at is not None:
        await decide_held(
            session,
            key=Key(dispute.meter_id, dispute.register, dispute.taken_at),
            decision=Decision.ACCEPT,
            value=None,
            reason=DisputeState.WITHDRAWN,
            person_id=person_id,
            now=now,
        )
    await _close(session, dispute, DisputeState.WITHDRAWN, answer=None, actor_id=person_id, now=now)


async def uphold(
    session: AsyncSession, *, bill_id: int, answer: str, actor_id: int | None, now: datetime
) -> str | None:
    """Close the open objection to a bill, whose correction tells of it; return its number."""
    dispute = await session.scalar(
        select(Dispute)
        .where(Dispute.bill_id == bill_id, Dispute.state == DisputeState.OPEN)
        .execution_options(populate_existing=True)
    )
    if dispute is None:
        return None
    await _close(session, dispute, DisputeState.UPHELD, answer=answer, actor_id=actor_id, now=now)
    return dispute.number


async def hand_on(session: AsyncSession, *, bill_id: int, successor_id: int) -> None:
    """Have an objection that stays open count against the bill in the old one's place."""
    await session.execute(
        update(Dispute)
        .where(Dispute.bill_id == bill_id, Dispute.state == DisputeState.OPEN)
        .values(bill_id=successor_id)
        .execution_options(synchronize_session=False)
    )


async def lock_open(session: AsyncSession, number: str, *, actor_id: int | None = None) -> Dispute:
    """
    Return an open objection with its agreement locked, to be answered by an `actor_id`.

    Raises:
        DisputeNotFound: there is none.
        DisputeClosed: it was answered or taken back.
        OwnDispute: it concerns an account of the actor's own.
    """
    agreement_id = await session.scalar(
        select(Dispute.agreement_id).where(Dispute.number == number)
    )
    if agreement_id is None:
        raise DisputeNotFound(number=number)
    await lock_agreements(session, agreement_ids=[agreement_id])
    dispute = (
        await session.scalars(
            select(Dispute)
            .where(Dispute.number == number)
            .execution_options(populate_existing=True)
        )
    ).one()
    people = await people_of(session, agreement_ids=[agreement_id])
    if actor_id is not None and actor_id in people.get(agreement_id, ()):
        raise OwnDispute(number=number)
    if dispute.state is not DisputeState.OPEN:
        raise DisputeClosed(number=number)
    return dispute


async def _close(
    session: AsyncSession,
    dispute: Dispute,
    state: DisputeState,
    *,
    answer: str | None,
    actor_id: int | None,
    now: datetime,
) -> None:
    if not may_become(dispute.state, state):
        raise DisputeClosed(number=dispute.number)
    dispute.state, dispute.answer = state, answer
    dispute.answered_at, dispute.answered_by_id = now, actor_id
    await session.flush()
    audit.record(
        session,
        at=now,
        actor_id=actor_id,
        action=f"dispute.{state}",
        subject=f"dispute:{dispute.number}",
        **({} if answer is None else {"answer": answer}),
    )
    if dispute.bill_id is None:
        return
    zone = ZoneInfo((await get_operator(session)).timezone)
    bill = await session.get_one(Bill, dispute.bill_id, populate_existing=True)
    if bill.due_date is not None and bill.state is BillState.ISSUED:
        bill.due_date = due_after(
            bill.due_date,
            opened=local_day(dispute.opened_at, zone=zone),
            answered=local_day(now, zone=zone),
        )
        await session.flush()


async def tell_people(
    session: AsyncSession,
    number: str,
    agreement_id: int,
    *,
    kind: str,
    now: datetime,
    suffix: str = "",
) -> None:
    """Send a message of a kind about an objection to everybody of its account, once."""
    people = await people_of(session, agreement_ids=[agreement_id])
    await notices.enqueue(
        session,
        person_ids=people.get(agreement_id, ()),
        kind=kind,
        params={"number": number},
        dedupe_key=f"{kind}:{number}{suffix}",
        now=now,
    )

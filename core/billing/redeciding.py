"""Decisions on readings: those that wait, and those accepted by a person that no bill rests on."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Agreement
from core.billing.inputs import read_closings
from core.billing.models import Bill, BillState
from core.billing.settlement import lock_agreements
from core.errors import DomainError
from core.monitoring import held
from core.monitoring.correcting import check_correction, doubt_reading
from core.monitoring.held import Decision, NotHeld
from core.monitoring.models import Meter, ReadingStatus
from core.monitoring.rows import Key


class ReadingIsBilled(DomainError):
    """A bill rests on the reading, or on one that followed from it; it has to be billed again."""

    code = "held.billed"


async def check_decision(session: AsyncSession, *, key: Key, value: Decimal | None) -> None:
    """
    Refuse what a reading cannot have shown, if a value is given, or what cannot be taken back.

    Raises:
        NotHeld, TooManyDigits, ReadingGoesBackwards: as `held.decide_held`.
        ReadingIsBilled: it was accepted, and a bill rests on it.
    """
    if await _is_accepted(session, key):
        await _refuse_billed(session, key)
        if value is not None:
            await check_correction(session, key=key, value=value)
    elif value is not None:
        await held.check_value(session, key=key, value=value)


async def decide_reading(
    session: AsyncSession,
    *,
    key: Key,
    decision: Decision,
    value: Decimal | None,
    reason: str,
    person_id: int,
    now: datetime,
) -> None:
    """
    Decide on a reading that waits, or take a decision back: correct or reject what was accepted.

    Raises:
        NotHeld: it neither waits, nor can its acceptance be taken back so.
        ReadingIsBilled: it was accepted, and a bill rests on it.
        TooManyDigits, ReadingGoesBackwards: as `held.decide_held`.
    """
    if await _is_accepted(session, key):
        if decision is Decision.ACCEPT:
            raise NotHeld
        await _refuse_billed(session, key)
        await doubt_reading(session, key=key)
    await held.decide_held(
        session,
        key=key,
        decision=decision,
        value=value,
        reason=reason,
        person_id=person_id,
        now=now,
    )


async def _is_accepted(session: AsyncSession, key: Key) -> bool:
    reading, _ = await held.get_held(session, key=key, or_decided=True)
    return reading.status is ReadingStatus.ACCEPTED


async def _refuse_billed(session: AsyncSession, key: Key) -> None:
    """Let nobody bill from the meter meanwhile, and refuse if somebody has."""
    agreements = await session.scalars(
        select(Agreement.id)
        .join(Meter, Meter.service_point_id == Agreement.service_point_id)
        .where(Meter.id == key.meter_id)
    )
    ids = agreements.all()
    await lock_agreements(session, agreement_ids=ids)
    bills = await session.execute(
        select(Bill.number, Bill.inputs)
        .where(Bill.agreement_id.in_(ids), Bill.state != BillState.VOID)
        .order_by(Bill.starts_date)
    )
    for number, inputs in bills:
        closing = read_closings(inputs or {"readings": []}).get((key.meter_id, key.name))
        if closing is not None and not closing.is_estimate and closing.at >= key.taken_at:
            raise ReadingIsBilled(number=number)

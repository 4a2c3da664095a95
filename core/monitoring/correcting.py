"""Readings that were accepted and are wrong: put right by a person, or doubted by one."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession

from core.db import undone
from core.errors import DomainError
from core.monitoring.feeds import hold_meter
from core.monitoring.held import Decision, check_value, decide_held
from core.monitoring.models import Meter, Reading, ReadingStatus, Source
from core.monitoring.ranges import find_meters
from core.monitoring.rows import Key
from core.monitoring.settling import dispute


class ReadingNotFound(DomainError):
    """There is no accepted reading at this moment."""

    code = "reading.not_found"


async def doubt_reading(session: AsyncSession, *, key: Key) -> Decimal:
    """
    Have an accepted reading wait for a person's decision, and return its value.

    Nothing is billed by it meanwhile; those after it are judged anew.

    Raises:
        ReadingNotFound: it is not there, not accepted, or an estimate.
    """
    meters = await find_meters(session, Meter.id == key.meter_id)
    if not meters:
        raise ReadingNotFound
    meter = meters[0]
    await hold_meter(session, meter)
    reading = await session.get(Reading, key, populate_existing=True)
    is_real = reading is not None and reading.source is not Source.ESTIMATE
    if reading is None or not is_real or reading.status is not ReadingStatus.ACCEPTED:
        raise ReadingNotFound
    value = reading.value
    session.expire(reading)
    await dispute(session, [key], meters={meter.id: meter})
    return value


async def check_correction(session: AsyncSession, *, key: Key, value: Decimal) -> None:
    """
    Refuse a value that an accepted reading cannot be corrected to; nothing is changed.

    Raises:
        ReadingNotFound, TooManyDigits, ReadingGoesBackwards: as `correct_reading`.
    """
    async with undone(session):
        await doubt_reading(session, key=key)
        await check_value(session, key=key, value=value)


async def correct_reading(
    session: AsyncSession,
    *,
    key: Key,
    value: Decimal,
    reason: str,
    person_id: int,
    now: datetime,
) -> None:
    """
    Put an accepted reading right; all that follow are judged anew.

    Raises:
        ReadingNotFound: it is not there, not accepted, or an estimate.
        TooManyDigits: the register cannot show the value.
        ReadingGoesBackwards: more was accepted before it.
    """
    await doubt_reading(session, key=key)
    await decide_held(
        session,
        key=key,
        decision=Decision.CORRECT,
        value=value,
        reason=reason,
        person_id=person_id,
        now=now,
    )

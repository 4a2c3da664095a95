"""Readings that people type, and what is known of a meter: registers, use, quality, alarms."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts import service as accounts
from core.accounts.models import Service
from core.accounts.service import Place
from core.errors import DomainError
from core.monitoring.feeds import AHEAD_MAX, hold_meter
from core.monitoring.misreadings import UNUSUAL_TIMES, find_meant
from core.monitoring.models import Meter, Reading, ReadingStatus, Source
from core.monitoring.partitions import ensure_months, months_of
from core.monitoring.ranges import MeterFacts, find_meters
from core.monitoring.registers import advance, capacity_of
from core.monitoring.rows import Key
from core.monitoring.settling import decide

TOTAL = "total"
USUAL_OVER = timedelta(days=60)
USUAL_DAYS_MIN = 7
# Use a day below which nothing is unusual. Units: m³, kWh.
USUAL_FLOOR = {Service.WATER: Decimal("0.5"), Service.ELECTRICITY: Decimal(5)}
DAY_SECONDS = 86_400


class MeterNotFound(DomainError):
    """No meter of this number exists, or it is somebody else's; both answer the same."""

    code = "meter.not_found"


class NoSuchMeter(MeterNotFound):
    """No meter of this number exists; for staff, who may see all."""

    code = "exchange.meter_not_found"


class ReadingGoesBackwards(DomainError):
    """The register showed more before."""

    code = "reading.goes_backwards"


class TooManyDigits(DomainError):
    """The register has no place for such a number."""

    code = "reading.too_many_digits"


class ReadingUnusual(DomainError):
    """
    The use would be far above the usual; it is recorded only when confirmed.

    `meant` is the number that would fit, if this one looks like another unit.
    """

    code = "reading.unusual"

    def __init__(self, *, factor: Decimal, use: Decimal, meant: Decimal | None) -> None:
        super().__init__(factor=factor, use=use)
        self.factor, self.use, self.meant = factor, use, meant


class MeterNotWorking(DomainError):
    """The meter was not installed at that moment, or the moment has not come."""

    code = "reading.meter_not_working"


class RegisterValue(NamedTuple):
    """What a register showed. Units: before the multiplier."""

    meter_id: int
    register: str
    taken_at: datetime
    value: Decimal
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """
    A reading that was typed, and the use since the one before (with the multiplier).

    A held one is more than the meter can have counted; somebody has to look at it.
    """

    value: Decimal
    taken_at: datetime
    previous: RegisterValue | None
    use: Decimal | None
    is_held: bool


async def record_reading(
    session: AsyncSession,
    *,
    person_id: int | None,
    meter_id: int,
    value: Decimal,
    taken_at: datetime,
    source: Source,
    now: datetime,
    register: str = TOTAL,
    confirmed: bool = False,
) -> Recorded:
    """
    Record a reading that a person took.

    Customers can read only meters of places they have a right on. The same reading at the same
    moment again changes nothing.

    Raises:
        MeterNotFound: there is no such meter, or it is not theirs.
        MeterNotWorking: it was not installed at `taken_at`, or that is in the future.
        TooManyDigits: the register cannot show the value.
        ReadingGoesBackwards: it showed more before, or less after.
        ReadingUnusual: the use is far above the usual and was not confirmed.
    """
    meter = await find_meter(session, meter_id=meter_id)
    if source is Source.CUSTOMER:
        await _require_right(session, meter, person_id=person_id)
    await hold_meter(session, meter)
    is_after_removal = meter.removed_at is not None and taken_at > meter.removed_at
    if taken_at < meter.installed_at or is_after_removal or taken_at > now + AHEAD_MAX:
        raise MeterNotWorking(serial=meter.serial)
    if not 0 <= value < capacity_of(meter.digits):
        raise TooManyDigits(digits=len(str(capacity_of(meter.digits) - 1)))
    previous = await find_latest_reading(session, meter_id=meter_id, register=register, at=taken_at)
    use = await _check_course(session, meter, previous, value, taken_at=taken_at, register=register)
    is_doubted = False
    if use is not None and previous is not None:
        found = await find_unusual(session, meter, previous, value=value, use=use, at=taken_at)
        if found is not None and not confirmed:
            raise found
        is_doubted = source is Source.CUSTOMER and found is not None and found.meant is not None
    await ensure_months(session, months_of([taken_at]))
    await session.execute(
        insert(Reading)
        .values(
            meter_id=meter_id,
            register=register,
            taken_at=taken_at,
            value=value,
            source=source,
            status=ReadingStatus.DOUBTED if is_doubted else ReadingStatus.ACCEPTED,
            received_at=now,
        )
        .on_conflict_do_nothing()
    )
    audit.record(
        session,
        at=now,
        actor_id=person_id,
        action="reading.recorded",
        subject=f"meter:{meter.serial}",
        register=register,
        value=str(value),
        taken_at=taken_at.isoformat(),
        source=source.value,
    )
    held = await decide(session, [(meter_id, register, taken_at)], {meter_id: meter})
    is_held = is_doubted or Key(meter_id, register, taken_at) in held
    return Recorded(value=value, taken_at=taken_at, previous=previous, use=use, is_held=is_held)


async def find_meter(session: AsyncSession, *, meter_id: int) -> MeterFacts:
    """
    Return a meter and the place it serves.

    Raises:
        MeterNotFound: there is none.
    """
    found = await find_meters(session, Meter.id == meter_id)
    if not found:
        raise MeterNotFound
    return found[0]


async def find_meter_of(session: AsyncSession, *, person_id: int, meter_id: int) -> MeterFacts:
    """
    Return a meter if this person has a right on the place it serves.

    Raises:
        MeterNotFound: there is none, or it is somebody else's.
    """
    meter = await find_meter(session, meter_id=meter_id)
    await _require_right(session, meter, person_id=person_id)
    return meter


async def list_meters_of(
    session: AsyncSession, *, person_id: int
) -> list[tuple[Place, MeterFacts]]:
    """Return the working meters at the places that a person has a right on, by place."""
    places = {
        place.service_point_id: place
        for place in await accounts.list_places(session, person_id=person_id)
    }
    meters = await find_meters(
        session, Meter.service_point_id.in_(list(places)) & Meter.removed_at.is_(None)
    )
    by_point = {meter.service_point_id: meter for meter in meters}
    return [(place, by_point[point]) for point, place in places.items() if point in by_point]


async def _require_right(
    session: AsyncSession, meter: MeterFacts, *, person_id: int | None
) -> None:
    places = await accounts.list_places(session, person_id=person_id) if person_id else []
    if meter.service_point_id not in {place.service_point_id for place in places}:
        raise MeterNotFound


def _accepted(meter_id: int, register: str) -> Select[int, str, datetime, Decimal, Source]:
    return (
        select(Reading.meter_id, Reading.register, Reading.taken_at, Reading.value, Reading.source)
        .where(
            Reading.meter_id == meter_id,
            Reading.register == register,
            Reading.status == ReadingStatus.ACCEPTED,
        )
        .limit(1)
    )


async def _find(
    session: AsyncSession, query: Select[int, str, datetime, Decimal, Source]
) -> RegisterValue | None:
    row = (await session.execute(query)).one_or_none()
    return None if row is None else RegisterValue(*row)


async def find_latest_reading(
    session: AsyncSession,
    *,
    meter_id: int,
    register: str = TOTAL,
    at: datetime,
    is_real: bool = False,
) -> RegisterValue | None:
    """Return the latest accepted reading of a register at a moment, or the latest real one."""
    query = _accepted(meter_id, register).where(Reading.taken_at <= at)
    if is_real:
        query = query.where(Reading.source != Source.ESTIMATE)
    return await _find(session, query.order_by(Reading.taken_at.desc()))


async def _check_course(
    session: AsyncSession,
    meter: MeterFacts,
    previous: RegisterValue | None,
    value: Decimal,
    *,
    taken_at: datetime,
    register: str,
) -> Decimal | None:
    """Return the use since the previous reading, with the multiplier."""
    following = await _find(
        session,
        _accepted(meter.id, register)
        .where(Reading.source != Source.ESTIMATE, Reading.taken_at > taken_at)
        .order_by(Reading.taken_at),
    )
    if following is not None and advance(value, following.value, digits=meter.digits) is None:
        raise ReadingGoesBackwards(latest=following.value, taken_at=following.taken_at)
    if previous is None:
        return None
    use = advance(previous.value, value, digits=meter.digits)
    if use is None and previous.source is not Source.ESTIMATE:
        raise ReadingGoesBackwards(latest=previous.value, taken_at=previous.taken_at)
    return None if use is None else use * meter.multiplier


def advance_or_refuse(previous: RegisterValue, value: Decimal, *, meter: MeterFacts) -> Decimal:
    """
    Return the use since a reading, with the multiplier.

    Raises:
        ReadingGoesBackwards: it showed more then.
    """
    use = advance(previous.value, value, digits=meter.digits)
    if use is None:
        raise ReadingGoesBackwards(latest=previous.value, taken_at=previous.taken_at)
    return use * meter.multiplier


async def find_unusual(
    session: AsyncSession,
    meter: MeterFacts,
    previous: RegisterValue,
    *,
    value: Decimal,
    use: Decimal,
    at: datetime,
) -> ReadingUnusual | None:
    """Return the refusal of a use that is far above what is usual for this register."""
    usual = await _find_usual(session, meter, previous)
    factor = use / max(_days(at - previous.taken_at), Decimal(1)) / usual
    if factor <= UNUSUAL_TIMES:
        return None
    meant = await find_meant_at(session, meter, previous, value=value, taken_at=at)
    whole = factor.quantize(Decimal(1), rounding=ROUND_HALF_UP)
    return ReadingUnusual(factor=whole, use=use, meant=meant)


async def find_meant_at(
    session: AsyncSession,
    meter: MeterFacts,
    previous: RegisterValue,
    *,
    value: Decimal,
    taken_at: datetime,
) -> Decimal | None:
    """Return the number that was probably meant, where one looks like another unit."""
    usual = await _find_usual(session, meter, previous)
    return find_meant(
        previous.value,
        value,
        digits=meter.digits,
        days=_days(taken_at - previous.taken_at),
        usual_per_day=usual / meter.multiplier,
        most_per_day=meter.ceiling * 24,
    )


async def _find_usual(session: AsyncSession, meter: MeterFacts, previous: RegisterValue) -> Decimal:
    """Return the usual use a day up to a reading, with the multiplier; never very little."""
    usual = USUAL_FLOOR[meter.service]
    series = (previous.meter_id, previous.register)
    earlier = await find_latest_reading(
        session, meter_id=series[0], register=series[1], at=previous.taken_at - USUAL_OVER
    )
    if earlier is None:
        earlier = await _find(session, _accepted(*series).order_by(Reading.taken_at))
    assert earlier is not None  # noqa: S101 (the previous one at least)
    days = _days(previous.taken_at - earlier.taken_at)
    went = advance(earlier.value, previous.value, digits=meter.digits)
    if went is not None and days >= USUAL_DAYS_MIN:
        usual = max(usual, went * meter.multiplier / days)
    return usual


def _days(span: timedelta) -> Decimal:
    return (Decimal(span.days * DAY_SECONDS + span.seconds)) / DAY_SECONDS

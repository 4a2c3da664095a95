"""One meter in the place of another: the last values of the one, the first of the other."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts import service as accounts
from core.accounts.models import Premise, Role, ServicePoint
from core.monitoring.exchange_checks import (
    MeterWasReplaced,
    RegistersDiffer,
    check_digits,
    check_final,
    check_new_digits,
    check_serial,
    list_names,
)
from core.monitoring.feeds import hold_meter
from core.monitoring.models import (
    Alarm,
    Leak,
    Limit,
    Meter,
    Reading,
    ReadingStatus,
    Source,
    Vacation,
    Watch,
)
from core.monitoring.partitions import ensure_months, months_of
from core.monitoring.ranges import MeterFacts, find_meters
from core.monitoring.service import (
    MeterNotFound,
    MeterNotWorking,
    find_meter,
)
from core.monitoring.settling import decide
from core.notices import service as notices


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What was done at a place. Units: registers before the multiplier."""

    meter_id: int
    finals: Mapping[str, Decimal]
    serial: str
    digits: int
    initials: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchanged:
    """An exchange as it is told to people afterwards."""

    old: MeterFacts
    new: MeterFacts
    address: str
    at: datetime
    finals: Mapping[str, Decimal]
    initials: Mapping[str, Decimal]


async def exchange_meter(
    session: AsyncSession,
    *,
    wanted: Exchange,
    at: datetime,
    person_id: int | None,
    source: Source,
    now: datetime,
) -> Exchanged:
    """
    Put a new meter in the place of another, with the last and the first values of their registers.

    The gateway, multiplier, ceiling and limits of the place stay. What is abnormal there goes on
    with the new meter: only what it measures can end an alarm. The people there are told.

    Raises:
        MeterNotFound: there is no such meter.
        MeterWasReplaced: it is not there any more.
        MeterNotWorking: it was not installed at that moment, or the moment has not come.
        RegistersDiffer: values are missing, or there are others than the meter's.
        DomainError: the others of `check_final`, `check_serial` and `check_digits`.
    """
    old = await find_meter(session, meter_id=wanted.meter_id)
    await hold_meter(session, old)
    row = await session.get_one(Meter, old.id, with_for_update=True, populate_existing=True)
    if row.removed_at is not None:
        raise MeterWasReplaced(serial=old.serial, at=row.removed_at)
    if at <= old.installed_at or at > now:
        raise MeterNotWorking(serial=old.serial)
    await _check(session, wanted, old, at=at, now=now)
    row.removed_at = at
    await session.flush()
    new = Meter(
        serial=wanted.serial,
        service_point_id=row.service_point_id,
        digits=wanted.digits,
        multiplier=row.multiplier,
        ceiling=row.ceiling,
        installed_at=at,
        gateway_id=row.gateway_id,
        switchable=row.switchable,
        master_of_id=row.master_of_id,
        loss_limit=row.loss_limit,
    )
    session.add(new)
    await session.flush()
    await _hand_over(session, old.id, new.id)
    registers = {old.id: wanted.finals, new.id: wanted.initials}
    await _add_readings(session, registers, at=at, source=source, now=now)
    await decide(session, [(old.id, register, at) for register in wanted.finals], {old.id: old})
    audit.record(
        session,
        at=now,
        actor_id=person_id,
        action="meter.exchanged",
        subject=f"meter:{old.serial}",
        serial=wanted.serial,
        exchanged_at=at.isoformat(),
        finals={register: str(value) for register, value in wanted.finals.items()},
        initials={register: str(value) for register, value in wanted.initials.items()},
    )
    await _tell(session, row, new, now)
    return await get_exchange(session, meter_id=new.id)


async def _check(
    session: AsyncSession, wanted: Exchange, old: MeterFacts, *, at: datetime, now: datetime
) -> None:
    names = set(await list_names(session, meter_id=old.id, at=now))
    if wanted.finals.keys() != names or wanted.initials.keys() != names:
        raise RegistersDiffer(registers=", ".join(sorted(names)))
    check_new_digits(wanted.digits)
    await check_serial(session, wanted.serial)
    for register, value in wanted.finals.items():
        await check_final(session, meter=old, register=register, value=value, at=at, now=now)
        check_digits(wanted.initials[register], digits=wanted.digits)


async def _add_readings(
    session: AsyncSession,
    registers: Mapping[int, Mapping[str, Decimal]],
    *,
    at: datetime,
    source: Source,
    now: datetime,
) -> None:
    await ensure_months(session, months_of([at]))
    # What waits for a decision at this very moment is decided by who stands before the meter.
    statement = insert(Reading)
    decided = {name: statement.excluded[name] for name in ("value", "source", "status")}
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["meter_id", "register", "taken_at"], set_=decided
        ),
        [
            {
                "meter_id": meter_id,
                "register": register,
                "taken_at": at,
                "value": value,
                "source": source,
                "status": ReadingStatus.ACCEPTED,
                "received_at": now,
            }
            for meter_id, values in registers.items()
            for register, value in values.items()
        ],
    )


async def _hand_over(session: AsyncSession, old: int, new: int) -> None:
    for which in (
        update(Limit).where(Limit.meter_id == old),
        update(Watch).where(Watch.meter_id == old),
        update(Alarm).where(Alarm.meter_id == old, Alarm.ended_at.is_(None)),
        update(Leak).where(Leak.meter_id == old, Leak.ended_at.is_(None)),
        update(Vacation).where(Vacation.meter_id == old, Vacation.ended_at.is_(None)),
    ):
        await session.execute(
            which.values(meter_id=new).execution_options(synchronize_session=False)
        )


async def _tell(session: AsyncSession, old: Meter, new: Meter, now: datetime) -> None:
    points = [old.service_point_id]
    people = set(await accounts.list_people_at(session, service_point_ids=points))
    await notices.enqueue(
        session,
        person_ids=people | set(await accounts.list_staff(session, role=Role.MANAGER)),
        kind="meter.exchanged",
        params={"meter_id": new.id},
        dedupe_key=f"meter.exchanged:{new.id}",
        now=now,
    )


async def get_exchange(session: AsyncSession, *, meter_id: int) -> Exchanged:
    """
    Return the exchange by which a meter came to its place.

    Raises:
        MeterNotFound: it did not replace another.
    """
    (new,) = await find_meters(session, Meter.id == meter_id)
    found = await find_meters(
        session,
        (Meter.service_point_id == new.service_point_id) & (Meter.removed_at == new.installed_at),
    )
    if not found:
        raise MeterNotFound
    old = found[0]
    shown = await session.execute(
        select(Reading.meter_id, Reading.register, Reading.value).where(
            Reading.meter_id.in_([old.id, new.id]), Reading.taken_at == new.installed_at
        )
    )
    values: dict[int, dict[str, Decimal]] = {old.id: {}, new.id: {}}
    for id_, register, value in shown:
        values[id_][register] = value
    return Exchanged(
        old=old,
        new=new,
        address=await get_address(session, meter=new),
        at=new.installed_at,
        finals=values[old.id],
        initials=values[new.id],
    )


async def get_address(session: AsyncSession, *, meter: MeterFacts) -> str:
    """Return where a meter is."""
    found = await session.execute(
        select(Premise.address)
        .join(ServicePoint, ServicePoint.premise_id == Premise.id)
        .where(ServicePoint.id == meter.service_point_id)
    )
    return found.scalar_one()

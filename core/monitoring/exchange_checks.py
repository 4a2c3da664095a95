"""What can be said of a meter that replaces another, and what cannot."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import DomainError
from core.monitoring.imports import BITS_MAX, BITS_MIN, DIGITS_MAX
from core.monitoring.ingest import too_long
from core.monitoring.models import (
    Meter,
)
from core.monitoring.ranges import MeterFacts, find_meters
from core.monitoring.registers import Shown, is_plausible
from core.monitoring.service import (
    TOTAL,
    NoSuchMeter,
    RegisterValue,
    TooManyDigits,
    advance_or_refuse,
    find_latest_reading,
    find_unusual,
)
from core.monitoring.usage import list_registers

SERIAL_LENGTH_MAX = 64


class MeterWasReplaced(DomainError):
    """The meter is not at its place any more."""

    code = "exchange.was_replaced"


class SerialTaken(DomainError):
    """A meter of this number is or was somewhere already."""

    code = "exchange.serial_taken"


class SerialNotReadable(DomainError):
    """A serial number is one short word."""

    code = "exchange.serial_not_readable"


class DigitsNotPossible(DomainError):
    """No register has so many digits."""

    code = "exchange.digits_not_possible"


class FinalNotPossible(DomainError):
    """More than the meter can have counted since its last reading."""

    code = "exchange.final_not_possible"


class ReadLater(DomainError):
    """The meter was read after the moment at which it is said to have been removed."""

    code = "exchange.read_later"


class RegistersDiffer(DomainError):
    """Every register of the removed meter needs its last value, and the new one the same ones."""

    code = "exchange.registers_differ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """
    The last value of a register, and the use since the one before, with the multiplier.

    `factor` says how many times the usual that is, if it is far more.
    """

    value: Decimal
    before: RegisterValue | None
    use: Decimal | None
    factor: Decimal | None


async def find_working_meter(session: AsyncSession, *, serial: str) -> MeterFacts:
    """
    Return the meter of this number that works somewhere, whatever the case of its letters.

    Raises:
        NoSuchMeter: there is none of this number.
        MeterWasReplaced: it was removed.
    """
    found = await find_meters(session, Meter.serial == serial)
    if not found:
        found = await find_meters(session, func.lower(Meter.serial) == serial.lower())
    if not found:
        raise NoSuchMeter
    meter = found[0]
    if meter.removed_at is not None:
        raise MeterWasReplaced(serial=meter.serial, at=meter.removed_at)
    return meter


async def list_names(session: AsyncSession, *, meter_id: int, at: datetime) -> list[str]:
    """Return the names of a meter's registers; of one that was never read, the usual one."""
    shown = await list_registers(session, meter_ids=[meter_id], at=at)
    return [value.register for value in shown] or [TOTAL]


async def check_final(
    session: AsyncSession,
    *,
    meter: MeterFacts,
    register: str,
    value: Decimal,
    at: datetime,
    now: datetime,
) -> Final:
    """
    Return what the last value of a register says.

    Raises:
        TooManyDigits: the register cannot show it.
        ReadLater: it was read later.
        ReadingGoesBackwards: it showed more before.
        FinalNotPossible: that cannot have gone through since.
    """
    check_digits(value, digits=meter.digits)
    before = await find_latest_reading(
        session, meter_id=meter.id, register=register, at=now, is_real=True
    )
    if before is None:
        return Final(value=value, before=None, use=None, factor=None)
    if before.taken_at >= at:
        raise ReadLater(serial=meter.serial, at=before.taken_at)
    use = advance_or_refuse(before, value, meter=meter)
    shown = Shown(before.taken_at, before.value), Shown(at, value)
    if not is_plausible(*shown, digits=meter.digits, ceiling=meter.ceiling):
        raise FinalNotPossible(latest=before.value, taken_at=before.taken_at)
    unusual = await find_unusual(session, meter, before, value=value, use=use, at=at)
    factor = None if unusual is None else unusual.factor
    return Final(value=value, before=before, use=use, factor=factor)


def check_digits(value: Decimal, *, digits: int) -> None:
    """
    Refuse what a register of so many digits cannot show.

    Raises:
        TooManyDigits: it is too long.
    """
    if too_long(value, digits=digits):
        raise TooManyDigits(digits=digits)


def check_new_digits(digits: int) -> None:
    """
    Refuse what no register has.

    Raises:
        DigitsNotPossible: it has none, or far too many.
    """
    if not (1 <= digits <= DIGITS_MAX or -BITS_MAX <= digits <= -BITS_MIN):
        raise DigitsNotPossible(most=DIGITS_MAX)


async def check_serial(session: AsyncSession, serial: str) -> None:
    """
    Refuse a number that a new meter cannot have.

    Raises:
        SerialNotReadable: it is no word, or too long.
        SerialTaken: a meter has it already.
    """
    if not serial.isprintable() or " " in serial or not 0 < len(serial) <= SERIAL_LENGTH_MAX:
        raise SerialNotReadable
    known = await session.scalar(
        select(Meter.serial).where(func.lower(Meter.serial) == serial.lower()).limit(1)
    )
    if known is not None:
        raise SerialTaken(serial=known)

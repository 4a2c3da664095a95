"""From registers to consumption: one meter, a meter that was replaced, shares by days. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from core.errors import DomainError
from core.money import RoundingMode, divide, round_to
from core.monitoring.registers import is_rollover_plausible
from core.periods import Period


class ReadingGoesBackwards(DomainError):
    """The register shows less than before; it is never taken for zero use."""

    code = "billing.reading_goes_backwards"


class ReadingOutOfRange(DomainError):
    """The register has too few digits to show this."""

    code = "billing.reading_out_of_range"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterSpan:
    """
    Two readings of one register of one meter.

    Units:
        `previous`, `current`: what the register shows.
        `digits`: digits before the point; the register runs over at 10 to that power.
        `multiplier`: what one step of the register stands for (current transformers).
    """

    previous: Decimal
    current: Decimal
    digits: int
    multiplier: Decimal = Decimal(1)
    rollover_confirmed: bool = False


def consumption(span: RegisterSpan, *, kept_digits: int | None = None) -> Decimal:
    """
    Return what went through the meter between two readings.

    `kept_digits` cuts each reading, not the difference, after that many digits behind the point:
    a fraction which is not billed this time is billed the next. A smaller reading is accepted as
    a register that ran over only if that is plausible and a person has confirmed it.

    Units:
        Returns the unit of the register times the multiplier.

    Raises:
        ReadingOutOfRange: a reading is negative or has more digits than the register.
        ReadingGoesBackwards: the current reading is smaller and no confirmed rollover.
    """
    capacity = Decimal(10) ** span.digits
    for reading in (span.previous, span.current):
        if not 0 <= reading < capacity:
            raise ReadingOutOfRange(reading=reading, digits=span.digits)
    previous, current = span.previous, span.current
    if kept_digits is not None:
        previous = round_to(previous, digits=kept_digits, mode=RoundingMode.DOWN)
        current = round_to(current, digits=kept_digits, mode=RoundingMode.DOWN)
    if span.current >= span.previous:
        return (current - previous) * span.multiplier
    plausible = is_rollover_plausible(
        previous=span.previous, current=span.current, digits=span.digits
    )
    if not (span.rollover_confirmed and plausible):
        raise ReadingGoesBackwards(
            previous=span.previous, current=span.current, rollover_plausible=plausible
        )
    return (capacity - previous + current) * span.multiplier


def consumption_across(spans: Iterable[RegisterSpan], *, kept_digits: int | None = None) -> Decimal:
    """
    Return the use of one service over meters that followed each other in one place.

    The old meter's span ends with its final reading, the new meter's starts with its initial one.

    Raises:
        ReadingOutOfRange: see `consumption`.
        ReadingGoesBackwards: see `consumption`.
    """
    return sum((consumption(span, kept_digits=kept_digits) for span in spans), Decimal(0))


def share_by_days(
    quantity: Decimal, *, parts: Sequence[Period], digits: int
) -> tuple[Decimal, ...]:
    """
    Return the quantity divided over adjoining periods by their days.

    Each share is the difference of two rounded running totals, so the shares always add up to the
    quantity, which must itself have no more than `digits` digits after the point.
    """
    days = sum(part.days for part in parts)
    shares, elapsed, given = [], 0, Decimal(0)
    for part in parts:
        elapsed += part.days
        reached = divide(quantity * elapsed, days, digits=digits)
        shares.append(reached - given)
        given = reached
    return tuple(shares)

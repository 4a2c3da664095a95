"""From registers to consumption: what went through a meter, and its shares by days. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from core.errors import DomainError
from core.money import RoundingMode, divide, round_to
from core.monitoring.registers import advance, capacity_of
from core.periods import Period


class ReadingGoesBackwards(DomainError):
    """The register shows less than before; it is never taken for zero use."""

    code = "billing.reading_goes_backwards"


class ReadingOutOfRange(DomainError):
    """The register has too few digits to show this."""

    code = "billing.reading_out_of_range"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What one register of a meter showed."""

    at: datetime
    value: Decimal
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledSpan:
    """
    Two readings of one register between which a bill's use lies.

    Units:
        `digits`: digits before the point, behind which it runs over (`capacity_of`).
        `multiplier`: what one step of the register stands for (current transformers).
    """

    meter_id: int
    serial: str
    register: str
    digits: int
    multiplier: Decimal
    opening: Shown
    closing: Shown

    def consumption(self, *, kept_digits: int) -> Decimal:
        """
        Return what went through the meter between the readings.

        Each reading is cut, not the difference, after `kept_digits` behind the point: a fraction
        which is not billed this time is billed the next. A smaller reading is a register that
        ran over, if that is plausible; the readings were accepted before.

        Units:
            Returns the unit of the register times the multiplier.

        Raises:
            ReadingOutOfRange: a reading is negative or has more digits than the register.
            ReadingGoesBackwards: the closing reading is smaller and no rollover is plausible.
        """
        capacity = capacity_of(self.digits)
        previous, current = self.opening.value, self.closing.value
        if not (0 <= previous < capacity and 0 <= current < capacity):
            raise ReadingOutOfRange(previous=previous, current=current, digits=self.digits)
        if advance(previous, current, digits=self.digits) is None:
            raise ReadingGoesBackwards(previous=previous, current=current)
        before, after = (
            round_to(value, digits=kept_digits, mode=RoundingMode.DOWN)
            for value in (previous, current)
        )
        ran_over = capacity if current < previous else 0
        return (after - before + ran_over) * self.multiplier


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

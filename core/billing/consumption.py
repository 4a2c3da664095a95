"""From registers to consumption: what went through a meter, and its shares by days. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from core.errors import DomainError
from core.money import RoundingMode, divide, round_to
from core.monitoring.registers import advance, capacity_of
from core.periods import Period

ESTIMATE = "estimate"


class ReadingGoesBackwards(DomainError):
    """The register shows less than before; it is never taken for zero use."""

    code = "billing.reading_goes_backwards"


class ReadingOutOfRange(DomainError):
    """The register has too few digits to show this."""

    code = "billing.reading_out_of_range"


class Shown(NamedTuple):
    """What one register of a meter showed."""

    at: datetime
    value: Decimal
    source: str

    @property
    def is_estimate(self) -> bool:
        """Whether nobody read it."""
        return self.source == ESTIMATE


class BilledSpan(NamedTuple):
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
        ran over, if that is plausible; the readings were accepted before. After an estimate that
        was too high it is negative: so much was billed too early.

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
        before, after = (
            round_to(value, digits=kept_digits, mode=RoundingMode.DOWN)
            for value in (previous, current)
        )
        went = after - before
        if self.opening.is_estimate:
            # Estimates are near the truth, on one side of it or the other.
            if went * 2 > capacity:
                went -= capacity
            elif went * 2 <= -capacity:
                went += capacity
        elif advance(previous, current, digits=self.digits) is None:
            raise ReadingGoesBackwards(previous=previous, current=current)
        elif current < previous:
            went += capacity
        return went * self.multiplier


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumption:
    """
    What a bill counts, by register, and how far bills are and were ahead of the meter.

    Units: of the service, with the multiplier; never negative.
    """

    quantities: Mapping[str, Decimal]
    ahead: Mapping[str, Decimal]
    was_ahead: Mapping[str, Decimal]


def consumption_of(
    spans: Iterable[BilledSpan], *, ahead: Mapping[str, Decimal], kept_digits: int
) -> Consumption:
    """
    Return what is billed between readings, less what was billed before it was used.

    An estimate that was too high is not paid back but taken off what is used later, so every
    unit is billed once, whichever meters it went through.

    Raises:
        DomainError: those of `BilledSpan.consumption`.
    """
    went: dict[str, Decimal] = {}
    for span in spans:
        taken = span.consumption(kept_digits=kept_digits)
        went[span.register] = went.get(span.register, Decimal(0)) + taken
    due = {register: taken - ahead.get(register, 0) for register, taken in went.items()}
    return Consumption(
        quantities={register: max(taken, Decimal(0)) for register, taken in due.items()},
        ahead={
            **{register: left for register, left in ahead.items() if register not in due},
            **{register: -taken for register, taken in due.items() if taken < 0},
        },
        was_ahead=ahead,
    )


def share_by_days(
    quantity: Decimal, *, parts: Sequence[Period], digits: int
) -> tuple[Decimal, ...]:
    """Return the quantity divided over adjoining periods by their days, as `share` does."""
    if len(parts) == 1:
        return (round_to(quantity, digits=digits),)
    return share(quantity, weights=[Decimal(part.days) for part in parts], digits=digits)


def share(quantity: Decimal, *, weights: Sequence[Decimal], digits: int) -> tuple[Decimal, ...]:
    """
    Return the quantity divided by weights of which none is negative and one is not zero.

    Each share is the difference of two rounded running totals, so the shares always add up to the
    quantity, which must itself have no more than `digits` digits after the point.
    """
    whole = sum(weights, Decimal(0))
    shares, elapsed, given = [], Decimal(0), Decimal(0)
    for weight in weights:
        elapsed += weight
        reached = divide(quantity * elapsed, whole, digits=digits)
        shares.append(reached - given)
        given = reached
    return tuple(shares)

"""What a register may show after what it showed before. Pure."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import NamedTuple


@cache
def capacity_of(digits: int) -> Decimal:
    """
    Return where a register runs over to zero: behind its digits, or behind -n digits of n bits.

    A radio counter of 24 bits has -24 digits.
    """
    return Decimal(10) ** digits if digits > 0 else Decimal(2) ** -digits


def is_rollover_plausible(*, previous: Decimal, current: Decimal, digits: int) -> bool:
    """Return whether the register ran over: it was in its last tenth and is in its first."""
    capacity = capacity_of(digits)
    return previous * 10 >= capacity * 9 and current * 10 <= capacity


def advance(previous: Decimal, current: Decimal, *, digits: int) -> Decimal | None:
    """
    Return how far a register went on from one reading to the next; nothing when it went back.

    Units: as the register, before the multiplier.
    """
    if current >= previous:
        return current - previous
    if is_rollover_plausible(previous=previous, current=current, digits=digits):
        return capacity_of(digits) - previous + current
    return None


HOUR = timedelta(hours=1)


class Shown(NamedTuple):
    """What a register showed; a value for which a person vouches may be ahead of any ceiling."""

    at: datetime
    value: Decimal
    is_vouched: bool = False


def is_plausible(before: Shown, after: Shown, *, digits: int, ceiling: Decimal) -> bool:
    """
    Tell whether a register can have gone from one reading to a later one.

    Units: `ceiling` units of the register an hour; one hour's worth is always allowed.
    """
    went = advance(before.value, after.value, digits=digits)
    if went is None:
        return False
    seconds = Decimal(max(after.at - before.at, HOUR) // timedelta(seconds=1))
    return after.is_vouched or went * 3600 <= ceiling * seconds


def follow(
    previous: Shown | None, values: Iterable[Shown], *, digits: int, ceiling: Decimal
) -> Iterator[bool]:
    """
    Yield for each value, in the order of time, whether it can be accepted.

    A value that goes back from the last accepted one, or jumps ahead of it, cannot; the ones
    after it are compared with that last accepted one again. So the answer depends on the values
    alone and not on the order in which they came.
    """
    for shown in values:
        is_possible = previous is None or is_plausible(
            previous, shown, digits=digits, ceiling=ceiling
        )
        if is_possible:
            previous = shown
        yield is_possible

"""What a register may show after what it showed before. Pure."""

from collections.abc import Iterable, Iterator
from decimal import Decimal


def is_rollover_plausible(*, previous: Decimal, current: Decimal, digits: int) -> bool:
    """Return whether the register ran over: it was in its last tenth and is in its first."""
    capacity = Decimal(10) ** digits
    return previous * 10 >= capacity * 9 and current * 10 <= capacity


def advance(previous: Decimal, current: Decimal, *, digits: int) -> Decimal | None:
    """
    Return how far a register went on from one reading to the next; nothing when it went back.

    Units: as the register, before the multiplier.
    """
    if current >= previous:
        return current - previous
    if is_rollover_plausible(previous=previous, current=current, digits=digits):
        return Decimal(10) ** digits - previous + current
    return None


def follow(previous: Decimal | None, values: Iterable[Decimal], *, digits: int) -> Iterator[bool]:
    """
    Yield for each value, in the order of time, whether it can be accepted.

    A value that goes back from the last accepted one cannot; the ones after it are compared with
    that last accepted one again. So the answer depends on the values alone and not on the order
    in which they came.
    """
    for value in values:
        is_possible = previous is None or advance(previous, value, digits=digits) is not None
        if is_possible:
            previous = value
        yield is_possible

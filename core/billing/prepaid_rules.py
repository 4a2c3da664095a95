"""What follows a prepaid balance that falls, and how long it lasts. Pure functions only."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from core.accounts.models import Operator, Service
from core.billing.dunning_rules import POLICIES, Policy

STEPS_PICKED_MAX: Final = 2
# The notice that nothing is left; a bill that is overdue has to wait for longer.
NOTICE_PERIOD: Final = timedelta(hours=24)


class Mark(StrEnum):
    """What a balance can fall to: a step that was picked, nothing, the end of all credit."""

    STEP = "step"
    ZERO = "zero"
    USED_UP = "used_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A mark that a balance fell to or below. Units: `at_minor` minor units."""

    mark: Mark
    at_minor: int


def find_crossing(
    *, before: int | None, after: int, steps: Collection[int], emergency_minor: int
) -> Crossing | None:
    """
    Return the lowest mark that a balance fell to since it was looked at before, if to any.

    Nobody looked before a first time (`before` empty), so that all marks are above it. Without
    emergency credit nothing is left at zero.
    """
    marks = {**dict.fromkeys(steps, Mark.STEP), 0: Mark.ZERO, -emergency_minor: Mark.USED_UP}
    fallen = [at for at in marks if after <= at and (before is None or before > at)]
    return Crossing(mark=marks[min(fallen)], at_minor=min(fallen)) if fallen else None


def least_top_up(minor: int, *, emergency_minor: int) -> int:
    """Return the least payment after which there is credit again. Units: minor units."""
    return max(1 - emergency_minor - minor, 0)


def default_steps(offered: Collection[int]) -> list[int]:
    """Return at which steps people are told who picked none: the last ones before zero."""
    return sorted(offered)[:STEPS_PICKED_MAX]


def prepaid_policy(operator: Operator, service: Service) -> Policy:
    """Return the figures by which a prepaid supply may be cut; all other hours are friendly."""
    return replace(
        POLICIES[service],
        notice_period=NOTICE_PERIOD,
        opens_at=time(operator.prepaid_cut_from),
        closes_at=time(operator.prepaid_cut_until),
    )


def lasts_until(*, minor: int, burn_minor: Decimal, read_date: date) -> date:
    """
    Return the day on which a balance ends that was known on a day.

    Units: `burn_minor` minor units a day, above zero.
    """
    return read_date + timedelta(days=max(int(minor / burn_minor), 0))

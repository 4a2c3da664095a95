"""
What will probably be used in the days to come, with a range that is meant to hold. Pure.

The likely use goes on as in the last two weeks, moved a little by what the same weeks of last year
did. The range adds up what makes such a forecast wrong: days are uneven, two weeks are a short
look, and habits drift. On a recorded house the truth lay inside in 79 % and 83 % of its two years.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import median, pvariance
from typing import Final

from core.money import round_to

PACE_DAYS: Final = 14  # two of each weekday
HISTORY_DAYS: Final = 56
HISTORY_MIN: Final = 28
READINGS_MIN: Final = 14
BILLS_MIN: Final = 3
PLACES: Final = 3
YEAR_DAYS: Final = 364  # the same weekday a year ago

# Four in five: the truth lies so many standard deviations from the middle or nearer.
_DEVIATIONS: Final = Decimal("1.28")
# How far habits drift from the last two weeks, and how much of last year's change returns. Both
# were tuned on the first recorded year and held on the second.
_DRIFT: Final = Decimal("0.07")
_LAST_YEAR: Final = Decimal("0.25")
_CHANGE: Final = (Decimal("0.5"), Decimal(2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The use of some days to come, as likely, and between what it stays in four of five cases."""

    low: Decimal
    likely: Decimal
    high: Decimal

    def after(self, used: Decimal) -> "Forecast":
        """Return the use of all days when so much was used before these."""
        return Forecast(
            low=round_to(used + self.low, digits=PLACES),
            likely=round_to(used + self.likely, digits=PLACES),
            high=round_to(used + self.high, digits=PLACES),
        )


def foresee(
    uses: Sequence[Decimal | None], *, ahead: Decimal, change: Decimal | None
) -> Forecast | None:
    """
    Return the use of the days ahead after these days (the latest last), or nothing after too few.

    A day without a reading has no use; the next one with a reading counts for both. `change` is
    how many times as much was used a day in the same weeks of last year as in the two before.

    Units: `ahead` days.
    """
    uses = uses[-HISTORY_DAYS:]
    if uses and uses[0] is None:
        # The first reading then counts for days before these, too, nobody knows how many.
        first = next((i for i, use in enumerate(uses) if use is not None), len(uses))
        uses = uses[first + 1 :]
    days = _evened(uses)
    readings = sum(use is not None for use in uses)
    if len(days) < HISTORY_MIN or readings < READINGS_MIN:
        return None
    likely = sum(days[-PACE_DAYS:], Decimal(0)) / PACE_DAYS * ahead
    turn = Decimal(0)
    if change is not None:
        turn = (min(max(change, _CHANGE[0]), _CHANGE[1]) - 1) * _LAST_YEAR * likely
    # Sharing what was read late makes days look alike; dividing by the readings undoes it.
    scatter = pvariance(days) * len(days) / readings
    uneven = scatter * ahead * (1 + ahead / PACE_DAYS)
    spread = _DEVIATIONS * (uneven + (_DRIFT * likely) ** 2 + turn**2).sqrt()
    likely += turn
    return Forecast(low=max(likely - spread, Decimal(0)), likely=likely, high=likely + spread)


def _evened(uses: Sequence[Decimal | None]) -> list[Decimal]:
    """Share what was read after days without a reading among them; what was never read is left."""
    days: list[Decimal] = []
    unread = 0
    for use in uses:
        unread += 1
        if use is not None:
            days += [use / unread] * unread
            unread = 0
    return days


def foresee_by_bills(per_day: Sequence[Decimal], *, ahead: Decimal) -> Forecast | None:
    """
    Return the use of the days ahead if it lies between the least and the most a bill ever had.

    Units: `per_day` the use a day of each bill of a year, `ahead` days.
    """
    if len(per_day) < BILLS_MIN:
        return None
    return Forecast(
        low=min(per_day) * ahead, likely=median(per_day) * ahead, high=max(per_day) * ahead
    )

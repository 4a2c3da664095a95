"""Forecasts: the range contains the truth about as often as it says, on two recorded years."""

import calendar
import csv
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.billing.forecasts import (
    HISTORY_DAYS,
    PACE_DAYS,
    YEAR_DAYS,
    Forecast,
    foresee,
    foresee_by_bills,
)

REGISTER = Path(__file__).parents[1] / "data/ampds2/water_whw_daily_2012-04_2014-04.csv"


def recorded() -> tuple[list[date], list[Decimal]]:
    """The use of each day of two years. Units: litres."""
    with REGISTER.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    shown = [Decimal(row["counter_l"]) for row in rows]
    return (
        [date.fromisoformat(row["day"]) for row in rows[:-1]],
        [after - before for before, after in pairwise(shown)],
    )


def forecasts(first: int, last: int) -> Iterator[tuple[Forecast, Decimal]]:
    """What each morning would foresee to the end of its month, and what was then used."""
    days, uses = recorded()
    for now in range(max(first, HISTORY_DAYS), last):
        day = days[now]
        ahead = calendar.monthrange(day.year, day.month)[1] - day.day + 1
        change = None
        then = now - YEAR_DAYS
        if then >= PACE_DAYS:
            coming = sum(uses[then : then + ahead], Decimal(0)) / ahead
            change = coming / (sum(uses[then - PACE_DAYS : then], Decimal(0)) / PACE_DAYS)
        found = foresee(uses[now - HISTORY_DAYS : now], ahead=Decimal(ahead), change=change)
        assert found is not None
        yield found, sum(uses[now : now + ahead], Decimal(0))


class TestForesee:
    @pytest.mark.parametrize(("first", "last"), [(0, 365), (365, 730)])
    def test_contains_the_truth_in_about_four_of_five_cases(self, first: int, last: int) -> None:
        cases = list(forecasts(first, last))

        inside = sum(found.low <= used <= found.high for found, used in cases)
        share = Decimal(inside) / len(cases)
        width = sum((found.high - found.low) / found.likely for found, _ in cases) / len(cases)

        assert len(cases) > 300
        assert Decimal("0.77") <= share <= Decimal("0.86"), (share, width)
        assert width < Decimal("0.45"), "a range that says nothing contains everything"

    def test_says_nothing_after_too_few_days(self) -> None:
        assert foresee([Decimal(1)] * 27, ahead=Decimal(3), change=None) is None
        assert foresee([None] * 60, ahead=Decimal(3), change=None) is None

    def test_makes_no_days_of_two_readings_a_month_apart(self) -> None:
        uses = [None] * 29 + [Decimal(300)]

        assert foresee(uses * 2, ahead=Decimal(3), change=None) is None

    def test_is_not_surer_for_being_read_less_often(self) -> None:
        daily = [Decimal(use) for use in (1, 3, 2, 5, 1, 4, 2)] * 8
        pairs = [use for i in range(0, 56, 2) for use in (None, daily[i] + daily[i + 1])]

        often, seldom = (foresee(each, ahead=Decimal(9), change=None) for each in (daily, pairs))

        assert often is not None
        assert seldom is not None
        assert seldom.likely == often.likely
        assert seldom.high - seldom.low > (often.high - often.low) * Decimal("0.6")

    def test_counts_what_was_read_late_for_all_its_days(self) -> None:
        steady = foresee([Decimal(2)] * 56, ahead=Decimal(10), change=None)
        gaps = foresee([None, None, Decimal(6)] * 20, ahead=Decimal(10), change=None)

        assert steady == gaps
        assert steady is not None
        assert steady.likely == 20

    def test_turns_a_quarter_of_the_way_with_last_year(self) -> None:
        found = foresee([Decimal(2)] * 56, ahead=Decimal(10), change=Decimal("1.4"))

        assert found is not None
        assert found.likely == 22
        assert found.low < 20 < found.high

    @given(
        st.lists(st.decimals(0, 100, places=3), min_size=28, max_size=60),
        st.decimals(0, 62, places=2),
        st.none() | st.decimals(0, 100, places=2),
    )
    def test_keeps_the_likely_inside_and_is_never_negative(self, uses, ahead, change) -> None:
        found = foresee(uses, ahead=ahead, change=change)

        assert found is not None
        assert 0 <= found.low <= found.likely <= found.high


class TestForeseeByBills:
    def test_lies_between_the_least_and_the_most(self) -> None:
        found = foresee_by_bills([Decimal(1), Decimal(4), Decimal(2)], ahead=Decimal(10))

        assert found == Forecast(low=Decimal(10), likely=Decimal(20), high=Decimal(40))
        assert foresee_by_bills([Decimal(1), Decimal(4)], ahead=Decimal(10)) is None

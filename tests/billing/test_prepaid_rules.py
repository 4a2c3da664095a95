"""Marks that a balance falls to: each once, the lowest counts, zero and the end always."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.billing.prepaid_rules import (
    Crossing,
    Mark,
    default_steps,
    find_crossing,
    lasts_until,
    least_top_up,
)

STEPS = (50_00, 10_00)
minors = st.integers(-100_00, 300_00)


def cross(before: int | None, after: int, *, emergency: int = 20_00) -> Crossing | None:
    return find_crossing(before=before, after=after, steps=STEPS, emergency_minor=emergency)


class TestFindCrossing:
    @pytest.mark.parametrize(
        ("before", "after", "mark", "at"),
        [
            (50_01, 50_00, Mark.STEP, 50_00),
            (200_00, 9_99, Mark.STEP, 10_00),
            (10_00, 0, Mark.ZERO, 0),
            (10_00, -19_99, Mark.ZERO, 0),
            (-19_99, -20_00, Mark.USED_UP, -20_00),
            (None, 49_99, Mark.STEP, 50_00),
            (None, -500_00, Mark.USED_UP, -20_00),
        ],
    )
    def test_is_the_lowest_mark_fallen_to(self, before, after, mark, at) -> None:
        assert cross(before, after) == Crossing(mark=mark, at_minor=at)

    @pytest.mark.parametrize(
        ("before", "after"), [(50_00, 49_99), (49_99, 10_01), (9_00, 300_00), (None, 50_01)]
    )
    def test_is_none_between_marks_and_upwards(self, before, after) -> None:
        assert cross(before, after) is None

    def test_has_nothing_below_zero_without_emergency_credit(self) -> None:
        assert cross(5, 0, emergency=0) == Crossing(mark=Mark.USED_UP, at_minor=0)

    @given(st.lists(minors, min_size=1, max_size=30), st.sets(minors.filter(bool), max_size=2))
    def test_names_every_downward_crossing_once(self, course: list[int], steps: set[int]) -> None:
        before: int | None = None
        told: list[int] = []
        fallen = 0
        marks = {*steps, 0, -20_00}
        for after in course:
            found = find_crossing(before=before, after=after, steps=steps, emergency_minor=20_00)
            # Told or not, a mark is passed downwards if it lay below and is reached now.
            passed = [at for at in marks if after <= at and (before is None or at < before)]
            fallen += bool(passed)
            if found is not None:
                assert found.at_minor == min(passed)
                told.append(found.at_minor)
            before = after
        assert len(told) == fallen


class TestDefaultSteps:
    def test_are_the_last_two_before_zero(self) -> None:
        assert default_steps([200_00, 30_00, 10_00, 50_00]) == [10_00, 30_00]


class TestLastsUntil:
    @pytest.mark.parametrize(("minor", "day"), [(59_99, 5), (60_00, 6), (0, 0), (-30_00, 0)])
    def test_counts_whole_days_from_the_reading(self, minor: int, day: int) -> None:
        until = lasts_until(minor=minor, burn_minor=Decimal(10_00), read_date=date(2026, 11, 1))
        assert until == date(2026, 11, 1 + day)


class TestLeastTopUp:
    @given(st.integers(-500_00, 500_00), st.integers(0, 100_00))
    def test_is_the_first_amount_that_leaves_credit(self, minor: int, emergency: int) -> None:
        least = least_top_up(minor, emergency_minor=emergency)

        assert minor + least > -emergency
        assert least == 0 or minor + least - 1 <= -emergency

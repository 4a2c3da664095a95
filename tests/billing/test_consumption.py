"""From registers to consumption."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.billing.consumption import (
    ReadingGoesBackwards,
    ReadingOutOfRange,
    Shown,
    share_by_days,
)
from core.periods import Period
from tests.billing.books import span_between

AT = datetime(2026, 1, 1, tzinfo=UTC)


def consumption(previous: str, current: str, multiplier: int = 1) -> Decimal:
    opening, closing = (
        Shown(at=AT, value=Decimal(value), source="gateway") for value in (previous, current)
    )
    span = span_between(opening, closing, multiplier=multiplier)
    return span.consumption(kept_digits=0)


class TestConsumption:
    @pytest.mark.parametrize(
        ("readings", "expected"),
        [
            pytest.param(("25001", "25222"), 221, id="T39-a"),
            pytest.param(("9201", "9846"), 645, id="T39-b"),
            pytest.param(("99986", "11"), 25, id="T40"),
            pytest.param(("7", "7"), 0, id="no use"),
            pytest.param(("100", "110", 40), 400, id="multiplier"),
            pytest.param(("99999", "1", 40), 80, id="rollover with a multiplier"),
        ],
    )
    def test_is_the_difference_of_the_readings(self, readings, expected):
        assert consumption(*readings) == expected

    @pytest.mark.parametrize(
        ("previous", "current"), [("50000", "11"), ("89999", "1"), ("99986", "10001")]
    )
    def test_refuses_a_smaller_reading_that_is_no_plausible_rollover(self, previous, current):
        with pytest.raises(ReadingGoesBackwards) as refusal:
            consumption(previous, current)

        assert refusal.value.params == {"previous": Decimal(previous), "current": Decimal(current)}

    @pytest.mark.parametrize(("previous", "current"), [("0", "100000"), ("-1", "5")])
    def test_refuses_what_the_register_cannot_show(self, previous, current):
        with pytest.raises(ReadingOutOfRange):
            consumption(previous, current)

    def test_bills_a_fraction_once_it_has_become_whole(self):
        registers = ["0", "0.6", "1.2", "1.9", "2.0"]

        billed = [consumption(before, after) for before, after in pairwise(registers)]

        assert billed == [0, 1, 0, 1]

    def test_refuses_a_step_back_that_whole_units_would_hide(self):
        with pytest.raises(ReadingGoesBackwards):
            consumption("7.9", "7.1")


class TestShareByDays:
    def test_divides_a_period_where_the_price_changes_t36(self):
        parts = Period(date(2026, 4, 1), date(2026, 5, 16)).split_at(date(2026, 4, 16))

        assert share_by_days(Decimal(100), parts=parts, digits=0) == (33, 67)

    @given(
        st.integers(0, 10**8),
        st.integers(0, 3),
        st.lists(st.integers(1, 400), min_size=1, max_size=12),
    )
    def test_always_adds_up(self, steps, digits, lengths):
        quantity, day, parts = Decimal(steps).scaleb(-digits), date(2026, 1, 1), []
        for length in lengths:
            parts.append(Period(day, day + timedelta(days=length)))
            day = parts[-1].ends

        shares = share_by_days(quantity, parts=parts, digits=digits)

        assert sum(shares) == quantity
        assert all(share >= 0 for share in shares)

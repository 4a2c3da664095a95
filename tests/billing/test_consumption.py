"""From registers to consumption."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.billing.consumption import (
    ReadingGoesBackwards,
    ReadingOutOfRange,
    RegisterSpan,
    consumption,
    consumption_across,
    share_by_days,
)
from core.periods import Period


def span(previous: str, current: str, digits: int = 5, **more) -> RegisterSpan:
    return RegisterSpan(previous=Decimal(previous), current=Decimal(current), digits=digits, **more)


class TestConsumption:
    @pytest.mark.parametrize(
        ("readings", "expected"),
        [
            pytest.param(span("25001", "25222"), 221, id="T39-a"),
            pytest.param(span("9201", "9846"), 645, id="T39-b"),
            pytest.param(span("99986", "11", rollover_confirmed=True), 25, id="T40"),
            pytest.param(span("7", "7"), 0, id="no use"),
            pytest.param(span("100", "110", multiplier=Decimal(40)), 400, id="multiplier"),
            pytest.param(
                span("99999", "1", multiplier=Decimal(40), rollover_confirmed=True),
                80,
                id="rollover with a multiplier",
            ),
            pytest.param(span("1", "5", rollover_confirmed=True), 4, id="confirmed for nothing"),
        ],
    )
    def test_is_the_difference_of_the_readings(self, readings, expected):
        assert consumption(readings) == expected

    def test_refuses_a_smaller_reading_until_a_rollover_is_confirmed(self):
        with pytest.raises(ReadingGoesBackwards) as refusal:
            consumption(span("99986", "11"))

        assert refusal.value.params == {
            "previous": Decimal(99986),
            "current": Decimal(11),
            "rollover_plausible": True,
        }

    @pytest.mark.parametrize(
        ("previous", "current"), [("50000", "11"), ("89999", "1"), ("99986", "10001")]
    )
    def test_refuses_a_rollover_that_is_not_plausible_even_if_confirmed(self, previous, current):
        with pytest.raises(ReadingGoesBackwards) as refusal:
            consumption(span(previous, current, rollover_confirmed=True))

        assert refusal.value.params["rollover_plausible"] is False

    @pytest.mark.parametrize(("previous", "current"), [("0", "100000"), ("-1", "5")])
    def test_refuses_what_the_register_cannot_show(self, previous, current):
        with pytest.raises(ReadingOutOfRange):
            consumption(span(previous, current))

    def test_bills_a_fraction_once_it_has_become_whole(self):
        registers = ["0", "0.6", "1.2", "1.9", "2.0"]

        billed = [
            consumption(span(before, after), kept_digits=0) for before, after in pairwise(registers)
        ]

        assert billed == [0, 1, 0, 1]

    def test_refuses_a_step_back_that_whole_units_would_hide(self):
        with pytest.raises(ReadingGoesBackwards):
            consumption(span("7.9", "7.1"), kept_digits=0)


class TestConsumptionAcross:
    def test_adds_the_old_meters_end_and_the_new_meters_start(self):
        old, new = span("812", "830"), span("3", "15")

        assert consumption_across([old, new]) == 30

    def test_cuts_each_reading_of_each_meter(self):
        old, new = span("812", "830.9"), span("0.2", "15.9")

        assert consumption_across([old, new], kept_digits=0) == 33

    def test_refuses_a_backward_step_of_either_meter(self):
        with pytest.raises(ReadingGoesBackwards):
            consumption_across([span("812", "830"), replace(span("3", "15"), previous=Decimal(16))])


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

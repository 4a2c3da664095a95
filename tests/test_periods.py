from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.periods import (
    DayOutsidePeriod,
    EmptyPeriod,
    Period,
    a_year_before,
    bimonth_of,
    local_day,
    month_of,
    start_of_day,
    year_of,
)

SHANGHAI = ZoneInfo("Asia/Shanghai")
days = st.dates(date(1995, 1, 1), date(2037, 1, 1))
periods = st.builds(lambda day, n: Period(day, day + timedelta(days=n)), days, st.integers(1, 900))


class TestPeriod:
    @pytest.mark.parametrize("ends", [date(2026, 4, 1), date(2026, 3, 31)])
    def test_refuses_to_be_empty(self, ends):
        with pytest.raises(EmptyPeriod):
            Period(date(2026, 4, 1), ends)

    def test_counts_its_first_day_in_and_its_end_out(self):
        april = month_of(date(2026, 4, 15))

        assert (april.days, april.last_day) == (30, date(2026, 4, 30))
        assert april.contains(date(2026, 4, 1))
        assert not april.contains(date(2026, 5, 1))

    def test_overlaps_only_if_a_day_is_shared(self):
        april, may = month_of(date(2026, 4, 1)), month_of(date(2026, 5, 1))

        assert not april.overlaps(may)
        assert not may.overlaps(april)
        assert april.overlaps(Period(date(2026, 4, 30), date(2026, 6, 1)))

    @pytest.mark.parametrize("day", [date(2026, 4, 1), date(2026, 5, 1), date(2027, 1, 1)])
    def test_refuses_a_split_that_leaves_nothing(self, day):
        with pytest.raises(DayOutsidePeriod):
            month_of(date(2026, 4, 1)).split_at(day)

    @given(periods, st.data())
    def test_splits_into_parts_that_add_up(self, period, data):
        if period.days == 1:
            return
        day = data.draw(st.dates(period.starts + timedelta(days=1), period.last_day))

        before, after = period.split_at(day)

        assert before.days + after.days == period.days
        assert before.months + after.months == period.months
        assert not before.overlaps(after)

    @pytest.mark.parametrize(
        ("starts", "ends", "months", "touched"),
        [
            (date(2026, 4, 12), date(2026, 5, 1), Fraction(19, 30), 1),
            (date(2026, 2, 1), date(2026, 3, 1), 1, 1),
            (date(2026, 12, 31), date(2027, 1, 2), Fraction(2, 31), 2),
            (date(2026, 7, 15), date(2027, 1, 1), Fraction(17, 31) + 5, 6),
        ],
    )
    def test_knows_its_length_in_months(self, starts, ends, months, touched):
        period = Period(starts, ends)

        assert (period.months, period.months_touched) == (months, touched)


class TestWindows:
    def test_month_ends_with_the_year(self):
        assert month_of(date(2026, 12, 31)) == Period(date(2026, 12, 1), date(2027, 1, 1))

    @pytest.mark.parametrize(
        ("day", "first_month", "starts"),
        [
            (date(2026, 2, 28), 1, date(2026, 1, 1)),
            (date(2026, 3, 1), 1, date(2026, 3, 1)),
            (date(2026, 1, 31), 2, date(2025, 12, 1)),
            (date(2026, 2, 1), 2, date(2026, 2, 1)),
        ],
    )
    def test_bimonth_is_the_pair_around_the_day(self, day, first_month, starts):
        assert bimonth_of(day, first_month=first_month).starts == starts

    @pytest.mark.parametrize(
        ("day", "starts"),
        [(date(2026, 6, 30), date(2025, 7, 1)), (date(2026, 7, 1), date(2026, 7, 1))],
    )
    def test_year_starts_on_the_day_it_is_given(self, day, starts):
        assert year_of(day, first_month=7) == Period(starts, starts.replace(year=starts.year + 1))

    @given(days, st.integers(1, 12))
    def test_windows_hold_their_day(self, day, month):
        for window in (
            month_of(day),
            bimonth_of(day, first_month=month),
            year_of(day, first_month=month, first_day=15),
        ):
            assert window.contains(day)


class TestAYearBefore:
    @example(date(2028, 2, 29))
    @given(days)
    def test_is_the_same_day_or_the_one_before_a_leap_day(self, day):
        before = a_year_before(day)

        assert before.year == day.year - 1
        same = (day.month, day.day) if (day.month, day.day) != (2, 29) else (2, 28)
        assert (before.month, before.day) == same


class TestLocalDay:
    @pytest.mark.parametrize(
        ("hour", "minute", "day"), [(15, 59, date(2026, 4, 30)), (16, 0, date(2026, 5, 1))]
    )
    def test_is_the_day_of_the_zone_and_not_of_utc(self, hour, minute, day):
        moment = datetime(2026, 4, 30, hour, minute, tzinfo=UTC)

        assert local_day(moment, zone=SHANGHAI) == day

    def test_refuses_a_moment_without_a_zone(self):
        with pytest.raises(ValueError, match="time zone"):
            local_day(datetime(2026, 4, 30), zone=SHANGHAI)  # noqa: DTZ001 (that is the point)


class TestStartOfDay:
    @given(
        st.dates(date(2012, 1, 1), date(2037, 1, 1)),
        st.sampled_from(["Asia/Shanghai", "Europe/London", "America/Sao_Paulo", "Asia/Beirut"]),
    )
    def test_is_the_first_moment_with_that_local_day(self, day, name):
        zone = ZoneInfo(name)

        start = start_of_day(day, zone=zone)

        assert local_day(start, zone=zone) == day
        assert local_day(start - timedelta(seconds=1), zone=zone) == day - timedelta(days=1)

    def test_waits_for_the_hour_that_the_clocks_skip_at_midnight(self):
        sao_paulo = ZoneInfo("America/Sao_Paulo")

        start = start_of_day(date(2018, 11, 4), zone=sao_paulo)

        assert start == datetime(2018, 11, 4, 3, 0, tzinfo=UTC)
        assert start.astimezone(sao_paulo).hour == 1

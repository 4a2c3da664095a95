"""When a quantity is abnormal: laws that hold for any series, and the cases by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.monitoring.models import Side
from core.monitoring.thresholds import SILENCE_MAX, Ended, Raised, Range, State, Worse, judge
from tests.replays.slow_alarms import SlowAlarm, find_alarms

START = datetime(2026, 11, 2, tzinfo=UTC)
VOLTS = Range(
    low=Decimal("198.0"),
    high=Decimal("235.4"),
    deadband=Decimal("4.4"),
    hold=timedelta(minutes=20),
)


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


def series(*values: object, every: int = 10) -> list[tuple[datetime, Decimal]]:
    return [(at(i * every), Decimal(str(value))) for i, value in enumerate(values)]


def events(*values: object, every: int = 10) -> list[object]:
    return judge(VOLTS, State(), series(*values, every=every))[1]


ranges = st.builds(
    Range,
    low=st.none() | st.integers(0, 40).map(Decimal),
    high=st.none() | st.integers(50, 100).map(Decimal),
    deadband=st.integers(0, 30).map(Decimal),
    hold=st.integers(0, 40).map(lambda minutes: timedelta(minutes=minutes)),
)
samples = st.lists(
    st.tuples(st.integers(0, 2000).map(at), st.integers(0, 110).map(Decimal)),
    max_size=60,
    unique_by=lambda sample: sample[0],
).map(sorted)


class TestAnySeries:
    @given(ranges, samples, st.integers(0, 60))
    def test_is_judged_the_same_in_one_piece_or_two(self, limits, series, cut):
        whole, all_events = judge(limits, State(), series)
        middle, first = judge(limits, State(), series[:cut])
        end, second = judge(limits, middle, series[cut:])
        assert (end, first + second) == (whole, all_events)

    @given(ranges, samples, st.integers(0, 60))
    def test_creates_nothing_new_when_a_window_is_judged_again(self, limits, series, start):
        state, _ = judge(limits, State(), series)
        assert judge(limits, state, series[start:]) == (state, [])

    @given(ranges, samples)
    def test_is_judged_the_same_with_duplicates_and_stragglers(self, limits, series):
        disturbed = [piece for i, _ in enumerate(series) for piece in series[max(0, i - 2) : i + 1]]
        assert judge(limits, State(), disturbed) == judge(limits, State(), series)

    @given(ranges, samples)
    def test_raises_and_ends_alarms_in_turn(self, limits, series):
        state, happened = judge(limits, State(), series)
        turns = [event for event in happened if not isinstance(event, Worse)]
        assert all(type(a) is not type(b) for a, b in pairwise(turns))
        assert not turns or isinstance(turns[0], Raised)
        assert (state.alarm is not None) == bool(turns and isinstance(turns[-1], Raised))

    @given(ranges, samples)
    def test_raises_only_what_stayed_outside_for_the_hold(self, limits, series):
        _, happened = judge(limits, State(), series)
        for event in happened:
            if isinstance(event, Raised):
                run = [value for moment, value in series if event.began_at <= moment <= event.at]
                assert event.at - event.began_at >= limits.hold
                if event.side is Side.LOW:
                    assert all(value < limits.low for value in run)
                    assert event.worst == min(run)
                else:
                    assert all(value > limits.high for value in run)
                    assert event.worst == max(run)
            elif isinstance(event, Ended):
                assert limits.side_of(event.value) is None or any(
                    isinstance(other, Raised) and other.at == event.at for other in happened
                )

    @given(ranges, samples)
    def test_has_the_alarms_that_a_slow_model_finds(self, limits, series):
        alarms = []
        for event in judge(limits, State(), series)[1]:
            if isinstance(event, Raised):
                alarm = SlowAlarm(event.side, event.began_at, event.at, event.worst, None, None)
                alarms.append(alarm)
            elif isinstance(event, Worse):
                alarms[-1] = alarms[-1]._replace(worst=event.worst)
            else:
                alarms[-1] = alarms[-1]._replace(ended_at=event.at, end_value=event.value)
        assert alarms == find_alarms(limits, series, silence_max=SILENCE_MAX)

    @given(ranges, samples)
    def test_is_mirrored_when_the_values_are(self, limits, series):
        turned = Range(
            low=None if limits.high is None else -limits.high,
            high=None if limits.low is None else -limits.low,
            deadband=limits.deadband,
            hold=limits.hold,
        )
        _, straight = judge(limits, State(), series)
        _, mirrored = judge(turned, State(), [(moment, -value) for moment, value in series])
        assert [(type(e), e.at) for e in straight] == [(type(e), e.at) for e in mirrored]
        assert {e.side for e in straight if isinstance(e, Raised)} == {
            Side.HIGH if e.side is Side.LOW else Side.LOW for e in mirrored if isinstance(e, Raised)
        }

    @given(ranges, samples)
    def test_counts_no_time_across_a_silence(self, limits, series):
        _, happened = judge(limits, State(), series, silence_max=timedelta(minutes=30))
        moments = [moment for moment, _ in series]
        for event in happened:
            if isinstance(event, Raised):
                run = [moment for moment in moments if event.began_at <= moment <= event.at]
                assert all(b - a <= timedelta(minutes=30) for a, b in pairwise(run))


class TestVoltage:
    def test_within_both_bounds_is_normal(self):
        assert events("198.0", "235.4", 220, "198.0", "235.4") == []

    def test_below_for_less_than_the_hold_is_no_alarm(self):
        assert events("197.9", "197.9", 220, "197.9", "197.9", 220) == []

    def test_below_for_the_hold_is_one_alarm_with_its_beginning_and_worst(self):
        assert events(220, 197, 190, 196, 195) == [
            Raised(at=at(30), side=Side.LOW, limit=VOLTS.low, began_at=at(10), worst=Decimal(190))
        ]

    def test_farther_outside_makes_the_alarm_worse(self):
        assert events(190, 190, 190, 185, 186)[1:] == [Worse(at=at(30), worst=Decimal(185))]

    def test_just_inside_the_bound_is_not_yet_back(self):
        assert len(events(190, 190, 190, 200, 200, 200, 200)) == 1

    def test_back_by_the_deadband_for_the_hold_ends_the_alarm(self):
        assert events(190, 190, 190, "202.4", 203, 204)[1:] == [
            Ended(at=at(50), value=Decimal(204))
        ]

    def test_a_short_return_does_not_end_the_alarm(self):
        assert len(events(190, 190, 190, 220, 220, 190, 220, 220)) == 1

    def test_above_is_the_mirror(self):
        raised, ended = events(240, 241, 240, 231, 230, 229)
        assert (raised.side, raised.worst, raised.limit) == (Side.HIGH, 241, VOLTS.high)
        assert ended == Ended(at=at(50), value=Decimal(229))

    def test_a_turn_to_the_other_side_ends_one_alarm_and_raises_the_other(self):
        _, ended, raised = events(190, 190, 190, 250, 255, 251)
        assert ended == Ended(at=at(50), value=Decimal(251))
        assert (raised.at, raised.side, raised.began_at) == (at(50), Side.HIGH, at(30))
        assert raised.worst == 255

    @pytest.mark.parametrize("minutes", [120, 121])
    def test_a_silence_longer_than_allowed_starts_the_count_again(self, minutes):
        long = minutes > SILENCE_MAX.total_seconds() // 60
        _, happened = judge(VOLTS, State(), [(at(0), Decimal(190)), (at(minutes), Decimal(190))])
        assert [type(event) for event in happened] == ([] if long else [Raised])

    def test_a_silence_does_not_end_an_alarm(self):
        state, _ = judge(VOLTS, State(), series(190, 190, 190))
        state, happened = judge(VOLTS, state, [(at(500), Decimal(220)), (at(510), Decimal(220))])
        assert happened == []
        assert judge(VOLTS, state, [(at(520), Decimal(220))])[1] == [
            Ended(at=at(520), value=Decimal(220))
        ]

    def test_a_deadband_wider_than_the_range_still_lets_it_end(self):
        narrow = Range(low=Decimal(10), high=Decimal(12), deadband=Decimal(8))
        _, happened = judge(narrow, State(), series(9, 11, 12))
        assert [type(event) for event in happened] == [Raised, Ended]

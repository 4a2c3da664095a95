"""The clocks of a debt under objections: they stand, go on, and never go back."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.accounts.models import Service
from core.billing.correction_models import DisputeState
from core.billing.dispute_rules import Pause, counted_from, due_after, may_become
from core.billing.dunning_rules import POLICIES, Standing, next_step
from core.billing.models import StepKind

BEGAN = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
HOURS = st.integers(1, 24 * 20)
ENDS = (DisputeState.UPHELD, DisputeState.DECLINED, DisputeState.WITHDRAWN)


class Clocks(RuleBasedStateMachine):
    """A reminder that was delivered, days that pass, objections that open and end."""

    @initialize()
    def begin(self) -> None:
        self.now = BEGAN
        self.ran = timedelta(0)
        self.pauses: list[Pause] = []
        self.state: DisputeState | None = None
        self.elapsed_before = timedelta(0)
        self.due = date(2026, 11, 17)

    def elapsed(self) -> timedelta:
        return self.now - counted_from(BEGAN, pauses=self.pauses, now=self.now)

    @rule(hours=HOURS)
    def time_passes(self, hours: int) -> None:
        self.elapsed_before = self.elapsed()
        self.now += timedelta(hours=hours)
        if self.state is not DisputeState.OPEN:
            self.ran += timedelta(hours=hours)

    @precondition(lambda self: self.state is not DisputeState.OPEN)
    @rule()
    def somebody_objects(self) -> None:
        self.elapsed_before = self.elapsed()
        self.pauses.append(Pause(self.now, None))
        self.state = DisputeState.OPEN

    @precondition(lambda self: self.state is DisputeState.OPEN)
    @rule(end=st.sampled_from(ENDS))
    def it_is_answered(self, end: DisputeState) -> None:
        assert may_become(DisputeState.OPEN, end)
        self.elapsed_before = self.elapsed()
        opened = self.pauses[-1].since
        late_before = (opened.date() - self.due).days
        self.due = due_after(self.due, opened=opened.date(), answered=self.now.date())
        assert (self.now.date() - self.due).days == late_before
        self.pauses[-1] = Pause(opened, self.now)
        self.state = end

    @invariant()
    def what_elapsed_is_exactly_the_time_that_ran(self) -> None:
        assert self.elapsed() == self.ran

    @invariant()
    def no_clock_ever_goes_back(self) -> None:
        assert self.elapsed() >= self.elapsed_before

    @invariant()
    def no_notice_comes_before_its_time_has_run(self) -> None:
        policy = POLICIES[Service.ELECTRICITY]
        standing = Standing(
            overdue_days=99,
            overdue_minor=99_999,
            is_estimated=False,
            is_reminded=True,
            reminder_delivered_at=counted_from(BEGAN, pauses=self.pauses, now=self.now),
        )
        step = next_step(standing, policy=policy, now=self.now)
        assert (step is StepKind.CUT_NOTICE) == (self.ran >= policy.reminder_period)


TestClocks = Clocks.TestCase


class TestMayBecome:
    @given(st.sampled_from(ENDS), st.sampled_from(DisputeState))
    def test_lets_nothing_follow_an_end(self, end: DisputeState, wanted: DisputeState) -> None:
        assert not may_become(end, wanted)

    @given(st.sampled_from(DisputeState))
    def test_lets_an_open_one_end_in_any_way_and_not_begin_again(
        self, wanted: DisputeState
    ) -> None:
        assert may_become(DisputeState.OPEN, wanted) == (wanted in ENDS)


class TestCountedFrom:
    def test_counts_only_what_lies_after_the_moment(self) -> None:
        pause = Pause(BEGAN - timedelta(days=3), BEGAN + timedelta(days=2))
        now = BEGAN + timedelta(days=10)

        assert counted_from(BEGAN, pauses=[pause], now=now) == BEGAN + timedelta(days=2)

    def test_is_the_moment_itself_when_nobody_objected(self) -> None:
        assert counted_from(BEGAN, pauses=[], now=BEGAN) == BEGAN

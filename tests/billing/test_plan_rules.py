"""Plans to pay in parts: exact parts, and no end without its grace."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.billing.dispute_rules import Pause, counted_from
from core.billing.plan_models import PlanState
from core.billing.plan_rules import (
    ACTIVE,
    Look,
    Terms,
    divide_debt,
    left_at_most,
    look_at,
    may_become,
    next_part,
    possible_parts,
    put_off,
    stood_still,
)

TODAY = date(2026, 11, 20)
TERMS = Terms(parts_max=6, part_minor_min=10_00, days=30, grace_days=3)
TERMS_OF_ALL = st.builds(
    Terms,
    parts_max=st.integers(1, 24),
    part_minor_min=st.integers(1, 50_000),
    days=st.integers(1, 92),
    grace_days=st.integers(1, 30),
)


class TestDivideDebt:
    @given(st.integers(1, 10**9), st.integers(2, 24), TERMS_OF_ALL)
    def test_loses_no_coin_and_is_equal_but_for_the_smallest(
        self, debt: int, count: int, terms: Terms
    ) -> None:
        parts = divide_debt(debt, count=count, today=TODAY, terms=terms)

        amounts = [part.amount_minor for part in parts]
        assert sum(amounts) == debt
        assert max(amounts) - min(amounts) <= 1
        assert amounts == sorted(amounts, reverse=True)

    @given(st.integers(2, 24), TERMS_OF_ALL)
    def test_begins_within_a_week_and_goes_on_at_even_steps(self, count: int, terms: Terms) -> None:
        days = [part.due for part in divide_debt(10**6, count=count, today=TODAY, terms=terms)]

        assert TODAY < days[0] <= TODAY + timedelta(days=7)
        gaps = {later - earlier for earlier, later in pairwise(days)}
        assert gaps == {timedelta(days=terms.days)}

    @given(st.integers(0, 10**7), TERMS_OF_ALL)
    def test_makes_no_part_smaller_than_allowed(self, debt: int, terms: Terms) -> None:
        for count in possible_parts(debt, terms=terms):
            assert 2 <= count <= terms.parts_max
            parts = divide_debt(debt, count=count, today=TODAY, terms=terms)
            assert parts[-1].amount_minor >= terms.part_minor_min

    def test_is_not_possible_for_a_small_debt(self) -> None:
        assert not possible_parts(19_99, terms=TERMS)
        assert list(possible_parts(20_00, terms=TERMS)) == [2]


class TestNextPart:
    @given(st.integers(0, 10**6), st.integers(2, 12))
    def test_asks_for_what_pays_exactly_the_parts_up_to_one(self, left: int, count: int) -> None:
        parts = divide_debt(10**6, count=count, today=TODAY, terms=TERMS)

        asked = next_part(parts, left_minor=left)

        assert (asked is None) == (left == 0)
        if asked is not None:
            later = parts[asked.position :]
            assert left - asked.amount_minor == sum(part.amount_minor for part in later)
            assert asked.amount_minor <= parts[asked.position - 1].amount_minor

    def test_names_the_days_of_a_plan(self) -> None:
        parts = divide_debt(56_53, count=3, today=TODAY, terms=TERMS)

        assert [part.amount_minor for part in parts] == [18_85, 18_84, 18_84]
        asked = next_part(parts, left_minor=56_53)
        assert asked is not None
        assert (asked.position, asked.due, asked.amount_minor) == (1, date(2026, 11, 27), 18_85)


class TestStoodStill:
    def test_moves_only_the_days_that_had_not_come(self) -> None:
        parts = divide_debt(60_00, count=3, today=TODAY, terms=TERMS)
        since = datetime(2026, 12, 1, 4, tzinfo=UTC)

        moved = stood_still(
            parts,
            pauses=[Pause(since, since + timedelta(days=5))],
            now=datetime(2026, 12, 20, tzinfo=UTC),
        )

        gone = [(new.due - old.due).days for new, old in zip(moved, parts, strict=True)]
        assert gone == [0, 5, 5]

    def test_counts_the_days_of_two_objections_at_once_once(self) -> None:
        parts = divide_debt(60_00, count=2, today=TODAY, terms=TERMS)
        since = datetime(2026, 11, 21, 4, tzinfo=UTC)
        day = timedelta(days=1)
        pauses = [Pause(since + 2 * day, since + 6 * day), Pause(since, since + 4 * day)]

        moved = stood_still(parts, pauses=pauses, now=since + 30 * day)

        assert [new.due - old.due for new, old in zip(moved, parts, strict=True)] == [6 * day] * 2

    def test_goes_on_while_an_objection_is_open(self) -> None:
        parts = divide_debt(60_00, count=2, today=TODAY, terms=TERMS)
        pause = Pause(datetime(2026, 11, 21, tzinfo=UTC), None)

        moved = stood_still(parts, pauses=[pause], now=datetime(2027, 1, 20, tzinfo=UTC))

        assert left_at_most(moved, day=date(2027, 1, 20)) == 60_00


class TestMayBecome:
    @given(st.sampled_from(PlanState), st.sampled_from(PlanState))
    def test_lets_nothing_follow_an_end(self, state: PlanState, wanted: PlanState) -> None:
        if state not in ACTIVE:
            assert not may_become(state, wanted)

    @given(st.sampled_from(PlanState))
    def test_keeps_or_breaks_only_what_was_agreed(self, state: PlanState) -> None:
        agreed = state is PlanState.AGREED
        assert may_become(state, PlanState.KEPT) == agreed
        assert may_become(state, PlanState.BROKEN) == agreed


class TestCountedFrom:
    @given(
        st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=6),
        st.integers(0, 100),
    )
    def test_counts_time_that_lies_in_two_pauses_once(
        self, spans: list[tuple[int, int]], passed: int
    ) -> None:
        began = datetime(2026, 11, 1, tzinfo=UTC)
        day = timedelta(days=1)
        pauses = [Pause(began + start * day, began + (start + long) * day) for start, long in spans]

        counted = counted_from(began, pauses=pauses, now=began + passed * day)

        stood = {d for start, long in spans for d in range(start, start + long) if d < passed}
        assert counted == began + len(stood) * day


class Plans(RuleBasedStateMachine):
    """An agreed plan: days, payments, credit, money that goes back; a look each day."""

    @initialize(debt=st.integers(20_00, 10**6), count=st.integers(2, 6), wait=st.integers(0, 20))
    def begin(self, debt: int, count: int, wait: int) -> None:
        self.today = TODAY + timedelta(days=wait)
        self.parts = put_off(divide_debt(debt, count=count, today=TODAY, terms=TERMS), days=wait)
        assert self.parts[0].due > self.today
        self.left = self.debt = debt
        self.short_since: date | None = None
        self.told: list[date] = []
        self.look = Look.FINE

    def is_running(self) -> bool:
        return self.look is not Look.BROKEN and self.left > 0

    @rule(days=st.integers(1, 40))
    def days_pass(self, days: int) -> None:
        for _ in range(days):
            self.today += timedelta(days=1)
            if self.look is not Look.BROKEN:
                self._look()

    def _look(self) -> None:
        self.look = look_at(
            self.parts,
            left_minor=self.left,
            today=self.today,
            short_since=self.short_since,
            grace_days=TERMS.grace_days,
        )
        if self.look is Look.FINE:
            self.short_since = None
        elif self.short_since is None:
            self.short_since = self.today
            self.told.append(self.today)

    @precondition(is_running)
    @rule()
    def the_next_part_is_paid(self) -> None:
        asked = next_part(self.parts, left_minor=self.left)
        assert asked is not None
        self.left -= asked.amount_minor

    @precondition(is_running)
    @rule(minor=st.integers(1, 10**6))
    def something_is_paid_or_credited(self, minor: int) -> None:
        self.left -= min(minor, self.left)

    @precondition(is_running)
    @rule(minor=st.integers(1, 10**6))
    def money_goes_back(self, minor: int) -> None:
        self.left = min(self.debt, self.left + minor)

    @invariant()
    def nothing_breaks_that_was_not_short_for_all_its_grace_after_a_word(self) -> None:
        if self.look is Look.BROKEN:
            assert self.told
            assert (self.today - self.told[-1]).days >= TERMS.grace_days

    @invariant()
    def nothing_breaks_while_what_came_due_is_paid(self) -> None:
        if self.look is Look.BROKEN:
            overdue = [part for part in self.parts if part.due < self.today]
            assert self.debt - self.left < sum(part.amount_minor for part in overdue)

    @invariant()
    def what_was_missed_for_all_its_grace_has_broken(self) -> None:
        if self.short_since and self.today - self.short_since >= timedelta(days=TERMS.grace_days):
            assert self.look is Look.BROKEN


TestPlans = Plans.TestCase

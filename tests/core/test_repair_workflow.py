"""The workflow of repairs as a law: whatever people do, in whatever order, these things hold."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.repairs import workflow
from core.repairs.workflow import (
    ENDED,
    RULES,
    UNCLAIMED,
    UNDERWAY,
    Act,
    NotYourRepair,
    Party,
    Standing,
    State,
    StepNotPossible,
)

FORWARD = [State.ACCEPTED, State.ON_THE_WAY, State.ARRIVED, State.WORKING, State.FIXED]
STEP_TO = {
    State.ON_THE_WAY: Act.ON_THE_WAY,
    State.ARRIVED: Act.ARRIVED,
    State.WORKING: Act.WORKING,
    State.FIXED: Act.FIXED,
}
acts = st.lists(
    st.tuples(
        st.sampled_from(Act),
        st.frozensets(st.sampled_from(Party), max_size=3),
        st.sampled_from([7, 8]),
    ),
    max_size=30,
)


def play(sequence):
    """Do a sequence of acts; refused ones leave everything as it was."""
    standing = Standing(state=State.NEW)
    history = [standing]
    for act, parties, technician_id in sequence:
        try:
            standing = workflow.advance(
                standing, act=act, parties=parties, technician_id=technician_id
            )
        except (NotYourRepair, StepNotPossible):
            continue
        history.append(standing)
    return history


class TestAdvance:
    @given(acts)
    def test_takes_only_listed_edges(self, sequence):
        edges = {(start, rule.leads_to) for rule in RULES.values() for start in rule.starts}
        states = [standing.state for standing in play(sequence)]
        assert set(itertools.pairwise(states)) <= edges

    @given(acts)
    def test_has_somebody_responsible_exactly_while_work_is_under_way(self, sequence):
        for standing in play(sequence):
            if standing.state in UNDERWAY | {State.FIXED}:
                assert standing.technician_id is not None
            if standing.state in UNCLAIMED:
                assert standing.technician_id is None

    @given(acts, st.sampled_from(Act))
    def test_never_leaves_an_end(self, sequence, act):
        standing = play(sequence)[-1]
        if standing.state in ENDED:
            with pytest.raises(StepNotPossible):
                workflow.advance(standing, act=act, parties=frozenset(Party), technician_id=7)

    @given(acts)
    def test_ends_as_fixed_only_with_a_customer_or_after_silence(self, sequence):
        standing = play(sequence)[-1]
        closers = {act for act, rule in RULES.items() if rule.leads_to is State.CLOSED}
        assert closers == {Act.CONFIRM, Act.LAPSE}
        if standing.state not in ENDED:
            staff = frozenset({Party.TECHNICIAN, Party.ASSIGNED, Party.MANAGER})
            for act in closers:
                assert not workflow.may(act, state=standing.state, parties=staff)

    @pytest.mark.parametrize("start", FORWARD[:-1])
    @pytest.mark.parametrize("step", list(STEP_TO))
    def test_lets_a_technician_skip_forward_and_never_back(self, start, step):
        possible = workflow.may(STEP_TO[step], state=start, parties=frozenset({Party.ASSIGNED}))
        assert possible == (FORWARD.index(step) > FORWARD.index(start))

    @given(acts, st.sampled_from(Act), st.frozensets(st.sampled_from(Party)))
    def test_agrees_with_what_is_offered_as_a_button(self, sequence, act, parties):
        standing = play(sequence)[-1]
        try:
            workflow.advance(standing, act=act, parties=parties, technician_id=7)
            was_possible = True
        except (NotYourRepair, StepNotPossible):
            was_possible = False
        assert workflow.may(act, state=standing.state, parties=parties) == was_possible

    @given(acts)
    def test_can_always_be_brought_to_an_end(self, sequence):
        standing = play(sequence)[-1]
        everybody = frozenset(Party)
        for act in (Act.CLAIM, Act.FIXED, Act.CONFIRM):
            if workflow.may(act, state=standing.state, parties=everybody):
                standing = workflow.advance(standing, act=act, parties=everybody, technician_id=7)
        assert standing.state in ENDED

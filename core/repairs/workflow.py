"""The steps of a repair: which act leads where, and who may do it. Pure functions only."""

from dataclasses import dataclass
from enum import StrEnum

from core.errors import DomainError


class State(StrEnum):
    """The steps of a repair, in the order in which everybody sees them."""

    NEW = "new"
    ACCEPTED = "accepted"
    ON_THE_WAY = "on_the_way"
    ARRIVED = "arrived"
    WORKING = "working"
    WAITING = "waiting"
    FIXED = "fixed"
    REOPENED = "reopened"
    CLOSED = "closed"
    CANCELLED = "cancelled"
    MERGED = "merged"


class Act(StrEnum):
    """What somebody does to a repair; the kind of the event that it leaves."""

    CLAIM = "claim"
    ASSIGN = "assign"
    ON_THE_WAY = "on_the_way"
    ARRIVED = "arrived"
    WORKING = "working"
    WAIT = "wait"
    FIXED = "fixed"
    HAND_BACK = "hand_back"
    CONFIRM = "confirm"
    DENY = "deny"
    CANCEL = "cancel"
    LAPSE = "lapse"


class Party(StrEnum):
    """What a person is to a repair; the same person can be several of these."""

    CUSTOMER = "customer"
    REPORTER = "reporter"
    TECHNICIAN = "technician"
    ASSIGNED = "assigned"
    MANAGER = "manager"
    SERVICE = "service"


class NotYourRepair(DomainError):
    """Somebody else is responsible for this act."""

    code = "repair.not_yours"


class StepNotPossible(DomainError):
    """The repair has moved on, or is not yet so far."""

    code = "repair.not_possible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An act: the states it starts from, the one it leads to, and who may do it."""

    starts: frozenset[State]
    leads_to: State
    by: frozenset[Party]


ENDED = frozenset({State.CLOSED, State.CANCELLED, State.MERGED})
UNCLAIMED = frozenset({State.NEW, State.REOPENED})
UNDERWAY = frozenset(
    {State.ACCEPTED, State.ON_THE_WAY, State.ARRIVED, State.WORKING, State.WAITING}
)
BEFORE_ARRIVAL = frozenset({State.NEW, State.ACCEPTED, State.ON_THE_WAY})


def _rule(starts: frozenset[State], leads_to: State, *by: Party) -> Rule:
    return Rule(starts=starts, leads_to=leads_to, by=frozenset(by))


# People forget to press a step, so a technician may jump forward: from any step under way to any
# later one. Backwards leads only out of `waiting` (the part came: off again), a repeated `wait`
# with another reason or time, and the two acts that give the repair up.
RULES = {
    Act.CLAIM: _rule(UNCLAIMED, State.ACCEPTED, Party.TECHNICIAN),
    Act.ASSIGN: _rule(UNCLAIMED | UNDERWAY, State.ACCEPTED, Party.MANAGER),
    Act.ON_THE_WAY: _rule(
        frozenset({State.ACCEPTED, State.WAITING}), State.ON_THE_WAY, Party.ASSIGNED
    ),
    Act.ARRIVED: _rule(
        frozenset({State.ACCEPTED, State.ON_THE_WAY, State.WAITING}), State.ARRIVED, Party.ASSIGNED
    ),
    Act.WORKING: _rule(UNDERWAY - {State.WORKING}, State.WORKING, Party.ASSIGNED),
    Act.WAIT: _rule(UNDERWAY, State.WAITING, Party.ASSIGNED),
    Act.FIXED: _rule(UNDERWAY, State.FIXED, Party.ASSIGNED),
    Act.HAND_BACK: _rule(UNDERWAY, State.NEW, Party.ASSIGNED),
    # Before `fixed` only when the meter is back to normal; the service looks.
    Act.CONFIRM: _rule(
        BEFORE_ARRIVAL | {State.REOPENED, State.FIXED}, State.CLOSED, Party.CUSTOMER
    ),
    Act.DENY: _rule(frozenset({State.FIXED}), State.REOPENED, Party.CUSTOMER),
    Act.CANCEL: _rule(BEFORE_ARRIVAL, State.CANCELLED, Party.REPORTER, Party.MANAGER),
    Act.LAPSE: _rule(frozenset({State.FIXED}), State.CLOSED, Party.SERVICE),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a repair stands and who is responsible for it."""

    state: State
    technician_id: int | None = None


def advance(
    standing: Standing, *, act: Act, parties: frozenset[Party], technician_id: int | None = None
) -> Standing:
    """
    Return where an act leads; `technician_id` is who takes the job, for claim and assign.

    Raises:
        NotYourRepair: none of the parties may do this.
        StepNotPossible: the act does not start from this state.
    """
    rule = RULES[act]
    if not rule.by & parties:
        raise NotYourRepair
    if standing.state not in rule.starts:
        raise StepNotPossible
    responsible = standing.technician_id
    if act in {Act.CLAIM, Act.ASSIGN}:
        responsible = technician_id
    elif act in {Act.HAND_BACK, Act.DENY}:
        responsible = None
    return Standing(state=rule.leads_to, technician_id=responsible)


def may(act: Act, *, state: State, parties: frozenset[Party]) -> bool:
    """Tell whether somebody could do an act now; what is offered as a button."""
    rule = RULES[act]
    return state in rule.starts and bool(rule.by & parties)

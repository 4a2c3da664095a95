"""Why a supply may not be cut: every condition, each with its code. Pure functions only."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Final

from core.accounts.models import Supply
from core.billing.dunning_rules import Policy
from core.supply.windows import is_cutting_time

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)


class Stage(IntEnum):
    """The moments at which a cut is judged, each with all conditions of the one before."""

    PROPOSING = 0
    APPROVING = 1
    SENDING = 2


class Refusal(StrEnum):
    """What stands against a cut."""

    NOT_OVERDUE = "not_overdue"
    TOO_LITTLE = "too_little"
    NOT_REMINDED = "not_reminded"
    NOT_NOTICED = "not_noticed"
    NOTICE_RUNS = "notice_runs"
    PAID_SINCE = "paid_since"
    PAYMENT_UNKNOWN = "payment_unknown"
    PROTECTED = "protected"
    DISPUTED = "disputed"
    PLANNED = "planned"
    BILL_NOT_OPEN = "bill_not_open"
    ESTIMATED = "estimated"
    MOVED_OUT = "moved_out"
    NOT_SWITCHABLE = "not_switchable"
    NOT_CONNECTED = "not_connected"
    NOT_A_MANAGER = "not_a_manager"
    OWN_ACCOUNT = "own_account"
    OUTSIDE_HOURS = "outside_hours"
    CREDIT_LEFT = "credit_left"
    FRIENDLY_HOURS = "friendly_hours"
    HOUR_FULL = "hour_full"
    DAY_FULL = "day_full"
    NOT_WARNED = "not_warned"
    DANGER_OVER = "danger_over"


# What protects debtors; where a cut protects the home itself, none of it stands against it.
OF_DEBTS: Final = frozenset(
    {
        Refusal.NOT_OVERDUE,
        Refusal.TOO_LITTLE,
        Refusal.NOT_REMINDED,
        Refusal.NOT_NOTICED,
        Refusal.NOTICE_RUNS,
        Refusal.PAID_SINCE,
        Refusal.PAYMENT_UNKNOWN,
        Refusal.DISPUTED,
        Refusal.PLANNED,
        Refusal.BILL_NOT_OPEN,
        Refusal.ESTIMATED,
        Refusal.OUTSIDE_HOURS,
        Refusal.NOT_WARNED,
    }
)
# What belongs to bills that are overdue; a prepaid supply waits for none of it.
OF_BILLS: Final = frozenset(
    {
        Refusal.NOT_OVERDUE,
        Refusal.TOO_LITTLE,
        Refusal.NOT_REMINDED,
        Refusal.PAID_SINCE,
        Refusal.BILL_NOT_OPEN,
        Refusal.OUTSIDE_HOURS,
    }
)
# These pass by themselves, so an approved order waits for them until it expires.
PASSING: Final = frozenset(
    {
        Refusal.OUTSIDE_HOURS,
        Refusal.FRIENDLY_HOURS,
        Refusal.HOUR_FULL,
        Refusal.DAY_FULL,
        Refusal.NOT_WARNED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """
    Everything on which a cut is decided, as it was at `local`, the operator's time.

    `protected` names any protection of the place, expired or not: only a person lifts one.
    `in_danger` tells whether the danger against which it protects goes on; empty for money.
    `credit_left_minor` is what a prepaid home can still use, emergency credit included; empty
    where the bill comes after the use. Units: `*_minor` minor units; `cuts_in_*` sent or approved
    by then, without this one.
    """

    policy: Policy
    local: datetime
    overdue_days: int
    overdue_minor: int
    reminder_delivered_at: datetime | None
    notice_delivered_at: datetime | None
    has_paid_since_notice: bool
    has_unknown_payment: bool
    protected: str | None
    is_disputed: bool
    is_planned: bool
    is_bill_open: bool
    is_estimated: bool
    is_agreement_current: bool
    is_switchable: bool
    supply: Supply
    is_manager: bool
    has_own_right: bool
    meters: int
    cuts_in_hour: int
    cuts_in_day: int
    warned_at: datetime | None
    in_danger: bool | None = None
    credit_left_minor: int | None = None

    def as_inputs(self) -> dict[str, object]:
        """Return the facts as they are stored with the order."""
        facts: dict[str, object] = {"policy": self.policy.as_inputs()}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "policy":
                facts[field.name] = value.isoformat() if isinstance(value, datetime) else value
        return facts


def cuts_in_hour_max(meters: int) -> int:
    """Return how many cuts an hour may see: 0.1 % of the meters, or five."""
    return max(5, meters // 1000)


def cuts_in_day_max(meters: int) -> int:
    """Return how many cuts a day may see: 0.5 % of the meters, or five."""
    return max(5, meters // 200)


def _has_passed(since: datetime | None, period: timedelta, now: datetime) -> bool:
    return since is not None and now - since >= period


_Rule = tuple[Refusal, Stage, Callable[[Facts], bool]]
_RULES: Final[tuple[_Rule, ...]] = (
    (Refusal.BILL_NOT_OPEN, Stage.PROPOSING, lambda f: not f.is_bill_open),
    (
        Refusal.NOT_OVERDUE,
        Stage.PROPOSING,
        lambda f: f.overdue_days < f.policy.overdue_days_min,
    ),
    (
        Refusal.TOO_LITTLE,
        Stage.PROPOSING,
        lambda f: f.overdue_minor < f.policy.overdue_minor_min,
    ),
    (Refusal.NOT_REMINDED, Stage.PROPOSING, lambda f: f.reminder_delivered_at is None),
    (Refusal.NOT_NOTICED, Stage.PROPOSING, lambda f: f.notice_delivered_at is None),
    (
        Refusal.NOTICE_RUNS,
        Stage.PROPOSING,
        lambda f: (
            f.notice_delivered_at is not None
            and not _has_passed(f.notice_delivered_at, f.policy.notice_period, f.local)
        ),
    ),
    (Refusal.PAID_SINCE, Stage.PROPOSING, lambda f: f.has_paid_since_notice),
    (Refusal.PAYMENT_UNKNOWN, Stage.PROPOSING, lambda f: f.has_unknown_payment),
    (Refusal.DISPUTED, Stage.PROPOSING, lambda f: f.is_disputed),
    (Refusal.PLANNED, Stage.PROPOSING, lambda f: f.is_planned),
    (Refusal.PROTECTED, Stage.PROPOSING, lambda f: f.protected is not None),
    (Refusal.ESTIMATED, Stage.PROPOSING, lambda f: f.is_estimated),
    (Refusal.MOVED_OUT, Stage.PROPOSING, lambda f: not f.is_agreement_current),
    (Refusal.NOT_SWITCHABLE, Stage.PROPOSING, lambda f: not f.is_switchable),
    (Refusal.NOT_CONNECTED, Stage.PROPOSING, lambda f: f.supply is not Supply.CONNECTED),
    (Refusal.NOT_A_MANAGER, Stage.APPROVING, lambda f: not f.is_manager),
    (Refusal.OWN_ACCOUNT, Stage.APPROVING, lambda f: f.has_own_right),
    (
        Refusal.OUTSIDE_HOURS,
        Stage.APPROVING,
        lambda f: not is_cutting_time(f.local, policy=f.policy),
    ),
    (Refusal.CREDIT_LEFT, Stage.PROPOSING, lambda f: (f.credit_left_minor or 0) > 0),
    (
        Refusal.FRIENDLY_HOURS,
        Stage.PROPOSING,
        lambda f: f.credit_left_minor is not None and not is_cutting_time(f.local, policy=f.policy),
    ),
    (
        Refusal.HOUR_FULL,
        Stage.APPROVING,
        lambda f: f.cuts_in_hour >= cuts_in_hour_max(f.meters),
    ),
    (Refusal.DAY_FULL, Stage.APPROVING, lambda f: f.cuts_in_day >= cuts_in_day_max(f.meters)),
    (Refusal.DANGER_OVER, Stage.PROPOSING, lambda f: f.in_danger is False),
    (
        Refusal.NOT_WARNED,
        Stage.SENDING,
        lambda f: not _has_passed(f.warned_at, f.policy.last_warning, f.local),
    ),
)


def refusals(facts: Facts, *, stage: Stage) -> list[Refusal]:
    """Return all that stands against a cut at a stage; only an empty list allows it."""
    spared: frozenset[Refusal] = frozenset()
    if facts.in_danger is not None:
        spared = OF_DEBTS
    elif facts.credit_left_minor is not None:
        spared = OF_BILLS
    return [
        refusal
        for refusal, since, stands in _RULES
        if refusal not in spared and stage >= since and stands(facts)
    ]

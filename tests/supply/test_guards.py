"""Every single condition that is missing refuses a cut, at its stage and at all later ones."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.accounts.models import Service, Supply
from core.billing.dunning_rules import POLICIES
from core.supply.guards import (
    OF_DEBTS,
    PASSING,
    Facts,
    Refusal,
    Stage,
    cuts_in_day_max,
    cuts_in_hour_max,
    refusals,
)
from core.supply.windows import is_cutting_time
from tests.billing.books import ZONE

MONDAY = datetime(2026, 12, 28, 10, 0, tzinfo=ZONE)
POLICY = POLICIES[Service.ELECTRICITY]
GOOD = Facts(
    policy=POLICY,
    local=MONDAY,
    overdue_days=41,
    overdue_minor=50_00,
    reminder_delivered_at=MONDAY - timedelta(days=38),
    notice_delivered_at=MONDAY - timedelta(days=7),
    has_paid_since_notice=False,
    has_unknown_payment=False,
    protected=None,
    is_disputed=False,
    is_planned=False,
    is_bill_open=True,
    is_estimated=False,
    is_agreement_current=True,
    is_switchable=True,
    supply=Supply.CONNECTED,
    is_manager=True,
    has_own_right=False,
    meters=4000,
    cuts_in_hour=4,
    cuts_in_day=19,
    warned_at=MONDAY - timedelta(minutes=30),
)
# A home that is in danger and owes nothing.
IN_DANGER = replace(
    GOOD,
    in_danger=True,
    local=MONDAY.replace(hour=3),
    overdue_days=0,
    overdue_minor=0,
    reminder_delivered_at=None,
    notice_delivered_at=None,
    has_unknown_payment=True,
    is_disputed=True,
    is_planned=True,
    is_bill_open=False,
    is_estimated=True,
    warned_at=None,
)
# A prepaid home that has used up all credit, and had no bill at all.
USED_UP = replace(
    GOOD,
    policy=replace(POLICY, notice_period=timedelta(hours=24)),
    overdue_days=0,
    overdue_minor=20_00,
    reminder_delivered_at=None,
    notice_delivered_at=MONDAY - timedelta(hours=24),
    has_paid_since_notice=True,
    is_bill_open=False,
    credit_left_minor=0,
)
# What only a prepaid home waits for, from the proposal on.
OF_CREDIT: dict[Refusal, dict[str, Any]] = {
    Refusal.CREDIT_LEFT: {"credit_left_minor": 1},
    Refusal.FRIENDLY_HOURS: {"local": MONDAY.replace(hour=14)},
    Refusal.NOT_NOTICED: {"notice_delivered_at": None},
    Refusal.NOTICE_RUNS: {
        "notice_delivered_at": MONDAY - timedelta(hours=24) + timedelta(seconds=1)
    },
    Refusal.DISPUTED: {"is_disputed": True},
    Refusal.PAYMENT_UNKNOWN: {"has_unknown_payment": True},
    Refusal.ESTIMATED: {"is_estimated": True},
    Refusal.PROTECTED: {"protected": "oxygen until 2020"},
}
# What breaks each condition, by as little as it can.
BROKEN: dict[Refusal, tuple[Stage, dict[str, Any]]] = {
    Refusal.BILL_NOT_OPEN: (Stage.PROPOSING, {"is_bill_open": False}),
    Refusal.DISPUTED: (Stage.PROPOSING, {"is_disputed": True}),
    Refusal.PLANNED: (Stage.PROPOSING, {"is_planned": True}),
    Refusal.NOT_OVERDUE: (Stage.PROPOSING, {"overdue_days": 30}),
    Refusal.TOO_LITTLE: (Stage.PROPOSING, {"overdue_minor": 49_99}),
    Refusal.NOT_REMINDED: (Stage.PROPOSING, {"reminder_delivered_at": None}),
    Refusal.NOT_NOTICED: (Stage.PROPOSING, {"notice_delivered_at": None}),
    Refusal.NOTICE_RUNS: (
        Stage.PROPOSING,
        {"notice_delivered_at": MONDAY - timedelta(days=7) + timedelta(seconds=1)},
    ),
    Refusal.PAID_SINCE: (Stage.PROPOSING, {"has_paid_since_notice": True}),
    Refusal.PAYMENT_UNKNOWN: (Stage.PROPOSING, {"has_unknown_payment": True}),
    Refusal.PROTECTED: (Stage.PROPOSING, {"protected": "oxygen until 2020"}),
    Refusal.ESTIMATED: (Stage.PROPOSING, {"is_estimated": True}),
    Refusal.MOVED_OUT: (Stage.PROPOSING, {"is_agreement_current": False}),
    Refusal.NOT_SWITCHABLE: (Stage.PROPOSING, {"is_switchable": False}),
    Refusal.NOT_CONNECTED: (Stage.PROPOSING, {"supply": Supply.UNKNOWN}),
    Refusal.NOT_A_MANAGER: (Stage.APPROVING, {"is_manager": False}),
    Refusal.OWN_ACCOUNT: (Stage.APPROVING, {"has_own_right": True}),
    Refusal.OUTSIDE_HOURS: (Stage.APPROVING, {"local": MONDAY.replace(hour=14)}),
    Refusal.HOUR_FULL: (Stage.APPROVING, {"cuts_in_hour": 5}),
    Refusal.DAY_FULL: (Stage.APPROVING, {"cuts_in_day": 20}),
    Refusal.NOT_WARNED: (
        Stage.SENDING,
        {"warned_at": MONDAY - timedelta(minutes=30) + timedelta(seconds=1)},
    ),
    Refusal.DANGER_OVER: (Stage.PROPOSING, {"in_danger": False}),
}
# These share no fact with another one.
INDEPENDENT = sorted(BROKEN.keys() - {Refusal.NOTICE_RUNS, Refusal.NOT_WARNED, Refusal.DANGER_OVER})


class TestRefusals:
    @pytest.mark.parametrize("stage", Stage)
    def test_allows_when_nothing_is_missing(self, stage: Stage) -> None:
        assert refusals(GOOD, stage=stage) == []

    def test_knows_how_to_break_every_condition(self) -> None:
        assert BROKEN.keys() | OF_CREDIT.keys() == set(Refusal)

    @pytest.mark.parametrize("stage", Stage)
    def test_cuts_a_prepaid_home_without_any_bill(self, stage: Stage) -> None:
        assert refusals(USED_UP, stage=stage) == []

    @pytest.mark.parametrize("stage", Stage)
    @pytest.mark.parametrize("refusal", OF_CREDIT)
    def test_never_even_proposes_a_prepaid_cut(self, refusal: Refusal, stage: Stage) -> None:
        found = refusals(replace(USED_UP, **OF_CREDIT[refusal]), stage=stage)

        assert refusal in found

    @given(minutes=st.integers(-1_000_000, 1_000_000), left=st.integers(-100, 100))
    def test_proposes_no_prepaid_cut_in_friendly_hours_or_with_credit_left(
        self, minutes: int, left: int
    ) -> None:
        local = (MONDAY + timedelta(minutes=minutes)).astimezone(ZONE)
        facts = replace(
            USED_UP,
            local=local,
            credit_left_minor=left,
            notice_delivered_at=local - timedelta(days=2),
        )

        is_proposed = not refusals(facts, stage=Stage.PROPOSING)

        assert is_proposed == (left <= 0 and is_cutting_time(local, policy=POLICY))

    @pytest.mark.parametrize("stage", Stage)
    @pytest.mark.parametrize("refusal", BROKEN)
    def test_refuses_for_each_single_condition_from_its_stage_on(
        self, refusal: Refusal, stage: Stage
    ) -> None:
        since, change = BROKEN[refusal]

        found = refusals(replace(GOOD, **change), stage=stage)

        assert found == ([refusal] if stage >= since else [])

    @given(
        broken=st.sets(st.sampled_from(sorted(BROKEN.keys() - OF_DEBTS))),
        owed=st.sets(st.sampled_from(sorted(BROKEN.keys() & OF_DEBTS))),
    )
    def test_protects_a_home_past_what_protects_debtors_and_past_nothing_else(
        self, broken: set[Refusal], owed: set[Refusal]
    ) -> None:
        changes: dict[str, Any] = {}
        for refusal in (*owed, *broken):
            changes |= BROKEN[refusal][1]

        assert set(refusals(replace(IN_DANGER, **changes), stage=Stage.SENDING)) == broken

    @given(broken=st.sets(st.sampled_from(INDEPENDENT), min_size=1))
    def test_names_everything_that_is_missing(self, broken: set[Refusal]) -> None:
        changes: dict[str, Any] = {}
        for refusal in broken:
            changes |= BROKEN[refusal][1]

        assert set(refusals(replace(GOOD, **changes), stage=Stage.SENDING)) == broken

    @given(
        minutes=st.integers(-1_000_000, 1_000_000),
        days=st.integers(-5, 400),
        owed=st.integers(-100, 100_000),
    )
    def test_never_allows_outside_the_law(self, minutes: int, days: int, owed: int) -> None:
        local = (MONDAY + timedelta(minutes=minutes)).astimezone(ZONE)
        facts = replace(GOOD, local=local, overdue_days=days, overdue_minor=owed)

        if not refusals(facts, stage=Stage.SENDING):
            assert days > 30
            assert owed >= POLICY.overdue_minor_min
            assert local.weekday() <= 3
            assert 9 <= local.hour < 14
            assert facts.notice_delivered_at is not None
            assert local - facts.notice_delivered_at >= timedelta(days=7)

    def test_waits_only_for_what_passes_by_itself(self) -> None:
        assert {
            Refusal.OUTSIDE_HOURS,
            Refusal.FRIENDLY_HOURS,
            Refusal.HOUR_FULL,
            Refusal.DAY_FULL,
            Refusal.NOT_WARNED,
        } == PASSING


class TestBrake:
    @pytest.mark.parametrize(
        ("meters", "hour", "day"),
        [(0, 5, 5), (120, 5, 5), (1_000, 5, 5), (10_000, 10, 50), (1_000_000, 1_000, 5_000)],
    )
    def test_lets_few_through(self, meters: int, hour: int, day: int) -> None:
        assert (cuts_in_hour_max(meters), cuts_in_day_max(meters)) == (hour, day)


class TestIsCuttingTime:
    @pytest.mark.parametrize(
        ("moment", "allowed"),
        [
            ("2026-11-16T09:00", True),  # Monday
            ("2026-11-16T08:59", False),
            ("2026-11-19T13:59", True),  # Thursday
            ("2026-11-19T14:00", False),
            ("2026-11-20T10:00", False),  # Friday: nobody to restore on Saturday
            ("2026-11-21T10:00", False),
            ("2026-12-31T10:00", False),  # Thursday before New Year's Day
            ("2026-09-30T10:00", False),  # Wednesday before National Day
            ("2026-10-01T10:00", False),
            ("2026-10-08T10:00", True),  # Thursday after the holiday; Friday is worked
            ("2026-09-20T10:00", False),  # a Sunday that is worked is still a Sunday
        ],
    )
    def test_is_when_supply_could_be_restored_the_same_day(
        self, *, moment: str, allowed: bool
    ) -> None:
        local = datetime.fromisoformat(moment).replace(tzinfo=ZONE)

        assert is_cutting_time(local, policy=POLICY) is allowed

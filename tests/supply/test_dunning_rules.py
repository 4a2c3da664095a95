"""The ladder in time: each step in its turn, and only on proof of the one before."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.accounts.models import Service
from core.billing.dunning_rules import POLICIES, Standing, is_daytime, next_step
from core.billing.models import StepKind
from tests.billing.books import NOW, ZONE

LADDER = [StepKind.REMINDER, StepKind.CUT_NOTICE, StepKind.CUT_PROPOSED]


def climb(
    service: Service,
    *,
    delays: dict[StepKind, int | None],
    owed: int = 100_00,
    until: int = 120,
) -> dict[StepKind, int]:
    """
    Return the days after the due date on which steps were taken, looking once a day.

    `delays` says how many days each message took to be delivered; nothing means never.
    """
    policy = POLICIES[service]
    taken: dict[StepKind, int] = {}

    def delivered(kind: StepKind, today: int) -> datetime | None:
        delay = delays.get(kind, 0)
        if kind not in taken or delay is None or taken[kind] + delay > today:
            return None
        return NOW + timedelta(days=taken[kind] + delay)

    for today in range(until):
        standing = Standing(
            overdue_days=today,
            overdue_minor=owed,
            is_estimated=False,
            is_reminded=StepKind.REMINDER in taken,
            reminder_delivered_at=delivered(StepKind.REMINDER, today),
            is_noticed=StepKind.CUT_NOTICE in taken,
            notice_delivered_at=delivered(StepKind.CUT_NOTICE, today),
            is_proposed=StepKind.CUT_PROPOSED in taken,
        )
        step = next_step(standing, policy=policy, now=NOW + timedelta(days=today))
        if step is not None:
            assert step not in taken
            taken[step] = today
    return taken


class TestNextStep:
    @pytest.mark.parametrize(
        ("service", "delays", "days"),
        [
            (Service.ELECTRICITY, {}, [3, 31, 38]),
            (Service.WATER, {}, [3, 33, 35]),
            (Service.ELECTRICITY, {StepKind.REMINDER: 10}, [3, 31, 38]),
            (Service.ELECTRICITY, {StepKind.REMINDER: 40}, [3, 50, 57]),
            (Service.ELECTRICITY, {StepKind.CUT_NOTICE: 5}, [3, 31, 43]),
            (Service.WATER, {StepKind.REMINDER: 10}, [3, 43, 45]),
            (Service.ELECTRICITY, {StepKind.REMINDER: None}, [3]),
            (Service.WATER, {StepKind.CUT_NOTICE: None}, [3, 33]),
        ],
    )
    def test_keeps_the_time_table_from_what_was_delivered(
        self, service: Service, delays: dict[StepKind, int | None], days: list[int]
    ) -> None:
        assert list(climb(service, delays=delays).items()) == list(zip(LADDER, days, strict=False))

    @pytest.mark.parametrize("service", Service)
    def test_reminds_for_little_but_never_threatens(self, service: Service) -> None:
        owed = POLICIES[service].overdue_minor_min - 1

        assert climb(service, delays={}, owed=owed) == {StepKind.REMINDER: 3}

    @given(
        service=st.sampled_from(Service),
        reminder=st.none() | st.integers(0, 60),
        notice=st.none() | st.integers(0, 60),
    )
    def test_skips_nothing_and_keeps_every_period(
        self, service: Service, reminder: int | None, notice: int | None
    ) -> None:
        policy = POLICIES[service]
        delays = {StepKind.REMINDER: reminder, StepKind.CUT_NOTICE: notice}

        taken = climb(service, delays=delays, until=200)

        assert list(taken) == LADDER[: len(taken)]
        if StepKind.CUT_NOTICE in taken:
            assert reminder is not None
            told = taken[StepKind.REMINDER] + reminder
            assert taken[StepKind.CUT_NOTICE] - told >= policy.reminder_period.days
            assert taken[StepKind.CUT_NOTICE] > 30
        if StepKind.CUT_PROPOSED in taken:
            assert notice is not None
            told = taken[StepKind.CUT_NOTICE] + notice
            assert timedelta(days=taken[StepKind.CUT_PROPOSED] - told) >= policy.notice_period

    @given(paid_days_ago=st.integers(0, 30))
    def test_leaves_payers_in_peace_for_a_week(self, paid_days_ago: int) -> None:
        standing = Standing(
            overdue_days=60,
            overdue_minor=100_00,
            is_estimated=False,
            is_reminded=True,
            reminder_delivered_at=NOW - timedelta(days=50),
            paid_at=NOW - timedelta(days=paid_days_ago),
        )

        step = next_step(standing, policy=POLICIES[Service.ELECTRICITY], now=NOW)

        assert step == (StepKind.CUT_NOTICE if paid_days_ago >= 7 else None)

    def test_never_threatens_for_an_estimate(self) -> None:
        standing = Standing(
            overdue_days=60,
            overdue_minor=100_00,
            is_estimated=True,
            is_reminded=True,
            reminder_delivered_at=NOW - timedelta(days=50),
        )

        assert next_step(standing, policy=POLICIES[Service.ELECTRICITY], now=NOW) is None


class TestIsDaytime:
    @pytest.mark.parametrize(
        ("hour", "minute", "day"), [(8, 59, False), (9, 0, True), (19, 59, True), (20, 0, False)]
    )
    def test_is_from_nine_to_eight(self, *, hour: int, minute: int, day: bool) -> None:
        assert is_daytime(datetime(2026, 11, 20, hour, minute, tzinfo=ZONE)) is day

"""What may follow an unpaid bill, and when: the ladder and its figures. Pure functions only."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, time, timedelta
from types import MappingProxyType
from typing import Final

from core.accounts.models import Service
from core.billing.models import StepKind

# Nobody is reminded at night: messages of the ladder leave in these local hours.
DAY_BEGINS: Final = time(9)
DAY_ENDS: Final = time(20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    The figures of the ladder for one service; they are stored with every order to cut.

    Units: `*_minor` minor units; `weekdays` Monday is 0; times are the operator's local time.
    """

    remind_after_days: int
    overdue_days_min: int
    overdue_minor_min: int
    reminder_period: timedelta
    notice_period: timedelta
    last_warning: timedelta
    pause_after_payment: timedelta
    # Not before a weekend or a holiday, nor when nobody can restore the same day: common in the
    # United States and in Britain, and kinder than Chinese law asks.
    weekdays: tuple[int, ...] = (0, 1, 2, 3)
    opens_at: time = time(9)
    closes_at: time = time(14)
    holidays_of: str = "CN"

    def as_inputs(self) -> dict[str, str]:
        """Return the figures as they are stored."""
        return {field.name: str(getattr(self, field.name)) for field in fields(self)}


# Source: Electricity Law art. 39 (more than 30 days overdue and dunned); notice 7 days before for
# homes and again 30 minutes before (State Grid's promise and the rules of power supply). Jinan's
# water rules art. 36: 30 days after the reminder and 48 h after the notice. No law names a least
# amount: about one small bill.
POLICIES: Final[Mapping[Service, Policy]] = MappingProxyType(
    {
        Service.ELECTRICITY: Policy(
            remind_after_days=3,
            overdue_days_min=31,
            overdue_minor_min=50_00,
            reminder_period=timedelta(days=7),
            notice_period=timedelta(days=7),
            last_warning=timedelta(minutes=30),
            pause_after_payment=timedelta(days=7),
        ),
        Service.WATER: Policy(
            remind_after_days=3,
            overdue_days_min=31,
            overdue_minor_min=30_00,
            reminder_period=timedelta(days=30),
            notice_period=timedelta(hours=48),
            last_warning=timedelta(minutes=30),
            pause_after_payment=timedelta(days=7),
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """
    Where an agreement stands with its oldest unpaid bill.

    A step that was taken but is not proven delivered has no time in `*_delivered_at`, and nothing
    follows it. A notice before the latest payment is no notice any more: `is_noticed` is false.
    Units: `overdue_minor` minor units of all bills past their day.
    """

    overdue_days: int
    overdue_minor: int
    is_estimated: bool
    is_reminded: bool = False
    reminder_delivered_at: datetime | None = None
    is_noticed: bool = False
    notice_delivered_at: datetime | None = None
    is_proposed: bool = False
    paid_at: datetime | None = None


def is_daytime(local: datetime) -> bool:
    """Tell whether people may be written to about money at this local time."""
    return DAY_BEGINS <= local.time() < DAY_ENDS


def next_daytime(local: datetime) -> datetime:
    """Return a local time itself, or the next morning after it if people sleep."""
    if is_daytime(local):
        return local
    day = local.date() if local.time() < DAY_BEGINS else local.date() + timedelta(days=1)
    return datetime.combine(day, DAY_BEGINS, tzinfo=local.tzinfo)


def next_step(standing: Standing, *, policy: Policy, now: datetime) -> StepKind | None:
    """Return the one step that is due now, if any: each in its turn, none ever skipped."""
    if not standing.is_reminded:
        is_late = standing.overdue_days >= policy.remind_after_days
        return StepKind.REMINDER if is_late else None
    if not _has_passed(standing.reminder_delivered_at, policy.reminder_period, now):
        return None
    if (
        standing.is_estimated
        or standing.overdue_days < policy.overdue_days_min
        or standing.overdue_minor < policy.overdue_minor_min
    ):
        return None
    if not standing.is_noticed:
        paid_at = standing.paid_at
        is_calm = paid_at is None or now - paid_at >= policy.pause_after_payment
        return StepKind.CUT_NOTICE if is_calm else None
    if not _has_passed(standing.notice_delivered_at, policy.notice_period, now):
        return None
    return None if standing.is_proposed else StepKind.CUT_PROPOSED


def _has_passed(since: datetime | None, period: timedelta, now: datetime) -> bool:
    return since is not None and now - since >= period

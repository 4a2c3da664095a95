"""When supply may be cut: hours in which it can be restored the same day. Pure functions only."""

from datetime import date, datetime, timedelta
from functools import lru_cache

import holidays

from core.billing.dunning_rules import Policy


@lru_cache(maxsize=8)
def _calendar(country: str) -> holidays.HolidayBase:
    """Return a country's holidays, with the weekends that are worked to make up for them."""
    return holidays.country_holidays(country)


def is_working_day(day: date, *, country: str) -> bool:
    """Tell whether people work on a day, as its government announced it."""
    return bool(_calendar(country).is_working_day(day))


def is_cutting_time(local: datetime, *, policy: Policy) -> bool:
    """
    Tell whether supply may be cut at this local time.

    Never outside the policy's hours and weekdays, on a holiday, or on the day before a day on
    which nobody works.
    """
    day = local.date()
    return (
        local.weekday() in policy.weekdays
        and policy.opens_at <= local.time() < policy.closes_at
        and is_working_day(day, country=policy.holidays_of)
        and is_working_day(day + timedelta(days=1), country=policy.holidays_of)
    )

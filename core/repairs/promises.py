"""What is promised and when it is late. Pure functions only."""

from datetime import datetime, timedelta

from core.errors import DomainError

ACCEPT_WITHIN = timedelta(minutes=30)
SILENCE = timedelta(days=3)
# What comes back so soon after the end is the same: it goes on under its number.
CHATTERING = timedelta(hours=8)
# How long a meter may go on to disagree with people's word; a manager's "no" counts for a day.
BELIEVED = timedelta(hours=1)
DISMISSED = timedelta(hours=24)
REMEMBERED = timedelta(days=30)
FARTHEST = timedelta(days=60)

# Water: Shanghai's supply rules, art. 26 (repaired within 24 h). Electricity: the grid company's
# promise for towns (supply back 3 h after arrival) after at most 90 minutes of travel.
RESTORE_WITHIN = {"water": timedelta(hours=24), "electricity": timedelta(hours=3)}
# Hangzhou's supply rules, art. 37: a burst is mended within 12 h.
BURST_WITHIN = timedelta(hours=12)
ARRIVE_WITHIN = {"water": timedelta(0), "electricity": timedelta(minutes=90)}


class PromiseInThePast(DomainError):
    """A promised time must lie ahead."""

    code = "repair.promise_past"


class PromiseTooFar(DomainError):
    """A promise months ahead is a slip of the finger."""

    code = "repair.promise_far"


def default_promise(service: str, *, is_burst: bool = False, now: datetime) -> datetime:
    """
    Return by when the supply is promised back when a technician accepts a repair now.

    Source:
        see the constants of this module.
    """
    if is_burst:
        return now + BURST_WITHIN
    return now + ARRIVE_WITHIN[service] + RESTORE_WITHIN[service]


def check_promise(promised_at: datetime, *, now: datetime) -> None:
    """
    Accept a promised time that somebody gave.

    Raises:
        PromiseInThePast: it is not after now.
        PromiseTooFar: it is more than 60 days ahead.
    """
    if promised_at <= now:
        raise PromiseInThePast
    if promised_at > now + FARTHEST:
        raise PromiseTooFar

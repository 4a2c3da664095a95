"""What became of a message: a refusal, a lost answer and silence each mean something else."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Forbidden,
    InvalidToken,
    RetryAfter,
    TelegramError,
)

from bot.telegram import NotSent
from core.notices.models import Lane, Outcome

log = structlog.get_logger()

NOT_SENT_RETRY = timedelta(seconds=5)
NOT_SENT_TRIES = 100

# How often, and after how long, a message is sent again whose fate is unknown: a lost reply is
# worse than a double one, a broadcast is not worth a double.
UNKNOWN_RETRIES: Mapping[Lane, tuple[int, timedelta]] = {
    Lane.REPLY: (2, timedelta(seconds=3)),
    Lane.URGENT: (3, timedelta(seconds=30)),
    Lane.NOTICE: (1, timedelta(minutes=10)),
    Lane.BROADCAST: (0, timedelta(0)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """
    What became of a delivery; `again_at` is set when it is tried again.

    An attempt counts unless Telegram surely did not take the message and asked us to wait.
    """

    outcome: Outcome
    message_ref: int | None = None
    error: str | None = None
    again_at: datetime | None = None
    unreachable: bool = False
    migrated_to: str | None = None
    counts: bool = True


def seconds_to_wait(error: RetryAfter) -> float:
    """Return how long Telegram wants us to wait. Units: seconds."""
    return error._retry_after.total_seconds()  # noqa: SLF001 (the public one warns and may be int)


def outcome_of(error: TelegramError, *, lane: Lane, attempts: int, now: datetime) -> Result:
    """Return what a refusal or a lost answer means for a delivery."""
    reason = f"{type(error).__name__}: {error}"[:500]
    match error:
        case RetryAfter():
            result = Result(outcome=Outcome.POSTPONED, error=reason, again_at=now, counts=False)
        case ChatMigrated():
            moved = str(error.new_chat_id)
            result = Result(
                outcome=Outcome.POSTPONED, error=reason, again_at=now, migrated_to=moved
            )
        case Forbidden():
            result = Result(outcome=Outcome.BLOCKED, error=reason, unreachable=True)
        case BadRequest() if "chat not found" in str(error).lower():
            result = Result(outcome=Outcome.BLOCKED, error=reason, unreachable=True)
        case BadRequest():
            log.error("delivery.refused", reason=reason)
            result = Result(outcome=Outcome.FAILED, error=reason)
        case NotSent() | InvalidToken() if attempts < NOT_SENT_TRIES:
            again_at = now + NOT_SENT_RETRY
            result = Result(outcome=Outcome.POSTPONED, error=reason, again_at=again_at)
        case NotSent() | InvalidToken():
            result = Result(outcome=Outcome.FAILED, error=reason)
        case _:
            result = after_unknown(lane, attempts=attempts, now=now, reason=reason)
    return result


def not_made(error: Exception, *, now: datetime) -> Result:
    """Return what follows when a message could not be made: a lost database is no fault of it."""
    reason = f"{type(error).__name__}: {error}"[:500]
    if isinstance(error, OperationalError | PoolTimeout):
        return Result(outcome=Outcome.POSTPONED, error=reason, again_at=now + NOT_SENT_RETRY)
    return Result(outcome=Outcome.FAILED, error=reason)


def after_unknown(lane: Lane, *, attempts: int, now: datetime, reason: str) -> Result:
    """Return what follows when nobody knows whether a message arrived."""
    retries, wait = UNKNOWN_RETRIES[lane]
    if attempts <= retries:
        return Result(outcome=Outcome.POSTPONED, error=reason, again_at=now + wait)
    return Result(outcome=Outcome.UNKNOWN, error=reason)

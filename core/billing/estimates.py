"""What a register that nobody read would show, if its use went on as in the months before."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.billing.consumption import ESTIMATE, Shown
from core.db import SCHEMA
from core.money import RoundingMode, round_to
from core.monitoring.registers import advance, capacity_of

# The mean of three months, as the water rules of Shangqiu (art. 29) and Chongqing (art. 41) have
# it; readings may be some days early or late.
HISTORY = timedelta(days=100)
HISTORY_MIN = timedelta(days=28)
PLACES = 3
# The last moment of a period: a real reading of its end, at midnight, has a place of its own.
_MOMENT = timedelta(microseconds=1)

_HISTORY = text(
    f"""
    SELECT n.nr, last.taken_at, last.value, first.taken_at, first.value, EXISTS (
        SELECT FROM {SCHEMA}.readings r
        WHERE r.meter_id = n.meter_id AND r.register = n.register AND r.taken_at <= n.ends
            AND r.taken_at > last.taken_at AND r.status IN ('held', 'disputed', 'doubted')
    )
    FROM unnest(
        CAST(:meters AS bigint[]), CAST(:registers AS text[]), CAST(:ends AS timestamptz[])
    ) WITH ORDINALITY n (meter_id, register, ends, nr)
    CROSS JOIN LATERAL (
        SELECT taken_at, value FROM {SCHEMA}.readings r
        WHERE r.meter_id = n.meter_id AND r.register = n.register AND r.taken_at <= n.ends
            AND r.status = 'accepted' AND r.source <> 'estimate'
        ORDER BY taken_at DESC LIMIT 1
    ) last
    CROSS JOIN LATERAL (
        SELECT taken_at, value FROM {SCHEMA}.readings r
        WHERE r.meter_id = n.meter_id AND r.register = n.register
            AND r.taken_at BETWEEN last.taken_at - CAST(:history AS interval) AND last.taken_at
            AND r.status = 'accepted' AND r.source <> 'estimate'
        ORDER BY taken_at LIMIT 1
    ) first
    """  # noqa: S608 (a constant)
)


class Unread(NamedTuple):
    """A register without a reading near the end of a period."""

    meter_id: int
    register: str
    digits: int
    ends_at: datetime


class Waits:
    """A reading of the register waits for a decision; nothing is guessed instead of deciding."""


def estimate(first: Shown, last: Shown, *, at: datetime, digits: int) -> Decimal | None:
    """
    Return what a register shows at a moment if its use went on as between two readings.

    Nothing is returned when they are too near each other to tell, or the register went back.

    Units: as the register, rounded down.
    """
    span = last.at - first.at
    went = advance(first.value, last.value, digits=digits)
    if span < HISTORY_MIN or went is None:
        return None
    second = timedelta(seconds=1)
    goes_on = went * ((at - last.at) // second) / (span // second)
    shown = round_to(last.value + goes_on, digits=PLACES, mode=RoundingMode.DOWN)
    return shown % capacity_of(digits)


async def estimate_unread(
    session: AsyncSession, unread: Sequence[Unread]
) -> list[Shown | Waits | None]:
    """Return for each register what it can be taken to show at the end, if that can be told."""
    found: list[Shown | Waits | None] = [None] * len(unread)
    if not unread:
        return found
    rows = await session.execute(
        _HISTORY,
        {
            "meters": [each.meter_id for each in unread],
            "registers": [each.register for each in unread],
            "ends": [each.ends_at for each in unread],
            "history": HISTORY,
        },
    )
    for nr, last_at, last, first_at, first, is_waiting in rows:
        wanted = unread[nr - 1]
        if is_waiting:
            found[nr - 1] = Waits()
            continue
        value = estimate(
            Shown(at=first_at, value=first, source=""),
            Shown(at=last_at, value=last, source=""),
            at=wanted.ends_at,
            digits=wanted.digits,
        )
        if value is not None:
            found[nr - 1] = Shown(at=wanted.ends_at - _MOMENT, value=value, source=ESTIMATE)
    return found

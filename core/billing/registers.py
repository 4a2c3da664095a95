"""What the registers showed at the bounds of a bill, for many agreements at once. Only reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.billing.consumption import BilledSpan, Shown
from core.billing.estimates import Unread, Waits, estimate_unread
from core.db import SCHEMA
from core.errors import DomainError
from core.monitoring.rows import arrays

# A reading this old no longer tells what the register shows at the end of a period.
READING_AGE_MAX = timedelta(days=7)
_MOMENT = "interval '1 microsecond'"

# Each register of each meter that worked in a window, with the latest reading before its end and
# the one that opens it. A first bill (`fresh`) opens with the nearest reading before the window, or
# else with the first in it; later bills bring the readings on which they open, so that only what is
# new (a meter that was replaced) is looked for, from `opens` on.
_SHOWN = text(
    f"""
    SELECT w.nr, m.id, m.serial, m.digits, m.multiplier, m.removed_at, r.*
      FROM unnest(CAST(:points AS bigint[]), CAST(:opens AS timestamptz[]),
                  CAST(:froms AS timestamptz[]), CAST(:untils AS timestamptz[]),
                  CAST(:fresh AS boolean[]))
           WITH ORDINALITY AS w (point, opens, starts, ends, fresh, nr)
      JOIN {SCHEMA}.meters m ON m.service_point_id = w.point AND m.installed_at < w.ends
           AND (m.removed_at IS NULL OR m.removed_at > w.opens)
      LEFT JOIN LATERAL (
           SELECT register, c.taken_at, c.value, c.source, o.taken_at, o.value, o.source
             FROM (SELECT DISTINCT ON (register) register, taken_at, value, source
                     FROM {SCHEMA}.readings
                    WHERE meter_id = m.id AND status = 'accepted' AND source <> 'estimate'
                      AND taken_at
                          > least(w.ends, coalesce(m.removed_at, w.ends)) - CAST(:age AS interval)
                      AND taken_at <= least(w.ends, coalesce(m.removed_at, w.ends))
                    ORDER BY register, taken_at DESC) c
             FULL JOIN (
                   SELECT DISTINCT ON (register) register, taken_at, value, source
                     FROM {SCHEMA}.readings
                    WHERE meter_id = m.id AND status = 'accepted' AND source <> 'estimate'
                      AND taken_at > CASE WHEN w.fresh THEN w.starts - CAST(:age AS interval)
                                          ELSE greatest(w.opens, m.installed_at) - {_MOMENT} END
                      AND taken_at <= greatest(w.opens, m.installed_at) + CAST(:age AS interval)
                      AND (taken_at <= w.starts OR taken_at >= greatest(w.opens, m.installed_at))
                    ORDER BY register, CASE WHEN w.fresh AND taken_at <= w.starts
                                            THEN w.starts - taken_at
                                            ELSE taken_at - w.opens + interval '1 year' END
                   ) o USING (register)) r ON true
     ORDER BY w.nr, m.installed_at, m.id, r.register
    """  # noqa: S608 (constants)
)


class NoReading(DomainError):
    """A register has no accepted reading near a bound of the period."""

    code = "billing.no_reading"


class ReadingWaits(NoReading):
    """A register has no reading near the end, and one that waits for a decision."""

    code = "billing.reading_waits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """
    A service point between two moments.

    `opened` holds the readings on which the bill before closed, by meter and register; it is
    empty for a first bill.
    """

    service_point_id: int
    starts_at: datetime
    ends_at: datetime
    opened: Mapping[tuple[int, str], Shown]


async def read_spans(
    session: AsyncSession, *, windows: Sequence[Window]
) -> list[tuple[BilledSpan, ...] | NoReading]:
    """
    Return the billed registers in each window, or the refusal that one of them was not read.

    A bill opens with the readings on which the one before closed, a meter's first bill with the
    reading nearest to its start. A meter that was replaced closes with its final reading, the new
    one opens with its first. A working meter that was not read near the end is estimated.
    """
    cases = await _shown(session, windows)
    await _estimate_unread(session, cases)
    return [_spans(case) for case in cases]


class _Meter(NamedTuple):
    serial: str
    digits: int
    multiplier: Decimal
    removed_at: datetime | None


_Registers = dict[tuple[int, str], Shown | Waits | None]


@dataclass(frozen=True, slots=True)
class _Case:
    """A window with its meters, and what their registers showed at its end and its start."""

    window: Window
    meters: dict[int, _Meter]
    closing: _Registers
    opening: _Registers


async def _shown(session: AsyncSession, windows: Sequence[Window]) -> list[_Case]:
    cases = [_Case(window, {}, {}, {}) for window in windows]
    if not windows:
        return cases
    asked = [
        (
            window.service_point_id,
            window.starts_at - (READING_AGE_MAX if window.opened else timedelta(0)),
            window.starts_at,
            window.ends_at,
            not window.opened,
        )
        for window in windows
    ]
    rows = await session.execute(
        _SHOWN, {**arrays("points opens froms untils fresh", asked), "age": READING_AGE_MAX}
    )
    for nr, meter_id, serial, digits, multiplier, removed_at, register, *shown in rows:
        case = cases[nr - 1]
        case.meters[meter_id] = _Meter(serial, digits, multiplier, removed_at)
        at, value, source, opened_at, opened, opened_source = shown
        if at is not None:
            case.closing[meter_id, register] = Shown(at=at, value=value, source=source)
        if opened_at is not None:
            case.opening[meter_id, register] = Shown(
                at=opened_at, value=opened, source=opened_source
            )
    return cases


async def _estimate_unread(session: AsyncSession, cases: Sequence[_Case]) -> None:
    """Put estimates where a register that was opened has no reading to close with."""
    unread = []
    for case in cases:
        window, closing = case.window, case.closing
        for key in sorted((window.opened.keys() | case.opening.keys()) - closing.keys()):
            meter = case.meters.get(key[0])
            if meter and (meter.removed_at is None or meter.removed_at >= window.ends_at):
                unread.append((closing, key, Unread(*key, meter.digits, window.ends_at)))
    found = await estimate_unread(session, [wanted for _, _, wanted in unread])
    for (closing, key, _), shown in zip(unread, found, strict=True):
        if shown is not None:
            closing[key] = shown


def _spans(case: _Case) -> tuple[BilledSpan, ...] | NoReading:
    """Pair the readings of each register: whatever was opened must close."""
    window, closing, opening = case.window, case.closing, case.opening
    known = closing | opening
    serials = ", ".join(sorted({meter.serial for meter in case.meters.values()}))
    missing = NoReading(meters=serials)
    read = {meter_id for meter_id, _ in known}
    if not read or read != case.meters.keys():
        return missing
    if any(key[0] in read and key not in known for key in window.opened):
        return missing
    spans = []
    for key in known:
        meter = case.meters[key[0]]
        closed = closing.get(key)
        opened = window.opened.get(key) or opening.get(key)
        if isinstance(closed, Waits):
            return ReadingWaits(meters=serials)
        if closed is None or opened is None or isinstance(opened, Waits):
            return missing
        if meter.removed_at is None or meter.removed_at > window.starts_at or closed != opened:
            spans.append(
                BilledSpan(
                    meter_id=key[0],
                    serial=meter.serial,
                    register=key[1],
                    digits=meter.digits,
                    multiplier=meter.multiplier,
                    opening=opened,
                    closing=closed,
                )
            )
    return tuple(spans) or missing

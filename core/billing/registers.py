"""What the registers showed at the bounds of a bill, for many agreements at once. Only reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.billing.consumption import BilledSpan, Shown
from core.billing.estimates import Unread, Waits, estimate_unread
from core.db import SCHEMA
from core.errors import DomainError

# A reading this old no longer tells what the register shows at the end of a period.
READING_AGE_MAX = timedelta(days=7)

# The registers of each meter at the latest (or, opening a meter, the earliest) moment of a window.
_SHOWN = """
SELECT m.id, m.serial, m.digits, m.multiplier, m.removed_at, r.register, r.taken_at, r.value,
       r.source, w.nr
  FROM unnest(CAST(:points AS bigint[]), CAST(:opens AS timestamptz[]),
              CAST(:froms AS timestamptz[]), CAST(:untils AS timestamptz[]))
       WITH ORDINALITY AS w (point, opens, starts, ends, nr)
  JOIN {schema}.meters m ON m.service_point_id = w.point AND m.installed_at < w.ends
       AND (m.removed_at IS NULL OR m.removed_at > w.opens)
  LEFT JOIN LATERAL (
       SELECT DISTINCT ON (register) register, taken_at, value, source
         FROM {schema}.readings
        WHERE meter_id = m.id AND status = 'accepted' AND source <> 'estimate'
           AND taken_at {window}
        ORDER BY register, taken_at {direction}) r ON true
 ORDER BY w.nr, m.installed_at, m.id, r.register
"""
_WINDOWS = {
    "closing": (
        """> least(w.ends, coalesce(m.removed_at, w.ends)) - CAST(:age AS interval)
           AND taken_at <= least(w.ends, coalesce(m.removed_at, w.ends))""",
        "DESC",
    ),
    "before": ("> w.starts - CAST(:age AS interval) AND taken_at <= w.starts", "DESC"),
    "after": (
        """>= greatest(w.opens, m.installed_at)
           AND taken_at <= greatest(w.opens, m.installed_at) + CAST(:age AS interval)""",
        "ASC",
    ),
}


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
    closing = await _shown(session, windows, "closing")
    before = await _shown(session, windows, "before")
    after = await _shown(session, windows, "after")
    cases = []
    for nr, window in enumerate(windows, 1):
        opening = after.get(nr, {})
        if not window.opened:
            opening = {**opening, **before.get(nr, {})}
        cases.append((window, closing.get(nr, {}), opening))
    await _estimate_unread(session, cases)
    return [_spans(*case) for case in cases]


@dataclass(frozen=True, slots=True)
class _Meter:
    id: int
    serial: str
    digits: int
    multiplier: Decimal
    removed_at: datetime | None


_Registers = dict[tuple[_Meter, str], Shown | Waits | None]
_Case = tuple[Window, _Registers, _Registers]


async def _shown(
    session: AsyncSession, windows: Sequence[Window], which: str
) -> dict[int, _Registers]:
    window, direction = _WINDOWS[which]
    rows = await session.execute(
        text(_SHOWN.format(schema=SCHEMA, window=window, direction=direction)),
        {
            "points": [window.service_point_id for window in windows],
            "opens": [
                window.starts_at - (READING_AGE_MAX if window.opened else timedelta(0))
                for window in windows
            ],
            "froms": [window.starts_at for window in windows],
            "untils": [window.ends_at for window in windows],
            "age": READING_AGE_MAX,
        },
    )
    found: dict[int, _Registers] = {}
    for *meter, register, at, value, source, nr in rows:
        registers = found.setdefault(nr, {})
        if register is not None:
            shown = Shown(at=at, value=value, source=source)
            registers[_Meter(*meter), register] = shown
        elif which == "closing":  # a meter that nobody read
            registers[_Meter(*meter), ""] = None
    return found


async def _estimate_unread(session: AsyncSession, cases: Sequence[_Case]) -> None:
    """Put estimates where a register that was opened has no reading to close with."""
    unread = []
    for window, closing, opening in cases:
        meters = {meter.id: meter for meter, _ in closing}
        opened = {(meters[id_], name) for id_, name in window.opened if id_ in meters}
        for key in sorted(opened | opening.keys(), key=lambda key: (key[0].id, key[1])):
            meter, register = key
            works = meter.removed_at is None or meter.removed_at >= window.ends_at
            if works and closing.get(key) is None:
                wanted = Unread(meter.id, register, meter.digits, window.ends_at)
                unread.append((closing, key, wanted))
    found = await estimate_unread(session, [wanted for _, _, wanted in unread])
    for (closing, key, _), shown in zip(unread, found, strict=True):
        if shown is not None:
            closing[key] = shown
            closing.pop((key[0], ""), None)


def _spans(
    window: Window, closing: _Registers, opening: _Registers
) -> tuple[BilledSpan, ...] | NoReading:
    """Pair the readings of each register: whatever was opened must close."""
    known = {(meter.id, register): (meter, register) for meter, register in closing | opening}
    serials = ", ".join(sorted({meter.serial for meter, _ in known.values()}))
    missing = NoReading(meters=serials)
    meters = {meter.id for meter, _ in closing}
    if not meters or {key for key in window.opened if key[0] in meters} - known.keys():
        return missing
    spans = []
    for key, (meter, register) in known.items():
        closed = closing.get((meter, register))
        opened = window.opened.get(key) or opening.get((meter, register))
        if isinstance(closed, Waits):
            return ReadingWaits(meters=serials)
        if closed is None or opened is None or isinstance(opened, Waits):
            return missing
        if meter.removed_at is None or meter.removed_at > window.starts_at or closed != opened:
            spans.append(
                BilledSpan(
                    meter_id=meter.id,
                    serial=meter.serial,
                    register=register,
                    digits=meter.digits,
                    multiplier=meter.multiplier,
                    opening=opened,
                    closing=closed,
                )
            )
    return tuple(spans) or missing

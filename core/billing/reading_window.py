"""The days before a bill on which people read their meters, and the reminder to do so."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Select, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import AccountRight, Agreement, Operator, ServicePoint
from core.accounts.service import get_operator
from core.billing.tariff_store import get_tariffs
from core.monitoring.models import Meter, Reading, ReadingStatus, Source
from core.notices import service as notices
from core.periods import local_day, start_of_day

CHUNK = 1000


class ReadingWindow(NamedTuple):
    """The first and the last local day on which a month's readings are wanted."""

    first: date
    last: date


def window_of(day: date, operator: Operator) -> ReadingWindow:
    """Return the window of the month in which a day lies."""
    return ReadingWindow(
        day.replace(day=operator.reading_first_day), day.replace(day=operator.reading_last_day)
    )


async def remind_to_read(session: AsyncSession, *, now: datetime) -> None:
    """
    Ask those who read their meters for a reading, on the first and the last day of the window.

    If nobody was asked on the first, they are asked on the next day of the window.
    Who has given one, or whose meter is on a gateway, or who gets no bill this month, is left in
    peace. The message is one for all meters of a person.
    """
    operator = await get_operator(session)
    today = local_day(now, zone=ZoneInfo(operator.timezone))
    window = window_of(today, operator)
    if not window.first <= today <= window.last:
        return
    unread = await _unread(session, window, operator)
    people = sorted(set(await session.scalars(unread.with_only_columns(AccountRight.person_id))))
    which = "last" if today == window.last else "first"
    for start in range(0, len(people), CHUNK):
        await notices.enqueue(
            session,
            person_ids=people[start : start + CHUNK],
            kind="reading.asked",
            params={"day": today.isoformat()},
            dedupe_key=f"reading.asked:{window.first.isoformat()}:{which}",
            now=now,
        )


async def list_unread(
    session: AsyncSession, *, person_id: int, now: datetime
) -> tuple[ReadingWindow, Sequence[int]] | None:
    """Return the window that is open and the person's meters without a reading in it, if any."""
    operator = await get_operator(session)
    today = local_day(now, zone=ZoneInfo(operator.timezone))
    window = window_of(today, operator)
    if not window.first <= today <= window.last:
        return None
    unread = await _unread(session, window, operator)
    meters = await session.scalars(
        unread.with_only_columns(Meter.id).where(AccountRight.person_id == person_id)
    )
    found = sorted(set(meters))
    return (window, found) if found else None


async def _unread(
    session: AsyncSession, window: ReadingWindow, operator: Operator
) -> Select[*tuple[Any, ...]]:
    """Select the meters that people read and did not read in a window."""
    starts_at = start_of_day(window.first, zone=ZoneInfo(operator.timezone))
    read = (
        select(Reading.meter_id)
        .where(
            Reading.meter_id == Meter.id,
            Reading.taken_at >= starts_at,
            Reading.source != Source.ESTIMATE,
            Reading.status != ReadingStatus.REJECTED,
        )
        .exists()
    )
    return (
        select(Meter.id, AccountRight.person_id)
        .join(ServicePoint, ServicePoint.id == Meter.service_point_id)
        .join(Agreement, Agreement.service_point_id == ServicePoint.id)
        .join(AccountRight, AccountRight.account_id == Agreement.account_id)
        .where(
            Meter.removed_at.is_(None),
            Meter.gateway_id.is_(None),
            Agreement.tariff_code.in_(await _due_codes(session, window)),
            Agreement.starts_date <= window.first,
            or_(Agreement.ends_date.is_(None), Agreement.ends_date > window.last),
            ~read,
        )
    )


async def _due_codes(session: AsyncSession, window: ReadingWindow) -> list[str]:
    """Return the tariffs whose bills end with this month."""
    codes = (await session.scalars(select(Agreement.tariff_code).distinct())).all()
    tariffs = await get_tariffs(session, codes=codes)
    month = window.first.month
    return [
        code for code, stored in tariffs.items() if month % stored.tariff.bill_every_months == 0
    ]

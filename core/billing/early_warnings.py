"""Said before the bill: a tier that comes near, an amount that is reached or going to be."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import AccountRight, Agreement, Contact
from core.accounts.service import get_operator
from core.billing.bills import people_of
from core.billing.budgets import list_budgets
from core.billing.dunning_rules import next_daytime
from core.billing.outlook import Outlook, get_outlook
from core.billing.tariff_model import Window, version_on
from core.errors import DomainError
from core.notices import service as notices
from core.periods import local_day, month_of, year_of

TIER_DAYS = 7


async def list_watched(session: AsyncSession, *, now: datetime) -> Sequence[int]:
    """Return the running agreements of people who can be reached."""
    today = local_day(now, zone=ZoneInfo((await get_operator(session)).timezone))
    found = await session.scalars(
        select(Agreement.id)
        .distinct()
        .join(AccountRight, AccountRight.account_id == Agreement.account_id)
        .join(Contact, Contact.person_id == AccountRight.person_id)
        .where(
            Contact.unreachable_since.is_(None),
            or_(Agreement.ends_date.is_(None), Agreement.ends_date > today),
        )
        .order_by(Agreement.id)
    )
    return found.all()


async def warn_early(session: AsyncSession, *, agreement_ids: Sequence[int], now: datetime) -> None:
    """
    Tell people of a tier that comes near and of their budgets; at night it waits for the morning.

    Each is told once: a tier in its window, a budget in a bill when it is going to be reached and
    when it is. What cannot be told (no reading, no price) is not guessed.
    """
    zone = ZoneInfo((await get_operator(session)).timezone)
    local = now.astimezone(zone)
    people = await people_of(session, agreement_ids=agreement_ids)
    for agreement_id in agreement_ids:
        try:
            outlook = await get_outlook(session, agreement_id=agreement_id, now=now)
        except DomainError:
            continue
        await _warn_of_tier(session, outlook, people.get(agreement_id, ()), local)
        await warn_of_budgets(session, outlook=outlook, now=now, due_at=next_daytime(local))


async def _warn_of_tier(
    session: AsyncSession, outlook: Outlook, people: Sequence[int], local: datetime
) -> None:
    coming, is_known = outlook.next_tier, not (outlook.is_silent or outlook.is_estimated)
    params: dict[str, Any] = {"agreement_id": outlook.running.agreement_id}
    if coming is not None and coming.days <= TIER_DAYS and is_known:
        tier = coming.tier
        params |= {**asdict(coming), "above": str(coming.above)}
    elif outlook.tier > outlook.began_tier and is_known:
        tier = outlook.tier
        params |= {"tier": tier}
    else:
        return
    await notices.enqueue(
        session,
        person_ids=people,
        kind="outlook.tier",
        params=params,
        dedupe_key=f"tier:{params['agreement_id']}:{_window_of(outlook, local.date())}:{tier}",
        now=local,
        due_at=next_daytime(local),
    )


def _window_of(outlook: Outlook, today: date) -> date:
    """Return the day from which the use that fills the tiers is counted."""
    basis = outlook.running.basis
    match version_on(basis.versions, today).window:
        case Window.YEAR:
            return year_of(today).starts
        case Window.MONTH:
            return month_of(today).starts
        case _:
            return basis.period.starts


async def warn_of_budgets(
    session: AsyncSession,
    *,
    outlook: Outlook,
    now: datetime,
    due_at: datetime | None = None,
    person_id: int | None = None,
) -> None:
    """Tell people, or one, once a bill that an amount they set is reached or going to be."""
    running = outlook.running
    agreement_id = running.agreement_id
    for budget in await list_budgets(session, agreement_id=agreement_id, person_id=person_id):
        which, minor = "", outlook.cost_minor or 0
        if minor >= budget.limit_minor:
            which = "reached"
        elif outlook.costs is not None and outlook.costs.likely >= budget.limit_minor:
            which, minor = "coming", outlook.costs.likely
        if which:
            await notices.enqueue(
                session,
                person_ids=[budget.person_id],
                kind="outlook.budget",
                params={"budget_id": budget.id, "which": which, "minor": minor},
                dedupe_key=f"budget:{budget.id}:{running.basis.period.starts}:{which}",
                now=now,
                due_at=due_at,
            )

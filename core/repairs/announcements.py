"""Who is told what happened on a repair: cards that are drawn again, and news where it matters."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import service as accounts
from core.accounts.models import Role
from core.notices import service as notices
from core.notices.models import Lane
from core.repairs.models import Repair, RepairEvent
from core.repairs.workflow import UNCLAIMED, Act


class Audience(StrEnum):
    """To whom news goes; never to the person who made it."""

    CUSTOMERS = "customers"
    MANAGERS = "managers"
    TECHNICIAN = "technician"
    FORMER = "former"
    ON_DUTY = "on_duty"


class News(StrEnum):
    """What is worth a new message; a card that is only edited goes unnoticed."""

    ACCEPTED = "accepted"
    WAITING = "waiting"
    PROMISE = "promise"
    FIXED = "fixed"
    REOPENED = "reopened"
    NORMAL = "normal"
    ANSWER = "answer"
    NOT_FIXED = "not_fixed"
    CONTRADICTED = "contradicted"
    LATE = "late"
    OFFERED = "offered"
    ASSIGNED = "assigned"
    TRANSFERRED = "transferred"
    ENDED = "ended"
    WORDS = "words"


NEWS_OF: dict[Act, tuple[tuple[News, Audience], ...]] = {
    Act.CLAIM: ((News.ACCEPTED, Audience.CUSTOMERS),),
    Act.ASSIGN: (
        (News.ACCEPTED, Audience.CUSTOMERS),
        (News.ASSIGNED, Audience.TECHNICIAN),
        (News.TRANSFERRED, Audience.FORMER),
    ),
    Act.WAIT: ((News.WAITING, Audience.CUSTOMERS),),
    Act.FIXED: ((News.FIXED, Audience.CUSTOMERS),),
    Act.HAND_BACK: ((News.OFFERED, Audience.ON_DUTY),),
    Act.DENY: (
        (News.REOPENED, Audience.CUSTOMERS),
        (News.NOT_FIXED, Audience.MANAGERS),
        (News.OFFERED, Audience.ON_DUTY),
    ),
    Act.CONFIRM: ((News.ENDED, Audience.TECHNICIAN),),
    Act.CANCEL: ((News.ENDED, Audience.TECHNICIAN),),
}


async def redraw(
    session: AsyncSession,
    *,
    repair: Repair,
    event: RepairEvent,
    now: datetime,
    former_id: int | None = None,
    is_offer: bool = False,
) -> None:
    """
    Have everybody's card of a repair drawn again: customers, managers, the technicians it concerns.

    With `is_offer` all technicians on duty are concerned: the job became free, or is no longer.
    """
    customers = await accounts.list_people_at(session, service_point_id=repair.service_point_id)
    managers = await accounts.list_staff(session, role=Role.MANAGER)
    technicians = {found for found in (repair.technician_id, former_id) if found is not None}
    if is_offer:
        technicians |= set(
            await accounts.list_staff(session, role=Role.TECHNICIAN, on_duty_only=True)
        )
    job = "repair.offer" if repair.state in UNCLAIMED else "repair.job"
    card = f"repair:{repair.id}"
    cards: tuple[tuple[str, Iterable[int], str], ...] = (
        ("repair.card", customers, card),
        ("repair.card_manager", managers, f"{card}:manager"),
        (job, technicians, f"{card}:job"),
    )
    for kind, people, name in cards:
        await notices.refresh_card(
            session,
            person_ids=people,
            kind=kind,
            params={"repair_id": repair.id},
            card=name,
            version=event.id,
            now=now,
        )


async def tell(
    session: AsyncSession,
    *,
    news: News,
    to: Audience,
    repair: Repair,
    event: RepairEvent,
    now: datetime,
    former_id: int | None = None,
) -> None:
    """Queue a new message for an audience."""
    people = await _list_audience(session, to, repair, former_id)
    await notices.enqueue(
        session,
        person_ids=[found for found in people if found != event.actor_id],
        kind="repair.news",
        params={"repair_id": repair.id, "event_id": event.id, "news": news.value},
        dedupe_key=f"repair:{repair.id}:{news}:{event.id}",
        now=now,
        lane=Lane.URGENT,
    )


async def _list_audience(
    session: AsyncSession, audience: Audience, repair: Repair, former_id: int | None
) -> list[int]:
    match audience:
        case Audience.CUSTOMERS:
            return await accounts.list_people_at(session, service_point_id=repair.service_point_id)
        case Audience.MANAGERS:
            return await accounts.list_staff(session, role=Role.MANAGER)
        case Audience.ON_DUTY:
            return await accounts.list_staff(session, role=Role.TECHNICIAN, on_duty_only=True)
        case Audience.TECHNICIAN:
            return [] if repair.technician_id is None else [repair.technician_id]
        case Audience.FORMER:
            if former_id is None or former_id == repair.technician_id:
                return []
            return [former_id]

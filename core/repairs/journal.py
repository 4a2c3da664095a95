"""What happens on a repair is written down, its cards are drawn again, and news is told."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from enum import StrEnum

from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import service as accounts
from core.accounts.models import Role
from core.notices import service as notices
from core.notices.models import Lane
from core.repairs.access import list_points
from core.repairs.models import Attachment, Repair, RepairEvent
from core.repairs.workflow import UNCLAIMED, Act, State


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
    RECURRED = "recurred"
    WORSE = "worse"
    LATE = "late"
    OFFERED = "offered"
    ASSIGNED = "assigned"
    TRANSFERRED = "transferred"
    ENDED = "ended"
    GREW = "grew"
    MERGED = "merged"
    WORDS = "words"
    MINE = "mine"


NEWS_OF = {
    Act.CLAIM: (News.ACCEPTED,),
    Act.ASSIGN: (News.ACCEPTED, News.ASSIGNED, News.TRANSFERRED),
    Act.WAIT: (News.WAITING,),
    Act.FIXED: (News.FIXED,),
    Act.HAND_BACK: (News.OFFERED,),
    Act.DENY: (News.REOPENED, News.NOT_FIXED, News.OFFERED),
    Act.CONFIRM: (News.ENDED,),
    Act.CANCEL: (News.ENDED,),
}


async def record_event(
    session: AsyncSession,
    *,
    repair: Repair,
    kind: str,
    actor_id: int | None,
    now: datetime,
    state: State | None = None,
    promised_at: datetime | None = None,
    photo_ref: str = "",
    details: Mapping[str, object] | None = None,
    news: Iterable[News] = (),
    former_id: int | None = None,
    is_offer: bool = False,
    customers_at: Collection[int] | None = None,
) -> RepairEvent:
    """
    Add an event with its photo to a repair's history, and tell whom it concerns.

    Those are customers, managers, the technician and the former one; with `is_offer` all
    technicians on duty: the job became free, or is no longer. Of an incident's customers, those
    at `customers_at` are told, by default all. Empty details are left out.
    """
    event = RepairEvent(
        repair_id=repair.id,
        at=now,
        actor_id=actor_id,
        kind=kind,
        state=state,
        promised_at=promised_at,
        details={
            name: str(value) for name, value in (details or {}).items() if value not in {None, ""}
        },
    )
    session.add(event)
    await session.flush()
    if photo_ref:
        session.add(
            Attachment(
                repair_id=repair.id,
                event_id=event.id,
                channel_ref=photo_ref,
                media_type="image/jpeg",
            )
        )
        await session.flush()
    if customers_at is None:
        customers_at = await list_points(session, repair=repair)
    customers = set(await accounts.list_people_at(session, service_point_ids=customers_at))
    await _tell(
        session, repair, event, news, customers=customers, former_id=former_id, is_offer=is_offer
    )
    return event


async def _tell(
    session: AsyncSession,
    repair: Repair,
    event: RepairEvent,
    news: Iterable[News],
    *,
    customers: set[int],
    former_id: int | None,
    is_offer: bool,
) -> None:
    managers = set(await accounts.list_staff(session, role=Role.MANAGER))
    technician = set() if repair.technician_id is None else {repair.technician_id}
    former = (set() if former_id is None else {former_id}) - technician
    on_duty: set[int] = set()
    if is_offer:
        on_duty.update(await accounts.list_staff(session, role=Role.TECHNICIAN, on_duty_only=True))
    job = "repair.offer" if repair.state in UNCLAIMED else "repair.job"
    for kind, people, suffix in (
        ("repair.card", customers, ""),
        ("repair.card_manager", managers, ":manager"),
        (job, technician | former | on_duty, ":job"),
    ):
        await notices.refresh_card(
            session,
            person_ids=people,
            kind=kind,
            params={"repair_id": repair.id},
            card=f"repair:{repair.id}{suffix}",
            version=event.id,
            now=event.at,
        )
    # Whatever is not listed concerns the customers.
    audiences = {
        News.NOT_FIXED: managers,
        News.CONTRADICTED: managers,
        News.RECURRED: customers | managers,
        News.WORSE: customers | managers | technician,
        News.LATE: managers | technician,
        News.OFFERED: on_duty,
        News.ASSIGNED: technician,
        News.TRANSFERRED: former,
        News.ENDED: technician,
        News.GREW: managers | technician,
        News.MERGED: technician,
        News.WORDS: technician,
        News.MINE: managers | technician,
    }
    for item in news:
        await notices.enqueue(
            session,
            person_ids=audiences.get(item, customers) - {event.actor_id},
            kind="repair.news",
            params={"repair_id": repair.id, "event_id": event.id, "news": item.value},
            dedupe_key=f"repair:{repair.id}:{item}:{event.id}",
            now=event.at,
            lane=Lane.URGENT,
        )

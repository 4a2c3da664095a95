"""Messages decided in the transaction of their cause; they are sent after it, elsewhere."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Contact
from core.notices.models import Delivery, Lane, Outcome, Unreached

WAKE = "shuidian_delivery"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message to people; the same `dedupe_key` reaches a contact once."""

    person_ids: Iterable[int]
    params: Mapping[str, Any]
    dedupe_key: str


async def enqueue(
    session: AsyncSession,
    *,
    person_ids: Iterable[int],
    kind: str,
    params: Mapping[str, Any],
    dedupe_key: str,
    now: datetime,
    lane: Lane = Lane.NOTICE,
    due_at: datetime | None = None,
    card: str | None = None,
) -> int:
    """
    Queue one message of a kind for each person, in every channel they have.

    The same `dedupe_key` reaches a contact once, however often this is called. A person without
    any contact is written down as unreached, so that somebody calls. With a `card` the message
    that already shows it is edited. Returns the number of deliveries added.
    """
    message = Message(person_ids=person_ids, params=params, dedupe_key=dedupe_key)
    return await enqueue_each(
        session, kind=kind, messages=[message], now=now, lane=lane, due_at=due_at, card=card
    )


async def enqueue_each(
    session: AsyncSession,
    *,
    kind: str,
    messages: Iterable[Message],
    now: datetime,
    lane: Lane = Lane.NOTICE,
    due_at: datetime | None = None,
    card: str | None = None,
) -> int:
    """Queue many messages of a kind as `enqueue` does one, in a few statements."""
    wanted = [(person, message) for message in messages for person in set(message.person_ids)]
    people = sorted({person for person, _ in wanted})
    if not people:
        return 0
    contacts: dict[int, list[int]] = {}
    for contact_id, person_id in await session.execute(
        select(Contact.id, Contact.person_id)
        .where(Contact.person_id.in_(people))
        .order_by(Contact.id)
    ):
        contacts.setdefault(person_id, []).append(contact_id)
    deliveries = [
        {
            "contact_id": contact_id,
            "kind": kind,
            "params": dict(message.params),
            "lane": lane,
            "card": card,
            "dedupe_key": message.dedupe_key,
            "created_at": now,
            "due_at": due_at or now,
        }
        for person, message in wanted
        for contact_id in contacts.get(person, ())
    ]
    unreached = [
        {
            "person_id": person,
            "kind": kind,
            "params": dict(message.params),
            "dedupe_key": message.dedupe_key,
            "at": now,
        }
        for person, message in wanted
        if person not in contacts
    ]
    added = 0
    if deliveries:
        result = await session.execute(
            insert(Delivery)
            .on_conflict_do_nothing(index_elements=["dedupe_key", "contact_id"])
            .returning(Delivery.id),
            deliveries,
        )
        added = len(result.all())
    if unreached:
        await session.execute(
            insert(Unreached).on_conflict_do_nothing(index_elements=["dedupe_key", "person_id"]),
            unreached,
        )
    if added:
        await session.execute(text(f"NOTIFY {WAKE}"))
    return added


async def enqueue_for_contact(
    session: AsyncSession,
    *,
    contact_id: int,
    kind: str,
    params: Mapping[str, Any],
    dedupe_key: str,
    now: datetime,
    lane: Lane,
) -> None:
    """Queue one message for one contact: an answer in the chat that asked."""
    await session.execute(
        insert(Delivery)
        .values(
            contact_id=contact_id,
            kind=kind,
            params=dict(params),
            lane=lane,
            dedupe_key=dedupe_key,
            created_at=now,
            due_at=now,
        )
        .on_conflict_do_nothing(index_elements=["dedupe_key", "contact_id"])
    )
    await session.execute(text(f"NOTIFY {WAKE}"))


async def refresh_card(
    session: AsyncSession,
    *,
    person_ids: Iterable[int],
    kind: str,
    params: Mapping[str, Any],
    card: str,
    version: int,
    now: datetime,
    lane: Lane = Lane.URGENT,
) -> None:
    """Have the message that shows a card to each person drawn again, or sent for the first time."""
    await enqueue(
        session,
        person_ids=person_ids,
        kind=kind,
        params=params,
        dedupe_key=f"{card}:{version}",
        now=now,
        lane=lane,
        card=card,
    )


async def is_delivered(
    session: AsyncSession, *, person_ids: Iterable[int], dedupe_key: str
) -> bool:
    """Tell whether at least one of these people provably got the message with this key."""
    found = await session.scalar(
        select(Delivery.id)
        .join(Contact, Contact.id == Delivery.contact_id)
        .where(
            Delivery.dedupe_key == dedupe_key,
            Delivery.outcome == Outcome.SENT,
            Contact.person_id.in_(list(person_ids)),
        )
        .limit(1)
    )
    return found is not None

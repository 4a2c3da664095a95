"""Messages decided in the transaction of their cause; they are sent after it, elsewhere."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Contact
from core.notices.models import Card, Delivery, Lane, Outcome, Unreached

WAKE = "shuidian_delivery"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message to people; the same `dedupe_key` reaches a contact once."""

    person_ids: Iterable[int]
    params: Mapping[str, Any]
    dedupe_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of a message to a person in one channel; only `sent` is proof."""

    person_id: int
    outcome: Outcome
    sent_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether it may still be sent."""
        return self.outcome in {Outcome.DUE, Outcome.SENDING, Outcome.POSTPONED}


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
            .returning(func.pg_notify(WAKE, "")),
            deliveries,
        )
        added = len(result.all())
    if unreached:
        await session.execute(
            insert(Unreached).on_conflict_do_nothing(index_elements=["dedupe_key", "person_id"]),
            unreached,
        )
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
        .returning(func.pg_notify(WAKE, ""))
    )


async def refresh_card(
    session: AsyncSession,
    *,
    person_ids: Iterable[int],
    kind: str,
    params: Mapping[str, Any],
    card: str,
    version: int | str,
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


async def list_fates(session: AsyncSession, *, dedupe_keys: Iterable[str]) -> dict[str, list[Fate]]:
    """Return what became of the messages with these keys, person by person."""
    fates: dict[str, list[Fate]] = {}
    for key, person_id, outcome, sent_at in await session.execute(
        select(Delivery.dedupe_key, Contact.person_id, Delivery.outcome, Delivery.sent_at)
        .join(Contact, Contact.id == Delivery.contact_id)
        .where(Delivery.dedupe_key.in_(sorted(set(dedupe_keys))))
        .order_by(Delivery.id)
    ):
        fates.setdefault(key, []).append(
            Fate(person_id=person_id, outcome=outcome, sent_at=sent_at)
        )
    return fates


def find_delivery(fates: Iterable[Fate], *, person_ids: Iterable[int]) -> datetime | None:
    """Return when the first of these people provably got a message, if anybody did."""
    people = set(person_ids)
    proven = [
        fate.sent_at
        for fate in fates
        if fate.outcome is Outcome.SENT and fate.sent_at is not None and fate.person_id in people
    ]
    return min(proven, default=None)


async def is_card_shown(session: AsyncSession, *, contact_id: int, card: str) -> bool:
    """Tell whether a contact has a message that shows this card."""
    return await session.get(Card, (contact_id, card)) is not None


async def note_seen(
    session: AsyncSession, *, contact_id: int, message_ref: str, now: datetime
) -> None:
    """Keep that a contact has seen a message, by the first button pressed below it."""
    await session.execute(
        update(Delivery)
        .where(
            Delivery.contact_id == contact_id,
            Delivery.message_ref == message_ref,
            Delivery.seen_at.is_(None),
        )
        .values(seen_at=now)
        .execution_options(synchronize_session=False)
    )

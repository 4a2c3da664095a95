"""What has to be said to whom: one delivery per message, person and channel, with its outcome."""

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from core.accounts.models import Service
from core.db import Base, Id


class Lane(IntEnum):
    """Order of sending: replies never wait for a broadcast."""

    REPLY = 0
    URGENT = 1
    NOTICE = 2
    BROADCAST = 3


class Outcome(StrEnum):
    """Where a delivery stands; only `sent` counts as delivered."""

    DUE = "due"
    SENDING = "sending"
    SENT = "sent"
    POSTPONED = "postponed"
    BLOCKED = "blocked"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SUPERSEDED = "superseded"


class Delivery(Base):
    """
    One message for one contact.

    `kind` names the renderer that makes its text from `params` in the person's language when it
    is sent. With a `card`, the message that shows this card to the contact is edited in place.
    `seen_at` is when a button below it was first pressed: all that a bot ever learns of reading.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("dedupe_key", "contact_id"),
        Index(
            "ix_deliveries_waiting",
            "lane",
            "id",
            postgresql_where=text("outcome IN ('due', 'sending', 'postponed')"),
        ),
        Index(
            "ix_deliveries_waiting_contact",
            "contact_id",
            "lane",
            "id",
            postgresql_where=text("outcome IN ('due', 'sending', 'postponed')"),
        ),
    )

    id: Mapped[Id]
    contact_id: Mapped[int] = mapped_column(ForeignKey("contacts.id"), index=True)
    kind: Mapped[str]
    params: Mapped[dict[str, Any]]
    lane: Mapped[int]
    card: Mapped[str | None]
    dedupe_key: Mapped[str]
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    outcome: Mapped[Outcome] = mapped_column(server_default=Outcome.DUE.value)
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    claimed_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    seen_at: Mapped[datetime | None]
    message_ref: Mapped[str | None]
    error: Mapped[str | None]


class Card(Base):
    """The message in which a contact sees something that changes, such as a repair."""

    __tablename__ = "cards"

    contact_id: Mapped[int] = mapped_column(ForeignKey("contacts.id"), primary_key=True)
    card: Mapped[str] = mapped_column(primary_key=True)
    message_ref: Mapped[str]


class Unreached(Base):
    """A person who should have been told something and has no contact; somebody must call."""

    __tablename__ = "unreached"
    __table_args__ = (UniqueConstraint("dedupe_key", "person_id"),)

    id: Mapped[Id]
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    kind: Mapped[str]
    params: Mapped[dict[str, Any]]
    dedupe_key: Mapped[str]
    at: Mapped[datetime]


class Repeat(StrEnum):
    """How often a scheduled push goes out."""

    ONCE = "once"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


class PushSchedule(Base):
    """A text in several languages that goes to an audience at a time, once or repeated."""

    __tablename__ = "push_schedules"

    id: Mapped[Id]
    name: Mapped[str]
    texts: Mapped[dict[str, Any]]
    area_id: Mapped[int] = mapped_column(ForeignKey("areas.id"))
    service: Mapped[Service | None]
    first_at: Mapped[datetime]
    repeat: Mapped[Repeat]
    next_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    created_at: Mapped[datetime]

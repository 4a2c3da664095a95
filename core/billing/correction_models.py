"""Credit notes and objections: what puts a wrong bill right, and what asks for it."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base, Id


class CreditKind(StrEnum):
    """Why an amount was taken off: a mistake, or use too old to be billed."""

    CORRECTION = "correction"
    OLD_USE = "old_use"


class Ground(StrEnum):
    """What people usually find wrong."""

    READING = "reading"
    TOO_MUCH = "too_much"
    TARIFF = "tariff"
    PAID = "paid"
    NOT_MINE = "not_mine"
    OTHER = "other"


class DisputeState(StrEnum):
    """An open objection waits for its answer; the others are ends."""

    OPEN = "open"
    UPHELD = "upheld"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"


class CreditNote(Base):
    """A part or the whole of a bill that need not be paid. Units: minor units."""

    __tablename__ = "credit_notes"
    __table_args__ = (CheckConstraint("amount_minor > 0", name="positive"),)

    id: Mapped[Id]
    number: Mapped[str] = mapped_column(unique=True)
    bill_id: Mapped[int] = mapped_column(ForeignKey("bills.id"), index=True)
    kind: Mapped[CreditKind]
    currency: Mapped[str]
    amount_minor: Mapped[int]
    reason: Mapped[str]
    at: Mapped[datetime]
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))


class Dispute(Base):
    """
    An objection to a bill, or to a reading before it is billed, with who answers it by when.

    While it is open the bill counts as not overdue. `promise_moves` is how often the day was put
    off, `told_late_at` when the person was told that it passed without an answer.
    """

    __tablename__ = "disputes"
    __table_args__ = (
        CheckConstraint("(bill_id IS NULL) = (taken_at IS NOT NULL)", name="one_subject"),
        CheckConstraint(
            "(state = 'open') = (answered_at IS NULL) AND answered_at >= opened_at", name="answered"
        ),
        Index(
            "uq_disputes_open_bill", "bill_id", unique=True, postgresql_where=text("state = 'open'")
        ),
        Index(
            "uq_disputes_open_reading",
            "meter_id",
            "register",
            "taken_at",
            unique=True,
            postgresql_where=text("state = 'open'"),
        ),
        Index("ix_disputes_bill_id", "bill_id"),
    )

    id: Mapped[Id]
    number: Mapped[str] = mapped_column(unique=True)
    agreement_id: Mapped[int] = mapped_column(ForeignKey("agreements.id"), index=True)
    bill_id: Mapped[int | None] = mapped_column(ForeignKey("bills.id"))
    meter_id: Mapped[int | None] = mapped_column(ForeignKey("meters.id"))
    register: Mapped[str | None]
    taken_at: Mapped[datetime | None]
    value: Mapped[Decimal | None]
    ground: Mapped[Ground]
    words: Mapped[str]
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    opened_at: Mapped[datetime]
    responsible_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    promised_date: Mapped[date]
    promise_moves: Mapped[int] = mapped_column(server_default=text("0"))
    delay: Mapped[str | None]
    told_late_at: Mapped[datetime | None]
    state: Mapped[DisputeState]
    answer: Mapped[str | None]
    answered_at: Mapped[datetime | None]
    answered_by_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))

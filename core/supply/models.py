"""Orders to cut and to restore supply; the most dangerous rows of the service."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.accounts.models import Supply
from core.db import Base, Id


class OrderState(StrEnum):
    """`sent` and `accepted` are never told as done; only a newer report of the device confirms."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    SENT = "sent"
    ACCEPTED = "accepted"
    CONFIRMED = "confirmed"
    DECLINED = "declined"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Reason(StrEnum):
    """
    The closed list of reasons to switch a supply; a property fee is none of them.

    Out of arrears, or when prepaid and emergency credit are used up, it is cut by rules of money;
    against a danger to the home (`PROTECTIVE`) not.
    """

    ARREARS = "arrears"
    CREDIT_USED = "credit_used"
    BURST = "burst"
    OVER_VOLTAGE = "over_voltage"
    PAID = "paid"
    TOPPED_UP = "topped_up"
    UNDONE = "undone"
    DISPUTED = "disputed"
    SAFE = "safe"
    PLANNED = "planned"


PROTECTIVE = frozenset({Reason.BURST, Reason.OVER_VOLTAGE})


class SupplyOrder(Base):
    """
    A wish for a state of supply, with the facts on which it was decided.

    `sent_at` is the first sending, `tried_at` the latest. An order to restore never expires.
    """

    __tablename__ = "supply_orders"
    __table_args__ = (
        Index(
            "uq_supply_orders_active",
            "service_point_id",
            unique=True,
            postgresql_where=text("state IN ('proposed', 'approved', 'sent', 'accepted')"),
        ),
        Index("ix_supply_orders_open", "meter_id", postgresql_where=text("finished_at IS NULL")),
        Index("ix_supply_orders_cuts", "sent_at", postgresql_where=text("wanted = 'cut'")),
        CheckConstraint("wanted IN ('cut', 'connected')", name="wanted"),
        CheckConstraint(
            "wanted <> 'cut' OR state IN ('proposed', 'declined', 'cancelled')"
            " OR approved_by_id IS NOT NULL AND valid_until <= approved_at + interval '24 hours'",
            name="approved",
        ),
    )

    id: Mapped[Id]
    number: Mapped[str] = mapped_column(unique=True)
    service_point_id: Mapped[int] = mapped_column(ForeignKey("service_points.id"), index=True)
    agreement_id: Mapped[int] = mapped_column(ForeignKey("agreements.id"), index=True)
    meter_id: Mapped[int] = mapped_column(ForeignKey("meters.id"))
    step_id: Mapped[int | None] = mapped_column(ForeignKey("dunning_steps.id"), index=True)
    wanted: Mapped[Supply]
    reason: Mapped[Reason]
    state: Mapped[OrderState]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    inputs: Mapped[dict[str, Any]]
    proposed_at: Mapped[datetime]
    approved_at: Mapped[datetime | None]
    approved_by_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    nonce: Mapped[str | None] = mapped_column(unique=True)
    valid_until: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    tried_at: Mapped[datetime | None]
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    finished_at: Mapped[datetime | None]
    report: Mapped[dict[str, Any] | None]
    note: Mapped[str | None]
    alerted_at: Mapped[datetime | None]


class SwitchReport(Base):
    """The latest that a device said about its own switch, by its own time."""

    __tablename__ = "switch_reports"

    meter_id: Mapped[int] = mapped_column(ForeignKey("meters.id"), primary_key=True)
    state: Mapped[Supply]
    taken_at: Mapped[datetime]
    received_at: Mapped[datetime]

"""Orders to cut and to restore supply; the most dangerous rows of the service."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, text
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
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Reason(StrEnum):
    """The closed list of reasons to switch a supply."""

    ARREARS = "arrears"
    PAID = "paid"
    SAFETY = "safety"
    CUSTOMER_ASKED = "customer_asked"


class SupplyOrder(Base):
    """A wish for a state of supply, with the facts on which it was decided."""

    __tablename__ = "supply_orders"
    __table_args__ = (
        Index(
            "uq_supply_orders_active",
            "service_point_id",
            unique=True,
            postgresql_where=text("state IN ('proposed', 'approved', 'sent', 'accepted')"),
        ),
    )

    id: Mapped[Id]
    number: Mapped[str] = mapped_column(unique=True)
    service_point_id: Mapped[int] = mapped_column(ForeignKey("service_points.id"), index=True)
    agreement_id: Mapped[int] = mapped_column(ForeignKey("agreements.id"))
    meter_id: Mapped[int] = mapped_column(ForeignKey("meters.id"), index=True)
    wanted: Mapped[Supply]
    reason: Mapped[Reason]
    state: Mapped[OrderState]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    inputs: Mapped[dict[str, Any]]
    proposed_at: Mapped[datetime]
    approved_at: Mapped[datetime | None]
    approved_by_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    sent_at: Mapped[datetime | None]
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    valid_until: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    report: Mapped[dict[str, Any] | None]

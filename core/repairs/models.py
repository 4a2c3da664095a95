"""Repairs and everything that happens on them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base, Id
from core.repairs.workflow import State


class Cause(StrEnum):
    """Why a repair was filed; one open repair per service point and cause."""

    LOW_PRESSURE = "low_pressure"
    HIGH_PRESSURE = "high_pressure"
    LOW_VOLTAGE = "low_voltage"
    HIGH_VOLTAGE = "high_voltage"
    REPORTED = "reported"
    SUPPLY_SWITCH = "supply_switch"
    SWITCHED_OFF = "switched_off"
    LEAK = "leak"
    SILENT_METER = "silent_meter"


OPEN = "state NOT IN ('closed', 'cancelled', 'merged')"


class Repair(Base):
    """
    One repair under one number, from the abnormal value to the customer's yes.

    With an `area_id` it is an incident of the homes that follow it; its service point is where it
    began. A merged one goes on as another.

    `version` counts the changes that make a button out of date: state, technician, promise.
    `normal_at` is when the meter was back to normal; empty while it is not, or nobody measures.
    `severity` is how urgent it is now, `severity_told` the highest that people were told.
    """

    __tablename__ = "repairs"
    __table_args__ = (
        Index(
            "uq_repairs_open_cause",
            "service_point_id",
            "cause",
            unique=True,
            postgresql_where=text(f"area_id IS NULL AND {OPEN}"),
        ),
        Index(
            "uq_repairs_open_incident",
            "area_id",
            "cause",
            unique=True,
            postgresql_where=text(f"area_id IS NOT NULL AND {OPEN}"),
        ),
        Index("ix_repairs_open", "id", postgresql_where=text(OPEN)),
    )

    id: Mapped[Id]
    number: Mapped[str] = mapped_column(unique=True)
    service_point_id: Mapped[int] = mapped_column(ForeignKey("service_points.id"), index=True)
    area_id: Mapped[int | None] = mapped_column(ForeignKey("areas.id"))
    cause: Mapped[Cause]
    state: Mapped[State]
    state_since: Mapped[datetime]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    alarm_id: Mapped[int | None] = mapped_column(ForeignKey("alarms.id"), index=True)
    reporter_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    technician_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"), index=True)
    filed_at: Mapped[datetime]
    promised_at: Mapped[datetime | None]
    promise_moves: Mapped[int] = mapped_column(server_default=text("0"))
    normal_at: Mapped[datetime | None]
    fixed_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    reopened_count: Mapped[int] = mapped_column(server_default=text("0"))
    escalated_at: Mapped[datetime | None]
    severity: Mapped[int] = mapped_column(server_default=text("0"))
    severity_told: Mapped[int] = mapped_column(server_default=text("0"))
    merged_into_id: Mapped[int | None] = mapped_column(ForeignKey("repairs.id"), index=True)


class Follower(Base):
    """
    A home that is part of an incident, with its latest alarm.

    `began_at` is when it became abnormal first; `answered_at` when its customer said since the
    technician's word whether all is well there.
    """

    __tablename__ = "repair_followers"

    repair_id: Mapped[int] = mapped_column(ForeignKey("repairs.id"), primary_key=True)
    service_point_id: Mapped[int] = mapped_column(
        ForeignKey("service_points.id"), primary_key=True, index=True
    )
    alarm_id: Mapped[int] = mapped_column(ForeignKey("alarms.id"), index=True)
    began_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]


class RepairEvent(Base):
    """One thing that happened on a repair; rows are only ever added."""

    __tablename__ = "repair_events"

    id: Mapped[Id]
    repair_id: Mapped[int] = mapped_column(ForeignKey("repairs.id"), index=True)
    at: Mapped[datetime]
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    kind: Mapped[str]
    state: Mapped[State | None]
    promised_at: Mapped[datetime | None]
    details: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))


class Attachment(Base):
    """
    A photo that belongs to a repair, as the channel knows it and as bytes.

    `content` is empty until it is fetched, and zero bytes long when it could not be.
    """

    __tablename__ = "attachments"

    id: Mapped[Id]
    repair_id: Mapped[int] = mapped_column(ForeignKey("repairs.id"), index=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("repair_events.id"))
    channel_ref: Mapped[str]
    media_type: Mapped[str]
    content: Mapped[bytes | None]

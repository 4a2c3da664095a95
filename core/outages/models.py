"""Notices of planned and unplanned interruptions, and who was told."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from core.accounts.models import Service
from core.db import Base, Id


class OutageKind(StrEnum):
    """Planned work needs days of warning, an emergency is told at once."""

    PLANNED = "planned"
    EMERGENCY = "emergency"


class OutageState(StrEnum):
    """A notice is announced, may change, and ends or is withdrawn."""

    ANNOUNCED = "announced"
    ENDED = "ended"
    WITHDRAWN = "withdrawn"


class Outage(Base):
    """An interruption with exactly one current end time; `version` counts its changes."""

    __tablename__ = "outages"

    id: Mapped[Id]
    number: Mapped[str] = mapped_column(unique=True)
    service: Mapped[Service]
    kind: Mapped[OutageKind]
    state: Mapped[OutageState]
    area_id: Mapped[int] = mapped_column(ForeignKey("areas.id"))
    reason: Mapped[str]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    version: Mapped[int]
    announced_at: Mapped[datetime]
    announced_by_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    ended_at: Mapped[datetime | None]


class OutageVersion(Base):
    """What a notice said at one time; older end times stay readable."""

    __tablename__ = "outage_versions"

    outage_id: Mapped[int] = mapped_column(ForeignKey("outages.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    reason: Mapped[str]
    state: Mapped[OutageState]


class OutageRecipient(Base):
    """Somebody whose supply the outage touches; the audience is frozen when it is confirmed."""

    __tablename__ = "outage_recipients"

    outage_id: Mapped[int] = mapped_column(ForeignKey("outages.id"), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)

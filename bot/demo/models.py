"""What the simulated meters and the demo's events remember."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ForeignKey, text
from sqlalchemy.orm import Mapped, mapped_column

from bot.demo.signals import EventKind
from core.db import Base, Id


class DemoMeter(Base):
    """A simulated meter: what it shows, up to when it was played, and how its switch stands."""

    __tablename__ = "demo_meters"

    meter_id: Mapped[int] = mapped_column(
        ForeignKey("meters.id"), primary_key=True, autoincrement=False
    )
    traits: Mapped[dict[str, Any]]
    register: Mapped[Decimal]
    played_until: Mapped[datetime]
    is_open: Mapped[bool] = mapped_column(server_default=text("true"))
    moved_at: Mapped[datetime | None]


class DemoEvent(Base):
    """Something that goes wrong with one meter, with every meter of a street, or with all."""

    __tablename__ = "demo_events"

    id: Mapped[Id]
    kind: Mapped[EventKind]
    area_id: Mapped[int | None] = mapped_column(ForeignKey("areas.id"))
    meter_id: Mapped[int | None] = mapped_column(ForeignKey("meters.id"))
    began_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class DemoAccess(Base):
    """The credentials of the demo's programs, so that they outlive the file that shows them."""

    __tablename__ = "demo_access"

    name: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[str]

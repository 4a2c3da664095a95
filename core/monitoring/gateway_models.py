"""Gateways: what each sent day by day, what could not be used, and when they are silent."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base, Id


class Hearing(Base):
    """
    When a meter was last heard, and for how long it may be silent.

    `newest_at` is the device's time of its newest value, `heard_at` ours; empty: it never spoke.
    `known_since` is when it was heard first.
    `usual_seconds` follows its pauses, `allowed_seconds` comes of them and of the limits.
    """

    __tablename__ = "hearings"

    meter_id: Mapped[int] = mapped_column(ForeignKey("meters.id"), primary_key=True)
    looked_at: Mapped[datetime]
    newest_at: Mapped[datetime | None]
    heard_at: Mapped[datetime | None]
    known_since: Mapped[datetime | None]
    usual_seconds: Mapped[int]
    allowed_seconds: Mapped[int]


class GatewayWatch(Base):
    """
    When a gateway was last looked at, and since when its silence can be told from our own.

    After a break of ours, or its return, everything behind it gets its time anew from `since` on.
    """

    __tablename__ = "gateway_watches"

    gateway_id: Mapped[int] = mapped_column(ForeignKey("api_keys.id"), primary_key=True)
    looked_at: Mapped[datetime]
    since: Mapped[datetime]


class GatewaySilence(Base):
    """
    A gateway that is silent, whole or with `silent` of its `meters`; without one: all of them.

    Managers are reminded (`told_at`) until one takes it; it ends when data comes again.
    """

    __tablename__ = "gateway_silences"
    __table_args__ = (
        Index(
            "uq_gateway_silences_open",
            "gateway_id",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: Mapped[Id]
    gateway_id: Mapped[int | None] = mapped_column(ForeignKey("api_keys.id"))
    meters: Mapped[int]
    silent: Mapped[int]
    began_at: Mapped[datetime]
    found_at: Mapped[datetime]
    told_at: Mapped[datetime]
    taken_at: Mapped[datetime | None]
    taken_by_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    ended_at: Mapped[datetime | None]


class Quarantined(Base):
    """What a gateway sent and nobody could use, kept with the reason."""

    __tablename__ = "quarantine"

    id: Mapped[Id]
    gateway_id: Mapped[int | None] = mapped_column(ForeignKey("api_keys.id"))
    received_at: Mapped[datetime]
    reason: Mapped[str]
    payload: Mapped[dict[str, Any]]


class FeedVersion(Base):
    """
    The version of what a gateway's meters are remembered by (`feeds`); its row is their lock.

    The number is the gateway's; number 0 stands for what counts for all, and triggers renew it.
    """

    __tablename__ = "feeds"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[UUID]


class GatewayDay(Base):
    """
    What a gateway sent in a local day: `received` is always the sum of the four others.

    A reading that a later one turned, or that somebody decided on, stays counted as it came.

    Units:
        `ahead_seconds`: how far its clock was before ours at the most, where that was too much.
    """

    __tablename__ = "gateway_days"
    __table_args__ = (
        CheckConstraint("received = accepted + duplicate + held + rejected", name="sum"),
    )

    gateway_id: Mapped[int] = mapped_column(ForeignKey("api_keys.id"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    received: Mapped[int]
    accepted: Mapped[int]
    duplicate: Mapped[int]
    held: Mapped[int]
    rejected: Mapped[int]
    ahead_seconds: Mapped[int] = mapped_column(server_default="0")
    last_at: Mapped[datetime]

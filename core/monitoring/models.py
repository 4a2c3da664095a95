"""Meters, what they measured, what is normal, and what was not."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.accounts.models import Service
from core.db import Base, Id
from core.monitoring.leak_rules import LeakKind


class Quantity(StrEnum):
    """
    What a sample measures, and for how long there was none. Units: kPa, V, hours.

    Silence is no sample of anything: only limits and alarms know it (`SERVICE_OF` names the rest).
    """

    PRESSURE = "pressure"
    VOLTAGE = "voltage"
    SILENCE = "silence"


class Side(StrEnum):
    """Which limit was crossed."""

    LOW = "low"
    HIGH = "high"


class Source(StrEnum):
    """Who read a register."""

    GATEWAY = "gateway"
    CUSTOMER = "customer"
    TECHNICIAN = "technician"
    STAFF = "staff"
    ESTIMATE = "estimate"


class ReadingStatus(StrEnum):
    """
    Only accepted readings are billed; the others wait for a person, or were refused by one.

    Held ones do not follow from what was accepted; of disputed ones two values were sent; doubted
    ones look like another unit.
    """

    ACCEPTED = "accepted"
    HELD = "held"
    DISPUTED = "disputed"
    DOUBTED = "doubted"
    REJECTED = "rejected"


class Meter(Base):
    """
    A device at a service point; its registers count up to `capacity_of(digits)`.

    `device` is what its gateway calls it, if that is not the serial number. A master counts all
    that goes into the area `master_of_id`; `loss_limit` is the share of it that may get lost.

    Units: `ceiling`, the most that can go through, m³ or kWh an hour; empty: the service's.
    """

    __tablename__ = "meters"
    __table_args__ = (
        Index(
            "uq_meters_working_service_point",
            "service_point_id",
            unique=True,
            postgresql_where=text("removed_at IS NULL"),
        ),
        Index(
            "uq_meters_working_device",
            "gateway_id",
            "device",
            unique=True,
            postgresql_where=text("removed_at IS NULL"),
        ),
    )

    id: Mapped[Id]
    serial: Mapped[str] = mapped_column(unique=True)
    service_point_id: Mapped[int] = mapped_column(ForeignKey("service_points.id"))
    digits: Mapped[int]
    multiplier: Mapped[Decimal] = mapped_column(server_default=text("1"))
    ceiling: Mapped[Decimal | None]
    installed_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]
    gateway_id: Mapped[int | None] = mapped_column(ForeignKey("api_keys.id"), index=True)
    device: Mapped[str | None]
    switchable: Mapped[bool] = mapped_column(server_default=text("false"))
    master_of_id: Mapped[int | None] = mapped_column(ForeignKey("areas.id"), index=True)
    loss_limit: Mapped[Decimal] = mapped_column(server_default=text("0.1"))


class Reading(Base):
    """
    The value of a register. Units: m³ (water), kWh (electricity), before the multiplier.

    One partition a month (`partitions`). The meter is no foreign key: checking it row by row
    would make storing a batch several times slower, and meters are never deleted.
    """

    __tablename__ = "readings"
    __table_args__ = (
        Index(
            "ix_readings_waiting",
            "meter_id",
            postgresql_where=text("status IN ('held', 'disputed', 'doubted')"),
        ),
        {"postgresql_partition_by": "RANGE (taken_at)"},
    )

    meter_id: Mapped[int] = mapped_column(primary_key=True)
    register: Mapped[str] = mapped_column(primary_key=True)
    taken_at: Mapped[datetime] = mapped_column(primary_key=True)
    value: Mapped[Decimal]
    source: Mapped[Source]
    status: Mapped[ReadingStatus]
    received_at: Mapped[datetime]


class ReadingPhoto(Base):
    """
    A photo of a dial, kept beside a reading, as the channel knows it and as bytes.

    `content` is empty until it is fetched, and zero bytes long when it could not be.
    """

    __tablename__ = "reading_photos"
    __table_args__ = (Index(None, "meter_id", "register", "taken_at"),)

    id: Mapped[Id]
    meter_id: Mapped[int] = mapped_column(ForeignKey("meters.id"))
    register: Mapped[str]
    taken_at: Mapped[datetime]
    channel_ref: Mapped[str]
    media_type: Mapped[str]
    content: Mapped[bytes | None]


class Sample(Base):
    """One measurement of quality. Units: see `Quantity`; kept like `Reading`."""

    __tablename__ = "samples"
    __table_args__ = {"postgresql_partition_by": "RANGE (taken_at)"}  # noqa: RUF012 (the same)

    meter_id: Mapped[int] = mapped_column(primary_key=True)
    quantity: Mapped[Quantity] = mapped_column(primary_key=True)
    taken_at: Mapped[datetime] = mapped_column(primary_key=True)
    value: Mapped[Decimal]


class Standstill(Base):
    """
    A register that does not move though it usually does: stuck, or nobody is at home.

    Units: `value` as the register shows it; `usual` a day, with the multiplier.
    """

    __tablename__ = "standstills"

    meter_id: Mapped[int] = mapped_column(ForeignKey("meters.id"), primary_key=True)
    since: Mapped[datetime]
    value: Mapped[Decimal]
    usual: Mapped[Decimal]


class Limit(Base):
    """
    A normal range; the most specific one for a meter counts.

    That is the meter's own, then the nearest area's up the tree, then the class's, then the rest.

    Units: as the quantity; `hold_seconds` is how long a value must stay outside (or back
    inside) before it counts; `deadband` how far it must come back.
    """

    __tablename__ = "limits"

    id: Mapped[Id]
    quantity: Mapped[Quantity]
    customer_class: Mapped[str | None]
    area_id: Mapped[int | None] = mapped_column(ForeignKey("areas.id"))
    meter_id: Mapped[int | None] = mapped_column(ForeignKey("meters.id"))
    low: Mapped[Decimal | None]
    high: Mapped[Decimal | None]
    deadband: Mapped[Decimal]
    hold_seconds: Mapped[int]


class Watch(Base):
    """
    What is remembered of a quantity that is not calm; a calm one has no row.

    `side` is where the latest values lie (nothing: inside), `since` when, with which `worst`.
    """

    __tablename__ = "watches"

    meter_id: Mapped[int] = mapped_column(ForeignKey("meters.id"), primary_key=True)
    quantity: Mapped[Quantity] = mapped_column(primary_key=True)
    side: Mapped[Side | None]
    since: Mapped[datetime]
    last_at: Mapped[datetime]
    worst: Mapped[Decimal | None]
    alarm_id: Mapped[int | None] = mapped_column(ForeignKey("alarms.id"))


UNTAKEN = "taken_up_at IS NULL OR (ended_at IS NOT NULL AND end_taken_up_at IS NULL)"


class Alarm(Base):
    """A quantity that stayed outside its range; ended when it stayed inside again."""

    __tablename__ = "alarms"
    __table_args__ = (
        Index(
            "uq_alarms_open",
            "meter_id",
            "quantity",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index("ix_alarms_untaken", "id", postgresql_where=text(UNTAKEN)),
    )

    id: Mapped[Id]
    meter_id: Mapped[int] = mapped_column(ForeignKey("meters.id"))
    quantity: Mapped[Quantity]
    side: Mapped[Side]
    limit: Mapped[Decimal]
    worst: Mapped[Decimal]
    began_at: Mapped[datetime]
    raised_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    end_value: Mapped[Decimal | None]
    taken_up_at: Mapped[datetime | None]
    end_taken_up_at: Mapped[datetime | None]


class LeakAnswer(StrEnum):
    """What the people at home say to a suspected leak."""

    MINE = "mine"
    AWAY = "away"
    HELP = "help"


class Leak(Base):
    """
    A use of water that looks like a leak; ended when it stopped, or when it was declared usual.

    Units: `rate` m³/h, the least that ran all the time.
    """

    __tablename__ = "leaks"
    __table_args__ = (
        Index("uq_leaks_open", "meter_id", unique=True, postgresql_where=text("ended_at IS NULL")),
    )

    id: Mapped[Id]
    meter_id: Mapped[int] = mapped_column(ForeignKey("meters.id"), index=True)
    kind: Mapped[LeakKind]
    rate: Mapped[Decimal]
    began_at: Mapped[datetime]
    found_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    answer: Mapped[LeakAnswer | None]
    answered_at: Mapped[datetime | None]
    answered_by_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))


class LeakLook(Base):
    """When a meter's use was last looked at for leaks."""

    __tablename__ = "leak_looks"

    meter_id: Mapped[int] = mapped_column(ForeignKey("meters.id"), primary_key=True)
    looked_at: Mapped[datetime]


class Vacation(Base):
    """
    Somebody's wish to be told of any use of water until the end of a day.

    What was used up to `told_until` has been told.
    """

    __tablename__ = "vacations"
    __table_args__ = (
        Index(
            "uq_vacations_open",
            "meter_id",
            "person_id",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: Mapped[Id]
    meter_id: Mapped[int] = mapped_column(ForeignKey("meters.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    begins_at: Mapped[datetime]
    until_date: Mapped[date]
    told_until: Mapped[datetime]
    looked_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


SERVICE_OF = {Quantity.PRESSURE: Service.WATER, Quantity.VOLTAGE: Service.ELECTRICITY}

"""People, places, accounts and agreements: who gets what supply where, and who may see it."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base, Id


class Service(StrEnum):
    """The two twin services."""

    WATER = "water"
    ELECTRICITY = "electricity"


class AreaKind(StrEnum):
    """Levels of the area tree; risers and feeders hang below their building."""

    DISTRICT = "district"
    STREET = "street"
    BUILDING = "building"
    RISER = "riser"
    FEEDER = "feeder"


class Supply(StrEnum):
    """What is known of the supply at a service point; `ready` waits for the person's button."""

    CONNECTED = "connected"
    CUT = "cut"
    READY = "ready"
    UNKNOWN = "unknown"


class Role(StrEnum):
    """What a member of staff may do; customers need no role, they have rights on accounts."""

    TECHNICIAN = "technician"
    MANAGER = "manager"


class Right(StrEnum):
    """A person's relation to an account."""

    HOLDER = "holder"
    TENANT = "tenant"
    PAYER = "payer"
    CARETAKER = "caretaker"


class Operator(Base):
    """
    The one operator of this installation and the settings that people see.

    People are asked to read their meters from one day of the month to another. Use older than
    `back_billing_days` is not billed; an objection is answered within `dispute_days`. A debt goes
    into `plan_parts_max` parts at most, none below `plan_part_minor_min` (minor units), paid every
    `plan_days`; a part missed by `plan_grace_days` breaks the plan. Prepaid homes are told at
    those of `prepaid_steps` that they pick, go on at `emergency_minor` below zero, and are cut
    only between the hours `prepaid_cut_from` and `prepaid_cut_until`.
    """

    __tablename__ = "operator"
    __table_args__ = (
        CheckConstraint("id = 1", name="only_one"),
        CheckConstraint(
            "1 <= reading_first_day AND reading_first_day <= reading_last_day"
            " AND reading_last_day <= 28",
            name="reading_days",
        ),
        CheckConstraint(
            "emergency_minor >= 0 AND 0 <= prepaid_cut_from"
            " AND prepaid_cut_from < prepaid_cut_until AND prepaid_cut_until <= 23",
            name="prepaid",
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    timezone: Mapped[str]
    currency: Mapped[str]
    locale: Mapped[str]
    hotline: Mapped[str]
    reading_first_day: Mapped[int] = mapped_column(server_default=text("25"))
    reading_last_day: Mapped[int] = mapped_column(server_default=text("28"))
    back_billing_days: Mapped[int] = mapped_column(server_default=text("365"))
    dispute_days: Mapped[int] = mapped_column(server_default=text("7"))
    plan_parts_max: Mapped[int] = mapped_column(server_default=text("6"))
    plan_part_minor_min: Mapped[int] = mapped_column(server_default=text("1000"))
    plan_days: Mapped[int] = mapped_column(server_default=text("30"))
    plan_grace_days: Mapped[int] = mapped_column(server_default=text("3"))
    approves_bills: Mapped[bool] = mapped_column(server_default=text("true"))
    prepaid_steps: Mapped[list[int]] = mapped_column(
        ARRAY(BigInteger), server_default=text("'{20000,12000,10000,5000,3000,1000}'")
    )
    emergency_minor: Mapped[int] = mapped_column(server_default=text("2000"))
    prepaid_cut_from: Mapped[int] = mapped_column(server_default=text("9"))
    prepaid_cut_until: Mapped[int] = mapped_column(server_default=text("14"))


class Area(Base):
    """A node of the area tree; `path` holds all ids from the root, `/1/4/`."""

    __tablename__ = "areas"
    __table_args__ = (Index(None, "path", postgresql_ops={"path": "text_pattern_ops"}),)

    id: Mapped[Id]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("areas.id"), index=True)
    kind: Mapped[AreaKind]
    name: Mapped[str]
    path: Mapped[str]


class Premise(Base):
    """A home, shop or room that is supplied."""

    __tablename__ = "premises"

    id: Mapped[Id]
    area_id: Mapped[int] = mapped_column(ForeignKey("areas.id"), index=True)
    address: Mapped[str] = mapped_column(unique=True)
    household_size: Mapped[int] = mapped_column(server_default=text("3"))


class ServicePoint(Base):
    """
    Where one service reaches a premise; its area is the riser or feeder that brings it.

    `attributes` are texts that tariffs ask about: a contracted demand, the size of the meter.
    """

    __tablename__ = "service_points"
    __table_args__ = (UniqueConstraint("premise_id", "service"),)

    id: Mapped[Id]
    premise_id: Mapped[int] = mapped_column(ForeignKey("premises.id"))
    service: Mapped[Service]
    area_id: Mapped[int] = mapped_column(ForeignKey("areas.id"), index=True)
    customer_class: Mapped[str] = mapped_column(server_default="home")
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    protected: Mapped[str | None]
    supply: Mapped[Supply] = mapped_column(server_default=Supply.CONNECTED.value)
    supply_since: Mapped[datetime | None]


class Person(Base):
    """Somebody we talk to: a customer, a member of staff, or both."""

    __tablename__ = "people"

    id: Mapped[Id]
    name: Mapped[str]
    phone: Mapped[str | None] = mapped_column(unique=True)
    locale: Mapped[str]
    created_at: Mapped[datetime]


class Contact(Base):
    """
    Where a person can be reached; `unreachable_since` is set while messages are refused.

    `language_code` is what the channel last said of the person's phone.
    """

    __tablename__ = "contacts"
    __table_args__ = (UniqueConstraint("channel", "address"),)

    id: Mapped[Id]
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    channel: Mapped[str]
    address: Mapped[str]
    language_code: Mapped[str | None]
    unreachable_since: Mapped[datetime | None]


class Staff(Base):
    """A role that a person holds; technicians on duty are offered repairs."""

    __tablename__ = "staff"

    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)
    role: Mapped[Role] = mapped_column(primary_key=True)
    on_duty: Mapped[bool] = mapped_column(server_default=text("true"))


class Account(Base):
    """What bills are produced for; its number is printed on every bill."""

    __tablename__ = "accounts"

    id: Mapped[Id]
    number: Mapped[str] = mapped_column(unique=True)
    premise_id: Mapped[int] = mapped_column(ForeignKey("premises.id"), index=True)
    holder_name: Mapped[str]


class AccountRight(Base):
    """A person's right on an account."""

    __tablename__ = "account_rights"

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True, index=True)
    right: Mapped[Right]
    since: Mapped[datetime]


class Agreement(Base):
    """
    One service at one place for one holder; receivables are kept per agreement.

    What a prepaid one uses is taken from its credit, day by day; no bill of it is ever overdue.
    """

    __tablename__ = "agreements"
    __table_args__ = (
        Index(
            "uq_agreements_open_service_point",
            "service_point_id",
            unique=True,
            postgresql_where=text("ends_date IS NULL"),
        ),
    )

    id: Mapped[Id]
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), index=True)
    service_point_id: Mapped[int] = mapped_column(ForeignKey("service_points.id"), index=True)
    tariff_code: Mapped[str]
    starts_date: Mapped[date]
    ends_date: Mapped[date | None]
    is_prepaid: Mapped[bool] = mapped_column(server_default=text("false"))


class Invitation(Base):
    """A single-use code that links a chat to an account or a role; only its hash is kept."""

    __tablename__ = "invitations"

    id: Mapped[Id]
    code_hash: Mapped[str] = mapped_column(unique=True)
    account_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))
    right: Mapped[Right | None]
    role: Mapped[Role | None]
    person_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    used_by_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))


class ApiKey(Base):
    """
    A credential of a program: a gateway (scope `gateway`) or an admin's tool (`admin`).

    A gateway with a `profile` also speaks over MQTT, in the topics of that profile; they begin
    with `below`, by which several gateways of one maker are told apart.
    """

    __tablename__ = "api_keys"
    __table_args__ = (
        Index(
            "uq_api_keys_working_profile",
            "profile",
            "below",
            unique=True,
            postgresql_where=text("revoked_at IS NULL"),
        ),
    )

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(unique=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    scope: Mapped[str]
    profile: Mapped[str | None]
    below: Mapped[str] = mapped_column(server_default=text("''"))
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]

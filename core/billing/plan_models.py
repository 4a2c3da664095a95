"""Plans to pay a debt in parts: asked for or offered, agreed, kept or broken."""

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base, Id


class PlanState(StrEnum):
    """
    A plan is asked for by a customer or offered by a manager; only the other side agrees.

    Ended is what became needless: paid before it was agreed, or its bills were taken back.
    """

    ASKED = "asked"
    OFFERED = "offered"
    AGREED = "agreed"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    KEPT = "kept"
    BROKEN = "broken"
    ENDED = "ended"


class PaymentPlan(Base):
    """
    How an agreement pays what it owed at one moment; bills and payments stay what they are.

    `paused_at` is since when it stops the clocks of its bills, `looked_on` the local day of the
    last look, `short_since` the day from which a missed part counts. Units: minor units.
    """

    __tablename__ = "payment_plans"
    __table_args__ = (
        CheckConstraint(
            "(state IN ('asked', 'offered', 'agreed')) = (ended_at IS NULL)", name="ended"
        ),
        CheckConstraint(
            "state NOT IN ('agreed', 'kept', 'broken') OR agreed_at IS NOT NULL", name="agreed"
        ),
        CheckConstraint("(state = 'declined') = (reason IS NOT NULL)", name="reasoned"),
        Index(
            "uq_payment_plans_active",
            "agreement_id",
            unique=True,
            postgresql_where=text("state IN ('asked', 'offered', 'agreed')"),
        ),
        Index("ix_payment_plans_agreement_id", "agreement_id"),
    )

    id: Mapped[Id]
    number: Mapped[str] = mapped_column(unique=True)
    agreement_id: Mapped[int] = mapped_column(ForeignKey("agreements.id"))
    currency: Mapped[str]
    debt_minor: Mapped[int]
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    state: Mapped[PlanState]
    opened_at: Mapped[datetime]
    paused_at: Mapped[datetime | None]
    agreed_at: Mapped[datetime | None]
    decided_by_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    reason: Mapped[str | None]
    looked_on: Mapped[date]
    short_since: Mapped[date | None]
    ended_at: Mapped[datetime | None]


class PlanBill(Base):
    """A bill that a plan pays."""

    __tablename__ = "plan_bills"

    plan_id: Mapped[int] = mapped_column(ForeignKey("payment_plans.id"), primary_key=True)
    bill_id: Mapped[int] = mapped_column(ForeignKey("bills.id"), primary_key=True, index=True)


class PlanPart(Base):
    """A part of a plan, to be paid on its day at the latest. Units: minor units."""

    __tablename__ = "plan_parts"
    __table_args__ = (CheckConstraint("amount_minor > 0", name="positive"),)

    plan_id: Mapped[int] = mapped_column(ForeignKey("payment_plans.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    due_date: Mapped[date]
    amount_minor: Mapped[int]

"""Billing runs, their chunks, and whom they could not bill."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from core.accounts.models import Service
from core.db import Base, Id


class BillingRun(Base):
    """
    One run over a service and a period; running it again issues only what is missing.

    Nothing is issued before it is approved, by a manager or by the operator's setting.
    `proposal` is the dry run that the managers saw, `reach` what became of the messages by
    `reached_at`,
    `class_p99` what only one bill in a hundred of each customer class exceeded before.
    Units: m³ or kWh a day.
    """

    __tablename__ = "billing_runs"
    __table_args__ = (UniqueConstraint("service", "starts_date", "ends_date"),)

    id: Mapped[Id]
    service: Mapped[Service]
    starts_date: Mapped[date]
    ends_date: Mapped[date]
    started_at: Mapped[datetime]
    proposal: Mapped[dict[str, Any] | None]
    approved_at: Mapped[datetime | None]
    approved_by_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    finished_at: Mapped[datetime | None]
    class_p99: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    reach: Mapped[dict[str, Any] | None]
    reached_at: Mapped[datetime | None]


class BillingChunk(Base):
    """
    The agreements of a run from `first_id` to `last_id`, issued in one transaction.

    Units: `issued`, `held`, `skipped` agreements; `total_minor` of what was issued.
    """

    __tablename__ = "billing_chunks"

    run_id: Mapped[int] = mapped_column(ForeignKey("billing_runs.id"), primary_key=True)
    nr: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    first_id: Mapped[int]
    last_id: Mapped[int]
    agreements: Mapped[int]
    done_at: Mapped[datetime | None]
    issued: Mapped[int] = mapped_column(server_default=text("0"))
    held: Mapped[int] = mapped_column(server_default=text("0"))
    skipped: Mapped[int] = mapped_column(server_default=text("0"))
    total_minor: Mapped[int] = mapped_column(server_default=text("0"))


class BillingSkip(Base):
    """An agreement that a run could not bill, and why; the row goes when it is billed."""

    __tablename__ = "billing_skips"

    run_id: Mapped[int] = mapped_column(ForeignKey("billing_runs.id"), primary_key=True)
    agreement_id: Mapped[int] = mapped_column(
        ForeignKey("agreements.id"), primary_key=True, index=True
    )
    reason: Mapped[str]
    at: Mapped[datetime]

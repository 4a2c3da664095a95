"""Tariffs, bills, the ledger, payments and the steps of dunning."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from core.accounts.models import Service
from core.db import Base, Id


class BillState(StrEnum):
    """A held bill is seen by nobody but managers and starts no clock."""

    HELD = "held"
    ISSUED = "issued"
    SETTLED = "settled"
    VOID = "void"


class LedgerAccount(StrEnum):
    """The operator's accounts; receivables also name their agreement."""

    RECEIVABLE = "receivable"
    REVENUE = "revenue"
    CASH = "cash"
    SUSPENSE = "suspense"


class PaymentState(StrEnum):
    """An unknown payment never counts as paid and never allows a cut."""

    PENDING = "pending"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class StepKind(StrEnum):
    """The ladder from a kind word to an order, none ever skipped."""

    REMINDER = "reminder"
    CUT_NOTICE = "cut_notice"
    CUT_PROPOSED = "cut_proposed"


class TariffVersion(Base):
    """A tariff as its dated file said it, kept whole so that every bill can be computed again."""

    __tablename__ = "tariff_versions"
    __table_args__ = (UniqueConstraint("code", "valid_from"),)

    id: Mapped[Id]
    code: Mapped[str]
    service: Mapped[Service]
    valid_from: Mapped[date]
    valid_to: Mapped[date | None]
    sha256: Mapped[str]
    source: Mapped[str]
    content: Mapped[str]


class BillingRun(Base):
    """
    One run over a service and a period; running it again issues only what is missing.

    Nothing is issued before it is approved, by a manager or by the operator's setting.
    `proposal` is the dry run that the managers saw, `reach` what became of the messages,
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


class Bill(Base):
    """
    What an agreement owes for a period, from one reading to the next.

    The database refuses two bills of one agreement that overlap (exclusion constraint in the
    migrations). `credited_minor` is what credit notes took off; `waived_by_id` let use be billed
    that is older than the limit, for the reason in `waiver`. Units: `*_minor` in the currency's
    minor unit; the period is half-open.
    """

    __tablename__ = "bills"
    __table_args__ = (
        CheckConstraint(
            "state IN ('held', 'void') OR issued_at IS NOT NULL AND due_date IS NOT NULL",
            name="dated",
        ),
        CheckConstraint(
            "credited_minor BETWEEN 0 AND greatest(total_minor, 0)", name="credited_at_most"
        ),
        CheckConstraint("(waived_by_id IS NULL) = (waiver IS NULL)", name="waived_with_reason"),
        Index(
            "ix_bills_open", "agreement_id", "due_date", postgresql_where=text("state = 'issued'")
        ),
    )

    id: Mapped[Id]
    number: Mapped[str] = mapped_column(unique=True)
    agreement_id: Mapped[int] = mapped_column(ForeignKey("agreements.id"), index=True)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("billing_runs.id"), index=True)
    tariff_version_id: Mapped[int] = mapped_column(ForeignKey("tariff_versions.id"))
    starts_date: Mapped[date]
    ends_date: Mapped[date]
    consumption: Mapped[Decimal]
    currency: Mapped[str]
    total_minor: Mapped[int]
    state: Mapped[BillState]
    held_reason: Mapped[str | None]
    void_reason: Mapped[str | None]
    issued_at: Mapped[datetime | None]
    due_date: Mapped[date | None]
    settled_at: Mapped[datetime | None]
    credited_minor: Mapped[int] = mapped_column(server_default=text("0"))
    replaces_id: Mapped[int | None] = mapped_column(ForeignKey("bills.id"), unique=True)
    waived_by_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    waiver: Mapped[str | None]
    inputs: Mapped[dict[str, Any]]


class BillLine(Base):
    """
    One priced line for the days from `starts_date` until before `ends_date`.

    Units: `price` currency units per unit of quantity, `amount` currency units, exact.
    """

    __tablename__ = "bill_lines"

    bill_id: Mapped[int] = mapped_column(ForeignKey("bills.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    component: Mapped[str]
    starts_date: Mapped[date]
    ends_date: Mapped[date]
    tier: Mapped[int | None]
    tier_from: Mapped[Decimal | None]
    tier_to: Mapped[Decimal | None]
    register: Mapped[str | None]
    quantity: Mapped[Decimal]
    price: Mapped[Decimal]
    amount: Mapped[Decimal]


class LedgerTransaction(Base):
    """
    A set of entries whose sum is zero, by the database itself; rows are only ever added.

    `reverses_id` is what it undoes as a whole, once; `corrects_id` what it takes a part off.
    """

    __tablename__ = "ledger_transactions"

    id: Mapped[Id]
    at: Mapped[datetime]
    kind: Mapped[str]
    reference: Mapped[str] = mapped_column(unique=True)
    reverses_id: Mapped[int | None] = mapped_column(
        ForeignKey("ledger_transactions.id"), unique=True
    )
    corrects_id: Mapped[int | None] = mapped_column(
        ForeignKey("ledger_transactions.id"), index=True
    )


class LedgerEntry(Base):
    """One side of a transaction. Units: minor units, debit positive."""

    __tablename__ = "ledger_entries"
    __table_args__ = (
        CheckConstraint("amount_minor <> 0", name="not_zero"),
        CheckConstraint("(account = 'receivable') = (agreement_id IS NOT NULL)", name="receivable"),
        Index("ix_ledger_entries_agreement", "agreement_id"),
    )

    id: Mapped[Id]
    transaction_id: Mapped[int] = mapped_column(ForeignKey("ledger_transactions.id"), index=True)
    account: Mapped[LedgerAccount]
    agreement_id: Mapped[int | None] = mapped_column(ForeignKey("agreements.id"))
    currency: Mapped[str]
    amount_minor: Mapped[int]


class Payment(Base):
    """
    Money that came in for an agreement, once per provider and reference, for ever.

    `bill_id` is the bill that the payer chose, if any.
    """

    __tablename__ = "payments"
    __table_args__ = (
        UniqueConstraint("provider", "reference"),
        CheckConstraint("amount_minor > 0", name="positive"),
    )

    id: Mapped[Id]
    number: Mapped[str] = mapped_column(unique=True)
    agreement_id: Mapped[int] = mapped_column(ForeignKey("agreements.id"), index=True)
    bill_id: Mapped[int | None] = mapped_column(ForeignKey("bills.id"))
    payer_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    provider: Mapped[str]
    reference: Mapped[str]
    currency: Mapped[str]
    amount_minor: Mapped[int]
    state: Mapped[PaymentState]
    received_at: Mapped[datetime]


class Allocation(Base):
    """How much of a payment went to a bill; what is left over is credit of the agreement."""

    __tablename__ = "allocations"
    __table_args__ = (CheckConstraint("amount_minor > 0", name="positive"),)

    payment_id: Mapped[int] = mapped_column(ForeignKey("payments.id"), primary_key=True)
    bill_id: Mapped[int] = mapped_column(ForeignKey("bills.id"), primary_key=True, index=True)
    amount_minor: Mapped[int]


class DunningStep(Base):
    """
    A step of the ladder for the oldest unpaid bill; it counts from when it was delivered.

    `round` is how many payments the agreement had made: a payment makes the notice start anew,
    while the reminder (always round 0) is not repeated. `dedupe_key` names the latest try;
    `unreached_at` is when a try was first seen to have reached nobody.
    """

    __tablename__ = "dunning_steps"
    __table_args__ = (UniqueConstraint("bill_id", "kind", "round"),)

    id: Mapped[Id]
    agreement_id: Mapped[int] = mapped_column(ForeignKey("agreements.id"), index=True)
    bill_id: Mapped[int] = mapped_column(ForeignKey("bills.id"))
    kind: Mapped[StepKind]
    round: Mapped[int]
    at: Mapped[datetime]
    owed_minor: Mapped[int]
    dedupe_key: Mapped[str]
    unreached_at: Mapped[datetime | None]


class DunningLook(Base):
    """The local day on which an agreement in arrears was last looked at; once a day is enough."""

    __tablename__ = "dunning_looks"

    agreement_id: Mapped[int] = mapped_column(ForeignKey("agreements.id"), primary_key=True)
    day: Mapped[date]

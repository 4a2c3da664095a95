"""Tariffs, bills, the ledger, payments and the steps of dunning."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, Computed, ForeignKey, Index, UniqueConstraint, text
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
    """
    An unknown payment never counts as paid and never allows a cut.

    Charged back is what the payer's bank, or the desk that took it by mistake, took back again.
    """

    PENDING = "pending"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUNDED = "refunded"
    CHARGED_BACK = "charged_back"


class EventKind(StrEnum):
    """What a provider can say of a payment."""

    PENDING = "pending"
    UNKNOWN = "unknown"
    FAILED = "failed"
    SUCCEEDED = "succeeded"
    REFUNDED = "refunded"
    CHARGED_BACK = "charged_back"
    REINSTATED = "reinstated"


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


class MarketPrice(Base):
    """The price of a market from a moment until the next one, as formulas of tariffs take it."""

    __tablename__ = "market_prices"

    series: Mapped[str] = mapped_column(primary_key=True)
    starts_at: Mapped[datetime] = mapped_column(primary_key=True)
    price: Mapped[Decimal]


class Bill(Base):
    """
    What an agreement owes for a period, from one reading to the next.

    The database refuses two bills of one agreement that overlap (exclusion constraint in the
    migrations). `credited_minor` is what credit notes took off; `billable_from` the first day
    whose use could be billed when it was issued; `waived_by_id` let older use be billed, for the
    reason in `waiver`. Units: `*_minor` in the currency's
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
    billable_from: Mapped[date | None]
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

    `bill_id` is the bill that the payer chose, if any; `kept_minor` what did not go back: less
    than nothing when the bank took back what had been refunded. Of a
    payment whose fate is unknown, `verdict` is what the first of two people decided.
    """

    __tablename__ = "payments"
    __table_args__ = (
        UniqueConstraint("provider", "reference"),
        CheckConstraint("amount_minor > 0", name="positive"),
        CheckConstraint(
            "refunded_minor BETWEEN 0 AND amount_minor AND charged_back_minor >= 0",
            name="returned",
        ),
    )
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012 (SQLAlchemy declares its type)

    id: Mapped[Id]
    number: Mapped[str] = mapped_column(unique=True)
    agreement_id: Mapped[int] = mapped_column(ForeignKey("agreements.id"), index=True)
    bill_id: Mapped[int | None] = mapped_column(ForeignKey("bills.id"))
    payer_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    provider: Mapped[str]
    reference: Mapped[str]
    currency: Mapped[str]
    amount_minor: Mapped[int]
    refunded_minor: Mapped[int] = mapped_column(default=0, server_default="0")
    charged_back_minor: Mapped[int] = mapped_column(default=0, server_default="0")
    kept_minor: Mapped[int] = mapped_column(
        Computed("amount_minor - refunded_minor - charged_back_minor", persisted=True)
    )
    state: Mapped[PaymentState]
    verdict: Mapped[PaymentState | None]
    verdict_by_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    received_at: Mapped[datetime]


class ProviderEvent(Base):
    """
    What a provider said, signed by it, kept as it came and once.

    `reference` is its name of the payment, `order` the one that we gave the payer; `item` names
    one refund or dispute, and a refund without any is the sum of all so far. `problem` is why
    the payment's events could not be acted on, until somebody has noted it.
    """

    __tablename__ = "provider_events"
    __table_args__ = (
        UniqueConstraint("provider", "event_id"),
        Index(None, "provider", "reference"),
    )

    id: Mapped[Id]
    provider: Mapped[str]
    event_id: Mapped[str]
    kind: Mapped[EventKind]
    reference: Mapped[str]
    order: Mapped[str]
    item: Mapped[str]
    amount_minor: Mapped[int]
    currency: Mapped[str]
    at: Mapped[datetime]
    body: Mapped[str]
    received_at: Mapped[datetime]
    problem: Mapped[str | None]
    noted_by_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))


class SuspenseItem(Base):
    """
    Money that came in and cannot be placed: it waits, with the reason, for a person.

    `left_minor` is what still waits; `payments` and `returns` count what became of the rest.
    """

    __tablename__ = "suspense_items"
    __table_args__ = (
        UniqueConstraint("provider", "reference"),
        CheckConstraint("left_minor BETWEEN 0 AND amount_minor", name="left"),
        Index("ix_suspense_items_waiting", "received_at", postgresql_where=text("left_minor > 0")),
    )

    id: Mapped[Id]
    provider: Mapped[str]
    reference: Mapped[str]
    amount_minor: Mapped[int]
    left_minor: Mapped[int]
    returned_minor: Mapped[int] = mapped_column(default=0, server_default="0")
    currency: Mapped[str]
    payer: Mapped[str]
    words: Mapped[str]
    reason: Mapped[str]
    received_at: Mapped[datetime]
    at: Mapped[datetime]
    payments: Mapped[int] = mapped_column(default=0, server_default="0")
    returns: Mapped[int] = mapped_column(default=0, server_default="0")


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

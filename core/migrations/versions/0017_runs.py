"""Runs that are approved before anything is issued, and the chunks in which it is."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "billing_chunks",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("nr", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_id", sa.BigInteger(), nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("agreements", sa.BigInteger(), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("issued", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("held", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("skipped", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["shuidian.billing_runs.id"], name=op.f("fk_billing_chunks_run_id")
        ),
        sa.PrimaryKeyConstraint("run_id", "nr", name=op.f("pk_billing_chunks")),
        schema="shuidian",
    )
    op.add_column(
        "billing_runs",
        sa.Column("proposal", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        schema="shuidian",
    )
    op.add_column(
        "billing_runs",
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        schema="shuidian",
    )
    op.add_column(
        "billing_runs",
        sa.Column("approved_by_id", sa.BigInteger(), nullable=True),
        schema="shuidian",
    )
    op.add_column(
        "billing_runs",
        sa.Column("reach", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        schema="shuidian",
    )
    op.create_foreign_key(
        op.f("fk_billing_runs_approved_by_id"),
        "billing_runs",
        "people",
        ["approved_by_id"],
        ["id"],
        source_schema="shuidian",
        referent_schema="shuidian",
    )
    op.create_index(
        op.f("ix_billing_skips_agreement_id"),
        "billing_skips",
        ["agreement_id"],
        unique=False,
        schema="shuidian",
    )
    op.add_column(
        "operator",
        sa.Column("approves_bills", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        schema="shuidian",
    )
    # What was billed before was started by whoever might, and told to nobody.
    op.execute(
        "UPDATE shuidian.billing_runs SET approved_at = started_at, reach = '{}'"
        " WHERE finished_at IS NOT NULL"
    )

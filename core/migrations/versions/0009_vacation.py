"""Watches for people who are away."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "vacations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("meter_id", sa.BigInteger(), nullable=False),
        sa.Column("person_id", sa.BigInteger(), nullable=False),
        sa.Column("begins_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until_date", sa.Date(), nullable=False),
        sa.Column("told_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["meter_id"], ["shuidian.meters.id"], name=op.f("fk_vacations_meter_id")
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["shuidian.people.id"], name=op.f("fk_vacations_person_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vacations")),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_vacations_person_id"), "vacations", ["person_id"], schema="shuidian"
    )
    op.create_index(
        "uq_vacations_open",
        "vacations",
        ["meter_id", "person_id"],
        unique=True,
        schema="shuidian",
        postgresql_where=sa.text("ended_at IS NULL"),
    )

"""Incidents: one repair for many homes of an area."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

OPEN = "state NOT IN ('closed', 'cancelled', 'merged')"


def upgrade() -> None:
    op.create_table(
        "repair_followers",
        sa.Column("repair_id", sa.BigInteger(), nullable=False),
        sa.Column("service_point_id", sa.BigInteger(), nullable=False),
        sa.Column("alarm_id", sa.BigInteger(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["alarm_id"], ["shuidian.alarms.id"], name=op.f("fk_repair_followers_alarm_id")
        ),
        sa.ForeignKeyConstraint(
            ["repair_id"], ["shuidian.repairs.id"], name=op.f("fk_repair_followers_repair_id")
        ),
        sa.ForeignKeyConstraint(
            ["service_point_id"],
            ["shuidian.service_points.id"],
            name=op.f("fk_repair_followers_service_point_id"),
        ),
        sa.PrimaryKeyConstraint("repair_id", "service_point_id", name=op.f("pk_repair_followers")),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_repair_followers_alarm_id"),
        "repair_followers",
        ["alarm_id"],
        unique=False,
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_repair_followers_service_point_id"),
        "repair_followers",
        ["service_point_id"],
        unique=False,
        schema="shuidian",
    )
    op.add_column(
        "repairs", sa.Column("area_id", sa.BigInteger(), nullable=True), schema="shuidian"
    )
    op.add_column(
        "repairs", sa.Column("merged_into_id", sa.BigInteger(), nullable=True), schema="shuidian"
    )
    op.create_index(
        op.f("ix_repairs_merged_into_id"),
        "repairs",
        ["merged_into_id"],
        unique=False,
        schema="shuidian",
    )
    op.create_index(
        "uq_repairs_open_incident",
        "repairs",
        ["area_id", "cause"],
        unique=True,
        schema="shuidian",
        postgresql_where=sa.text(f"area_id IS NOT NULL AND {OPEN}"),
    )
    op.create_foreign_key(
        op.f("fk_repairs_area_id"),
        "repairs",
        "areas",
        ["area_id"],
        ["id"],
        source_schema="shuidian",
        referent_schema="shuidian",
    )
    op.create_foreign_key(
        op.f("fk_repairs_merged_into_id"),
        "repairs",
        "repairs",
        ["merged_into_id"],
        ["id"],
        source_schema="shuidian",
        referent_schema="shuidian",
    )
    # A merged repair is no longer open, and an incident leaves its first home's place free.
    op.drop_index("ix_repairs_open", "repairs", schema="shuidian")
    op.create_index(
        "ix_repairs_open", "repairs", ["id"], schema="shuidian", postgresql_where=sa.text(OPEN)
    )
    op.drop_index("uq_repairs_open_cause", "repairs", schema="shuidian")
    op.create_index(
        "uq_repairs_open_cause",
        "repairs",
        ["service_point_id", "cause"],
        unique=True,
        schema="shuidian",
        postgresql_where=sa.text(f"area_id IS NULL AND {OPEN}"),
    )

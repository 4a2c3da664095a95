"""Days for reading the meters, photos of dials, doubted readings, registers that stand still."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

DAYS = (
    "1 <= reading_first_day AND reading_first_day <= reading_last_day AND reading_last_day <= 28"
)


def upgrade() -> None:
    op.create_table(
        "reading_photos",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("meter_id", sa.BigInteger(), nullable=False),
        sa.Column("register", sa.Text(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("channel_ref", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["meter_id"], ["shuidian.meters.id"], name=op.f("fk_reading_photos_meter_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reading_photos")),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_reading_photos_meter_id_register_taken_at"),
        "reading_photos",
        ["meter_id", "register", "taken_at"],
        unique=False,
        schema="shuidian",
    )
    op.create_table(
        "standstills",
        sa.Column("meter_id", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("value", sa.Numeric(), nullable=False),
        sa.Column("usual", sa.Numeric(), nullable=False),
        sa.ForeignKeyConstraint(
            ["meter_id"], ["shuidian.meters.id"], name=op.f("fk_standstills_meter_id")
        ),
        sa.PrimaryKeyConstraint("meter_id", name=op.f("pk_standstills")),
        schema="shuidian",
    )
    op.add_column(
        "meters", sa.Column("master_of_id", sa.BigInteger(), nullable=True), schema="shuidian"
    )
    op.create_foreign_key(
        op.f("fk_meters_master_of_id"),
        "meters",
        "areas",
        ["master_of_id"],
        ["id"],
        source_schema="shuidian",
        referent_schema="shuidian",
    )
    op.create_index(
        op.f("ix_meters_master_of_id"),
        "meters",
        ["master_of_id"],
        unique=False,
        schema="shuidian",
    )
    op.add_column(
        "meters",
        sa.Column("loss_limit", sa.Numeric(), server_default=sa.text("0.1"), nullable=False),
        schema="shuidian",
    )
    for name, day in (("reading_first_day", "25"), ("reading_last_day", "28")):
        op.add_column(
            "operator",
            sa.Column(name, sa.BigInteger(), server_default=sa.text(day), nullable=False),
            schema="shuidian",
        )
    op.create_check_constraint(
        op.f("ck_operator_reading_days"), "operator", DAYS, schema="shuidian"
    )
    op.drop_index("ix_readings_waiting", "readings", schema="shuidian")
    op.create_index(
        "ix_readings_waiting",
        "readings",
        ["meter_id"],
        unique=False,
        schema="shuidian",
        postgresql_where=sa.text("status IN ('held', 'disputed', 'doubted')"),
    )

"""A gateway's profile, and what it calls a meter."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("profile", sa.Text(), nullable=True), schema="shuidian")
    op.create_index(
        "uq_api_keys_working_profile",
        "api_keys",
        ["profile"],
        unique=True,
        schema="shuidian",
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    op.add_column("meters", sa.Column("device", sa.Text(), nullable=True), schema="shuidian")
    op.create_index(
        "uq_meters_working_device",
        "meters",
        ["gateway_id", "device"],
        unique=True,
        schema="shuidian",
        postgresql_where=sa.text("removed_at IS NULL"),
    )

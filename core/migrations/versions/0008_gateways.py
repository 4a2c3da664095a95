"""Where a gateway's topics begin, and which of their messages were taken last."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "api_keys",
        sa.Column("below", sa.Text(), server_default=sa.text("''"), nullable=False),
        schema="shuidian",
    )
    op.drop_index("uq_api_keys_working_profile", "api_keys", schema="shuidian")
    op.create_index(
        "uq_api_keys_working_profile",
        "api_keys",
        ["profile", "below"],
        unique=True,
        schema="shuidian",
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    op.create_table(
        "mqtt_taken",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("marks", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_mqtt_taken")),
        schema="shuidian",
    )

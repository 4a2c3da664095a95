"""The decisions on readings can be listed without reading all that anybody ever did."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_audit_entries_readings",
        "audit_entries",
        ["at"],
        schema="shuidian",
        postgresql_where=sa.text("action IN ('reading.accept', 'reading.correct')"),
    )

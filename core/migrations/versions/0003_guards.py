"""The rules that the database itself keeps: balance, append-only history, no overlap of bills."""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

GUARDS = Path(__file__).parent.parent / "guards.sql"


def upgrade() -> None:
    raw = op.get_bind().connection.driver_connection
    assert raw is not None
    raw.execute(GUARDS.read_text(encoding="utf-8"))

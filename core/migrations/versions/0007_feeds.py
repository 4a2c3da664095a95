"""What gateways' meters are remembered by, and the triggers that make it forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

FORGET = """
CREATE FUNCTION shuidian.forget_feeds() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO shuidian.feeds (id, version) VALUES (0, gen_random_uuid())
    ON CONFLICT (id) DO UPDATE SET version = excluded.version;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "feeds",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feeds")),
        schema="shuidian",
    )
    op.execute(FORGET)
    for table in ("areas", "service_points", "meters", "limits"):
        op.execute(
            f"CREATE TRIGGER forget_feeds AFTER INSERT OR UPDATE OR DELETE ON shuidian.{table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION shuidian.forget_feeds()"
        )

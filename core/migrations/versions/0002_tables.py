"""All tables of the first release."""

from alembic import context, op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SCHEMA shuidian")
    context.config.attributes["metadata"].create_all(op.get_bind())

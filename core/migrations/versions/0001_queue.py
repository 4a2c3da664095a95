"""The job queue's own tables, as procrastinate 3.10 makes them.

The version is pinned; a newer one comes with a revision that runs its migration files.
"""

from alembic import op
from procrastinate.schema import SchemaManager

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The schema holds percent signs, which only the driver's own cursor takes as they are.
    raw = op.get_bind().connection.driver_connection
    assert raw is not None
    raw.execute(SchemaManager.get_schema())

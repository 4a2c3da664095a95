"""Messages below which a button was pressed are known as seen."""

import sqlalchemy as sa
from alembic import op

revision = '0018'
down_revision = '0017'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('deliveries', sa.Column('seen_at', sa.DateTime(timezone=True), nullable=True), schema='shuidian')


def downgrade() -> None:
    op.drop_column("deliveries", "seen_at", schema="shuidian")

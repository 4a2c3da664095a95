"""How far the clocks of gateways run ahead."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('gateway_days', sa.Column('ahead_seconds', sa.BigInteger(), server_default='0', nullable=False), schema='shuidian')

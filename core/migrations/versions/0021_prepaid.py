"""Prepaid agreements: how their balance stood, at what people are told, when they may be cut."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('prepaid_watches',
    sa.Column('agreement_id', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('steps', sa.ARRAY(sa.BigInteger()), nullable=True),
    sa.Column('balance_minor', sa.BigInteger(), nullable=True),
    sa.Column('looked_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('told', sa.BigInteger(), server_default=sa.text('0'), nullable=False),
    sa.Column('used_up_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['agreement_id'], ['shuidian.agreements.id'], name=op.f('fk_prepaid_watches_agreement_id')),
    sa.PrimaryKeyConstraint('agreement_id', name=op.f('pk_prepaid_watches')),
    schema='shuidian'
    )
    op.create_index(op.f('ix_prepaid_watches_looked_at'), 'prepaid_watches', ['looked_at'], unique=False, schema='shuidian')
    op.create_index(op.f('ix_prepaid_watches_used_up_at'), 'prepaid_watches', ['used_up_at'], unique=False, schema='shuidian')
    op.add_column('agreements', sa.Column('is_prepaid', sa.Boolean(), server_default=sa.text('false'), nullable=False), schema='shuidian')
    op.add_column('operator', sa.Column('prepaid_steps', sa.ARRAY(sa.BigInteger()), server_default=sa.text("'{20000,12000,10000,5000,3000,1000}'"), nullable=False), schema='shuidian')
    op.add_column('operator', sa.Column('emergency_minor', sa.BigInteger(), server_default=sa.text('2000'), nullable=False), schema='shuidian')
    op.add_column('operator', sa.Column('prepaid_cut_from', sa.BigInteger(), server_default=sa.text('9'), nullable=False), schema='shuidian')
    op.add_column('operator', sa.Column('prepaid_cut_until', sa.BigInteger(), server_default=sa.text('14'), nullable=False), schema='shuidian')
    op.create_check_constraint(
        op.f("ck_operator_prepaid"),
        "operator",
        "emergency_minor >= 0 AND 0 <= prepaid_cut_from"
        " AND prepaid_cut_from < prepaid_cut_until AND prepaid_cut_until <= 23",
        schema="shuidian",
    )

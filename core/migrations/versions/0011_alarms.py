"""Silence of meters and gateways, urgency, and cuts that protect a home."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('gateway_silences',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('gateway_id', sa.BigInteger(), nullable=True),
    sa.Column('meters', sa.BigInteger(), nullable=False),
    sa.Column('silent', sa.BigInteger(), nullable=False),
    sa.Column('began_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('found_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('told_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('taken_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('taken_by_id', sa.BigInteger(), nullable=True),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['gateway_id'], ['shuidian.api_keys.id'], name=op.f('fk_gateway_silences_gateway_id')),
    sa.ForeignKeyConstraint(['taken_by_id'], ['shuidian.people.id'], name=op.f('fk_gateway_silences_taken_by_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_gateway_silences')),
    schema='shuidian'
    )
    op.create_index('uq_gateway_silences_open', 'gateway_silences', ['gateway_id'], unique=True, schema='shuidian', postgresql_where=sa.text('ended_at IS NULL'))
    op.create_table('gateway_watches',
    sa.Column('gateway_id', sa.BigInteger(), nullable=False),
    sa.Column('looked_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('since', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['gateway_id'], ['shuidian.api_keys.id'], name=op.f('fk_gateway_watches_gateway_id')),
    sa.PrimaryKeyConstraint('gateway_id', name=op.f('pk_gateway_watches')),
    schema='shuidian'
    )
    op.create_table('hearings',
    sa.Column('meter_id', sa.BigInteger(), nullable=False),
    sa.Column('looked_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('newest_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('heard_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('known_since', sa.DateTime(timezone=True), nullable=True),
    sa.Column('usual_seconds', sa.BigInteger(), nullable=False),
    sa.Column('allowed_seconds', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['meter_id'], ['shuidian.meters.id'], name=op.f('fk_hearings_meter_id')),
    sa.PrimaryKeyConstraint('meter_id', name=op.f('pk_hearings')),
    schema='shuidian'
    )
    op.add_column('repairs', sa.Column('severity', sa.BigInteger(), server_default=sa.text('0'), nullable=False), schema='shuidian')
    op.add_column('repairs', sa.Column('severity_told', sa.BigInteger(), server_default=sa.text('0'), nullable=False), schema='shuidian')

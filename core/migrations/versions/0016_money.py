"""Refunds and charge-backs, what providers say, and money in suspense."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('suspense_items',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('provider', sa.Text(), nullable=False),
    sa.Column('reference', sa.Text(), nullable=False),
    sa.Column('amount_minor', sa.BigInteger(), nullable=False),
    sa.Column('left_minor', sa.BigInteger(), nullable=False),
    sa.Column('returned_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('currency', sa.Text(), nullable=False),
    sa.Column('payer', sa.Text(), nullable=False),
    sa.Column('words', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('received_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('payments', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('returns', sa.BigInteger(), server_default='0', nullable=False),
    sa.CheckConstraint('left_minor BETWEEN 0 AND amount_minor', name=op.f('ck_suspense_items_left')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_suspense_items')),
    sa.UniqueConstraint('provider', 'reference', name=op.f('uq_suspense_items_provider_reference')),
    schema='shuidian'
    )
    op.create_index('ix_suspense_items_waiting', 'suspense_items', ['received_at'], unique=False, schema='shuidian', postgresql_where=sa.text('left_minor > 0'))
    op.create_table('provider_events',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('provider', sa.Text(), nullable=False),
    sa.Column('event_id', sa.Text(), nullable=False),
    sa.Column('kind', sa.Enum('pending', 'unknown', 'failed', 'succeeded', 'refunded', 'charged_back', 'reinstated', name='eventkind', native_enum=False, length=32), nullable=False),
    sa.Column('reference', sa.Text(), nullable=False),
    sa.Column('order', sa.Text(), nullable=False),
    sa.Column('item', sa.Text(), nullable=False),
    sa.Column('amount_minor', sa.BigInteger(), nullable=False),
    sa.Column('currency', sa.Text(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.Column('received_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('problem', sa.Text(), nullable=True),
    sa.Column('noted_by_id', sa.BigInteger(), nullable=True),
    sa.ForeignKeyConstraint(['noted_by_id'], ['shuidian.people.id'], name=op.f('fk_provider_events_noted_by_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_provider_events')),
    sa.UniqueConstraint('provider', 'event_id', name=op.f('uq_provider_events_provider_event_id')),
    schema='shuidian'
    )
    op.create_index(op.f('ix_provider_events_provider_reference'), 'provider_events', ['provider', 'reference'], unique=False, schema='shuidian')
    op.add_column('payments', sa.Column('refunded_minor', sa.BigInteger(), server_default='0', nullable=False), schema='shuidian')
    op.add_column('payments', sa.Column('charged_back_minor', sa.BigInteger(), server_default='0', nullable=False), schema='shuidian')
    op.add_column('payments', sa.Column('kept_minor', sa.BigInteger(), sa.Computed('amount_minor - refunded_minor - charged_back_minor', persisted=True), nullable=False), schema='shuidian')
    op.add_column('payments', sa.Column('verdict', sa.Enum('pending', 'unknown', 'succeeded', 'failed', 'refunded', 'charged_back', name='paymentstate', native_enum=False, length=32), nullable=True), schema='shuidian')
    op.add_column('payments', sa.Column('verdict_by_id', sa.BigInteger(), nullable=True), schema='shuidian')
    op.create_foreign_key(op.f('fk_payments_verdict_by_id'), 'payments', 'people', ['verdict_by_id'], ['id'], source_schema='shuidian', referent_schema='shuidian')
    op.create_check_constraint(op.f('ck_payments_returned'), 'payments', 'refunded_minor >= 0 AND charged_back_minor >= 0 AND refunded_minor + charged_back_minor <= amount_minor', schema='shuidian')
    op.execute(
        "CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON shuidian.provider_events"
        " FOR EACH STATEMENT EXECUTE FUNCTION shuidian.refuse_rewriting()"
    )

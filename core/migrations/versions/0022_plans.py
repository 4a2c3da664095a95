"""Plans to pay a debt in parts, and what the operator allows of them."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('payment_plans',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('number', sa.Text(), nullable=False),
    sa.Column('agreement_id', sa.BigInteger(), nullable=False),
    sa.Column('currency', sa.Text(), nullable=False),
    sa.Column('debt_minor', sa.BigInteger(), nullable=False),
    sa.Column('person_id', sa.BigInteger(), nullable=False),
    sa.Column('state', sa.Enum('asked', 'offered', 'agreed', 'declined', 'withdrawn', 'kept', 'broken', 'ended', name='planstate', native_enum=False, length=32), nullable=False),
    sa.Column('opened_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('paused_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('agreed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('decided_by_id', sa.BigInteger(), nullable=True),
    sa.Column('reason', sa.Text(), nullable=True),
    sa.Column('looked_on', sa.Date(), nullable=False),
    sa.Column('short_since', sa.Date(), nullable=True),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("(state = 'declined') = (reason IS NOT NULL)", name=op.f('ck_payment_plans_reasoned')),
    sa.CheckConstraint("(state IN ('asked', 'offered', 'agreed')) = (ended_at IS NULL)", name=op.f('ck_payment_plans_ended')),
    sa.CheckConstraint("state NOT IN ('agreed', 'kept', 'broken') OR agreed_at IS NOT NULL", name=op.f('ck_payment_plans_agreed')),
    sa.ForeignKeyConstraint(['agreement_id'], ['shuidian.agreements.id'], name=op.f('fk_payment_plans_agreement_id')),
    sa.ForeignKeyConstraint(['decided_by_id'], ['shuidian.people.id'], name=op.f('fk_payment_plans_decided_by_id')),
    sa.ForeignKeyConstraint(['person_id'], ['shuidian.people.id'], name=op.f('fk_payment_plans_person_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_payment_plans')),
    sa.UniqueConstraint('number', name=op.f('uq_payment_plans_number')),
    schema='shuidian'
    )
    op.create_index('ix_payment_plans_agreement_id', 'payment_plans', ['agreement_id'], unique=False, schema='shuidian')
    op.create_index('uq_payment_plans_active', 'payment_plans', ['agreement_id'], unique=True, schema='shuidian', postgresql_where=sa.text("state IN ('asked', 'offered', 'agreed')"))
    op.create_table('plan_bills',
    sa.Column('plan_id', sa.BigInteger(), nullable=False),
    sa.Column('bill_id', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['bill_id'], ['shuidian.bills.id'], name=op.f('fk_plan_bills_bill_id')),
    sa.ForeignKeyConstraint(['plan_id'], ['shuidian.payment_plans.id'], name=op.f('fk_plan_bills_plan_id')),
    sa.PrimaryKeyConstraint('plan_id', 'bill_id', name=op.f('pk_plan_bills')),
    schema='shuidian'
    )
    op.create_index(op.f('ix_plan_bills_bill_id'), 'plan_bills', ['bill_id'], unique=False, schema='shuidian')
    op.create_table('plan_parts',
    sa.Column('plan_id', sa.BigInteger(), nullable=False),
    sa.Column('position', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('due_date', sa.Date(), nullable=False),
    sa.Column('amount_minor', sa.BigInteger(), nullable=False),
    sa.CheckConstraint('amount_minor > 0', name=op.f('ck_plan_parts_positive')),
    sa.ForeignKeyConstraint(['plan_id'], ['shuidian.payment_plans.id'], name=op.f('fk_plan_parts_plan_id')),
    sa.PrimaryKeyConstraint('plan_id', 'position', name=op.f('pk_plan_parts')),
    schema='shuidian'
    )
    op.add_column('operator', sa.Column('plan_parts_max', sa.BigInteger(), server_default=sa.text('6'), nullable=False), schema='shuidian')
    op.add_column('operator', sa.Column('plan_part_minor_min', sa.BigInteger(), server_default=sa.text('1000'), nullable=False), schema='shuidian')
    op.add_column('operator', sa.Column('plan_days', sa.BigInteger(), server_default=sa.text('30'), nullable=False), schema='shuidian')
    op.add_column('operator', sa.Column('plan_grace_days', sa.BigInteger(), server_default=sa.text('3'), nullable=False), schema='shuidian')

"""Credit notes, bills made again, objections, and the limit of back-billing."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('credit_notes',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('number', sa.Text(), nullable=False),
    sa.Column('bill_id', sa.BigInteger(), nullable=False),
    sa.Column('kind', sa.Enum('correction', 'old_use', name='creditkind', native_enum=False, length=32), nullable=False),
    sa.Column('currency', sa.Text(), nullable=False),
    sa.Column('amount_minor', sa.BigInteger(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('actor_id', sa.BigInteger(), nullable=True),
    sa.CheckConstraint('amount_minor > 0', name=op.f('ck_credit_notes_positive')),
    sa.ForeignKeyConstraint(['actor_id'], ['shuidian.people.id'], name=op.f('fk_credit_notes_actor_id')),
    sa.ForeignKeyConstraint(['bill_id'], ['shuidian.bills.id'], name=op.f('fk_credit_notes_bill_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_credit_notes')),
    sa.UniqueConstraint('number', name=op.f('uq_credit_notes_number')),
    schema='shuidian'
    )
    op.create_index(op.f('ix_credit_notes_bill_id'), 'credit_notes', ['bill_id'], unique=False, schema='shuidian')
    op.create_table('disputes',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('number', sa.Text(), nullable=False),
    sa.Column('agreement_id', sa.BigInteger(), nullable=False),
    sa.Column('bill_id', sa.BigInteger(), nullable=True),
    sa.Column('meter_id', sa.BigInteger(), nullable=True),
    sa.Column('register', sa.Text(), nullable=True),
    sa.Column('taken_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('value', sa.Numeric(), nullable=True),
    sa.Column('ground', sa.Enum('reading', 'too_much', 'tariff', 'paid', 'not_mine', 'other', name='ground', native_enum=False, length=32), nullable=False),
    sa.Column('words', sa.Text(), nullable=False),
    sa.Column('person_id', sa.BigInteger(), nullable=False),
    sa.Column('opened_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('responsible_id', sa.BigInteger(), nullable=True),
    sa.Column('promised_date', sa.Date(), nullable=False),
    sa.Column('promise_moves', sa.BigInteger(), server_default=sa.text('0'), nullable=False),
    sa.Column('delay', sa.Text(), nullable=True),
    sa.Column('told_late_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('state', sa.Enum('open', 'upheld', 'declined', 'withdrawn', name='disputestate', native_enum=False, length=32), nullable=False),
    sa.Column('answer', sa.Text(), nullable=True),
    sa.Column('answered_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('answered_by_id', sa.BigInteger(), nullable=True),
    sa.CheckConstraint("(state = 'open') = (answered_at IS NULL) AND answered_at >= opened_at", name=op.f('ck_disputes_answered')),
    sa.CheckConstraint('(bill_id IS NULL) = (taken_at IS NOT NULL)', name=op.f('ck_disputes_one_subject')),
    sa.ForeignKeyConstraint(['agreement_id'], ['shuidian.agreements.id'], name=op.f('fk_disputes_agreement_id')),
    sa.ForeignKeyConstraint(['answered_by_id'], ['shuidian.people.id'], name=op.f('fk_disputes_answered_by_id')),
    sa.ForeignKeyConstraint(['bill_id'], ['shuidian.bills.id'], name=op.f('fk_disputes_bill_id')),
    sa.ForeignKeyConstraint(['meter_id'], ['shuidian.meters.id'], name=op.f('fk_disputes_meter_id')),
    sa.ForeignKeyConstraint(['person_id'], ['shuidian.people.id'], name=op.f('fk_disputes_person_id')),
    sa.ForeignKeyConstraint(['responsible_id'], ['shuidian.people.id'], name=op.f('fk_disputes_responsible_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_disputes')),
    sa.UniqueConstraint('number', name=op.f('uq_disputes_number')),
    schema='shuidian'
    )
    op.create_index(op.f('ix_disputes_agreement_id'), 'disputes', ['agreement_id'], unique=False, schema='shuidian')
    op.create_index('ix_disputes_bill_id', 'disputes', ['bill_id'], unique=False, schema='shuidian')
    op.create_index(op.f('ix_disputes_person_id'), 'disputes', ['person_id'], unique=False, schema='shuidian')
    op.create_index('uq_disputes_open_bill', 'disputes', ['bill_id'], unique=True, schema='shuidian', postgresql_where=sa.text("state = 'open'"))
    op.create_index('uq_disputes_open_reading', 'disputes', ['meter_id', 'register', 'taken_at'], unique=True, schema='shuidian', postgresql_where=sa.text("state = 'open'"))
    op.add_column('billing_runs', sa.Column('class_p99', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False), schema='shuidian')
    op.add_column('bills', sa.Column('credited_minor', sa.BigInteger(), server_default=sa.text('0'), nullable=False), schema='shuidian')
    op.add_column('bills', sa.Column('replaces_id', sa.BigInteger(), nullable=True), schema='shuidian')
    op.add_column('bills', sa.Column('waived_by_id', sa.BigInteger(), nullable=True), schema='shuidian')
    op.add_column('bills', sa.Column('waiver', sa.Text(), nullable=True), schema='shuidian')
    op.create_unique_constraint(op.f('uq_bills_replaces_id'), 'bills', ['replaces_id'], schema='shuidian')
    op.create_foreign_key(op.f('fk_bills_replaces_id'), 'bills', 'bills', ['replaces_id'], ['id'], source_schema='shuidian', referent_schema='shuidian')
    op.create_foreign_key(op.f('fk_bills_waived_by_id'), 'bills', 'people', ['waived_by_id'], ['id'], source_schema='shuidian', referent_schema='shuidian')
    op.add_column('ledger_transactions', sa.Column('corrects_id', sa.BigInteger(), nullable=True), schema='shuidian')
    op.create_index(op.f('ix_ledger_transactions_corrects_id'), 'ledger_transactions', ['corrects_id'], unique=False, schema='shuidian')
    op.create_foreign_key(op.f('fk_ledger_transactions_corrects_id'), 'ledger_transactions', 'ledger_transactions', ['corrects_id'], ['id'], source_schema='shuidian', referent_schema='shuidian')
    op.add_column('operator', sa.Column('back_billing_days', sa.BigInteger(), server_default=sa.text('365'), nullable=False), schema='shuidian')
    op.add_column('operator', sa.Column('dispute_days', sa.BigInteger(), server_default=sa.text('7'), nullable=False), schema='shuidian')
    op.create_check_constraint(
        "credited_at_most",
        "bills",
        "credited_minor BETWEEN 0 AND greatest(total_minor, 0)",
        schema="shuidian",
    )
    op.create_check_constraint(
        "waived_with_reason", "bills", "(waived_by_id IS NULL) = (waiver IS NULL)", schema="shuidian"
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON shuidian.credit_notes"
        " FOR EACH STATEMENT EXECUTE FUNCTION shuidian.refuse_rewriting()"
    )

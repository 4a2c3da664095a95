"""What a bank took back after a refund, the limit of old use at issue, when reach was counted."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_constraint(op.f("ck_payments_returned"), "payments", schema="shuidian")
    op.create_check_constraint(
        op.f("ck_payments_returned"),
        "payments",
        "refunded_minor BETWEEN 0 AND amount_minor AND charged_back_minor >= 0",
        schema="shuidian",
    )
    op.add_column(
        "bills", sa.Column("billable_from", sa.Date(), nullable=True), schema="shuidian"
    )
    op.execute(
        "UPDATE shuidian.bills b SET billable_from = CAST(issued_at AT TIME ZONE o.timezone AS date)"
        " - CAST(o.back_billing_days AS int) FROM shuidian.operator o WHERE issued_at IS NOT NULL"
    )
    op.add_column(
        "billing_runs",
        sa.Column("reached_at", sa.DateTime(timezone=True), nullable=True),
        schema="shuidian",
    )
    op.execute(
        "UPDATE shuidian.billing_runs SET reached_at = finished_at WHERE reach IS NOT NULL"
    )

"""All tables of the first release."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SCHEMA shuidian")
    op.create_table(
        "api_keys",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("name", name=op.f("uq_api_keys_name")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_keys_token_hash")),
        schema="shuidian",
    )
    op.create_table(
        "areas",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "kind",
            sa.Enum(
                "district",
                "street",
                "building",
                "riser",
                "feeder",
                name="areakind",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["shuidian.areas.id"], name=op.f("fk_areas_parent_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_areas")),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_areas_parent_id"), "areas", ["parent_id"], unique=False, schema="shuidian"
    )
    op.create_index(
        op.f("ix_areas_path"),
        "areas",
        ["path"],
        unique=False,
        schema="shuidian",
        postgresql_ops={"path": "text_pattern_ops"},
    )
    op.create_table(
        "billing_runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "service",
            sa.Enum("water", "electricity", name="service", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("starts_date", sa.Date(), nullable=False),
        sa.Column("ends_date", sa.Date(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_billing_runs")),
        sa.UniqueConstraint(
            "service",
            "starts_date",
            "ends_date",
            name=op.f("uq_billing_runs_service_starts_date_ends_date"),
        ),
        schema="shuidian",
    )
    op.create_table(
        "demo_access",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_demo_access")),
        schema="shuidian",
    )
    op.create_table(
        "demo_clock",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("shown_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rate", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_demo_clock_only_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_demo_clock")),
        schema="shuidian",
    )
    op.create_table(
        "inbox",
        sa.Column("update_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("chat", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("parked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tries", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("update_id", name=op.f("pk_inbox")),
        schema="shuidian",
    )
    op.create_index(
        "ix_inbox_waiting",
        "inbox",
        ["chat", "update_id"],
        unique=False,
        schema="shuidian",
        postgresql_where=sa.text("handled_at IS NULL AND parked_at IS NULL"),
    )
    op.create_table(
        "job_runs",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("job", "day", name=op.f("pk_job_runs")),
        schema="shuidian",
    )
    op.create_table(
        "ledger_transactions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("reverses_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["reverses_id"],
            ["shuidian.ledger_transactions.id"],
            name=op.f("fk_ledger_transactions_reverses_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_transactions")),
        sa.UniqueConstraint("reference", name=op.f("uq_ledger_transactions_reference")),
        sa.UniqueConstraint("reverses_id", name=op.f("uq_ledger_transactions_reverses_id")),
        schema="shuidian",
    )
    op.create_table(
        "operator",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("hotline", sa.Text(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_operator_only_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operator")),
        schema="shuidian",
    )
    op.create_table(
        "people",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
        sa.UniqueConstraint("phone", name=op.f("uq_people_phone")),
        schema="shuidian",
    )
    op.create_table(
        "readings",
        sa.Column("meter_id", sa.BigInteger(), nullable=False),
        sa.Column("register", sa.Text(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("value", sa.Numeric(), nullable=False),
        sa.Column(
            "source",
            sa.Enum(
                "gateway",
                "customer",
                "technician",
                "staff",
                "estimate",
                name="source",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "status",
            sa.Enum(
                "accepted", "held", "rejected", name="readingstatus", native_enum=False, length=32
            ),
            nullable=False,
        ),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("meter_id", "register", "taken_at", name=op.f("pk_readings")),
        schema="shuidian",
        postgresql_partition_by="RANGE (taken_at)",
    )
    op.create_table(
        "samples",
        sa.Column("meter_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "quantity",
            sa.Enum("pressure", "voltage", name="quantity", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("value", sa.Numeric(), nullable=False),
        sa.PrimaryKeyConstraint("meter_id", "quantity", "taken_at", name=op.f("pk_samples")),
        schema="shuidian",
        postgresql_partition_by="RANGE (taken_at)",
    )
    op.create_table(
        "series",
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("latest", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("prefix", name=op.f("pk_series")),
        schema="shuidian",
    )
    op.create_table(
        "tariff_versions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column(
            "service",
            sa.Enum("water", "electricity", name="service", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tariff_versions")),
        sa.UniqueConstraint("code", "valid_from", name=op.f("uq_tariff_versions_code_valid_from")),
        schema="shuidian",
    )
    op.create_table(
        "audit_entries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_id", sa.BigInteger(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["actor_id"], ["shuidian.people.id"], name=op.f("fk_audit_entries_actor_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_audit_entries_subject_id"),
        "audit_entries",
        ["subject", "id"],
        unique=False,
        schema="shuidian",
    )
    op.create_table(
        "contacts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("person_id", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("unreachable_since", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["person_id"], ["shuidian.people.id"], name=op.f("fk_contacts_person_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contacts")),
        sa.UniqueConstraint("channel", "address", name=op.f("uq_contacts_channel_address")),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_contacts_person_id"), "contacts", ["person_id"], unique=False, schema="shuidian"
    )
    op.create_table(
        "kept_answers",
        sa.Column("caller_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("answer", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["caller_id"], ["shuidian.api_keys.id"], name=op.f("fk_kept_answers_caller_id")
        ),
        sa.PrimaryKeyConstraint("caller_id", "key", name=op.f("pk_kept_answers")),
        schema="shuidian",
    )
    op.create_table(
        "office_sessions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("person_id", sa.BigInteger(), nullable=False),
        sa.Column("link_hash", sa.Text(), nullable=False),
        sa.Column("link_expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["person_id"], ["shuidian.people.id"], name=op.f("fk_office_sessions_person_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_office_sessions")),
        sa.UniqueConstraint("link_hash", name=op.f("uq_office_sessions_link_hash")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_office_sessions_token_hash")),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_office_sessions_person_id"),
        "office_sessions",
        ["person_id"],
        unique=False,
        schema="shuidian",
    )
    op.create_table(
        "outages",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column(
            "service",
            sa.Enum("water", "electricity", name="service", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column(
            "kind",
            sa.Enum("planned", "emergency", name="outagekind", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column(
            "state",
            sa.Enum(
                "announced", "ended", "withdrawn", name="outagestate", native_enum=False, length=32
            ),
            nullable=False,
        ),
        sa.Column("area_id", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("announced_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("announced_by_id", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["announced_by_id"], ["shuidian.people.id"], name=op.f("fk_outages_announced_by_id")
        ),
        sa.ForeignKeyConstraint(
            ["area_id"], ["shuidian.areas.id"], name=op.f("fk_outages_area_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outages")),
        sa.UniqueConstraint("number", name=op.f("uq_outages_number")),
        schema="shuidian",
    )
    op.create_table(
        "premises",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("area_id", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("household_size", sa.BigInteger(), server_default=sa.text("3"), nullable=False),
        sa.ForeignKeyConstraint(
            ["area_id"], ["shuidian.areas.id"], name=op.f("fk_premises_area_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_premises")),
        sa.UniqueConstraint("address", name=op.f("uq_premises_address")),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_premises_area_id"), "premises", ["area_id"], unique=False, schema="shuidian"
    )
    op.create_table(
        "push_schedules",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("texts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("area_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "service",
            sa.Enum("water", "electricity", name="service", native_enum=False, length=32),
            nullable=True,
        ),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "repeat",
            sa.Enum(
                "once", "daily", "weekly", "monthly", name="repeat", native_enum=False, length=32
            ),
            nullable=False,
        ),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["area_id"], ["shuidian.areas.id"], name=op.f("fk_push_schedules_area_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_push_schedules")),
        schema="shuidian",
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("gateway_id", sa.BigInteger(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["gateway_id"], ["shuidian.api_keys.id"], name=op.f("fk_quarantine_gateway_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
        schema="shuidian",
    )
    op.create_table(
        "staff",
        sa.Column("person_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "role",
            sa.Enum("technician", "manager", name="role", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("on_duty", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["shuidian.people.id"], name=op.f("fk_staff_person_id")
        ),
        sa.PrimaryKeyConstraint("person_id", "role", name=op.f("pk_staff")),
        schema="shuidian",
    )
    op.create_table(
        "unreached",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("person_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("params", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("dedupe_key", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["shuidian.people.id"], name=op.f("fk_unreached_person_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unreached")),
        sa.UniqueConstraint(
            "dedupe_key", "person_id", name=op.f("uq_unreached_dedupe_key_person_id")
        ),
        schema="shuidian",
    )
    op.create_table(
        "accounts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("premise_id", sa.BigInteger(), nullable=False),
        sa.Column("holder_name", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["premise_id"], ["shuidian.premises.id"], name=op.f("fk_accounts_premise_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("number", name=op.f("uq_accounts_number")),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_accounts_premise_id"), "accounts", ["premise_id"], unique=False, schema="shuidian"
    )
    op.create_table(
        "cards",
        sa.Column("contact_id", sa.BigInteger(), nullable=False),
        sa.Column("card", sa.Text(), nullable=False),
        sa.Column("message_ref", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["contact_id"], ["shuidian.contacts.id"], name=op.f("fk_cards_contact_id")
        ),
        sa.PrimaryKeyConstraint("contact_id", "card", name=op.f("pk_cards")),
        schema="shuidian",
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("contact_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("params", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("lane", sa.BigInteger(), nullable=False),
        sa.Column("card", sa.Text(), nullable=True),
        sa.Column("dedupe_key", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "outcome",
            sa.Enum(
                "due",
                "sending",
                "sent",
                "postponed",
                "blocked",
                "failed",
                "unknown",
                "superseded",
                name="outcome",
                native_enum=False,
                length=32,
            ),
            server_default="due",
            nullable=False,
        ),
        sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("message_ref", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["contact_id"], ["shuidian.contacts.id"], name=op.f("fk_deliveries_contact_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint(
            "dedupe_key", "contact_id", name=op.f("uq_deliveries_dedupe_key_contact_id")
        ),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_deliveries_contact_id"),
        "deliveries",
        ["contact_id"],
        unique=False,
        schema="shuidian",
    )
    op.create_index(
        "ix_deliveries_waiting",
        "deliveries",
        ["lane", "id"],
        unique=False,
        schema="shuidian",
        postgresql_where=sa.text("outcome IN ('due', 'sending', 'postponed')"),
    )
    op.create_index(
        "ix_deliveries_waiting_contact",
        "deliveries",
        ["contact_id", "lane", "id"],
        unique=False,
        schema="shuidian",
        postgresql_where=sa.text("outcome IN ('due', 'sending', 'postponed')"),
    )
    op.create_table(
        "dialogues",
        sa.Column("contact_id", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("draft", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["contact_id"], ["shuidian.contacts.id"], name=op.f("fk_dialogues_contact_id")
        ),
        sa.PrimaryKeyConstraint("contact_id", name=op.f("pk_dialogues")),
        schema="shuidian",
    )
    op.create_table(
        "outage_recipients",
        sa.Column("outage_id", sa.BigInteger(), nullable=False),
        sa.Column("person_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["outage_id"], ["shuidian.outages.id"], name=op.f("fk_outage_recipients_outage_id")
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["shuidian.people.id"], name=op.f("fk_outage_recipients_person_id")
        ),
        sa.PrimaryKeyConstraint("outage_id", "person_id", name=op.f("pk_outage_recipients")),
        schema="shuidian",
    )
    op.create_table(
        "outage_versions",
        sa.Column("outage_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_id", sa.BigInteger(), nullable=True),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "announced", "ended", "withdrawn", name="outagestate", native_enum=False, length=32
            ),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["actor_id"], ["shuidian.people.id"], name=op.f("fk_outage_versions_actor_id")
        ),
        sa.ForeignKeyConstraint(
            ["outage_id"], ["shuidian.outages.id"], name=op.f("fk_outage_versions_outage_id")
        ),
        sa.PrimaryKeyConstraint("outage_id", "version", name=op.f("pk_outage_versions")),
        schema="shuidian",
    )
    op.create_table(
        "service_points",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("premise_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "service",
            sa.Enum("water", "electricity", name="service", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("area_id", sa.BigInteger(), nullable=False),
        sa.Column("customer_class", sa.Text(), server_default="home", nullable=False),
        sa.Column("protected", sa.Text(), nullable=True),
        sa.Column(
            "supply",
            sa.Enum(
                "connected", "cut", "ready", "unknown", name="supply", native_enum=False, length=32
            ),
            server_default="connected",
            nullable=False,
        ),
        sa.Column("supply_since", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["area_id"], ["shuidian.areas.id"], name=op.f("fk_service_points_area_id")
        ),
        sa.ForeignKeyConstraint(
            ["premise_id"], ["shuidian.premises.id"], name=op.f("fk_service_points_premise_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_points")),
        sa.UniqueConstraint(
            "premise_id", "service", name=op.f("uq_service_points_premise_id_service")
        ),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_service_points_area_id"),
        "service_points",
        ["area_id"],
        unique=False,
        schema="shuidian",
    )
    op.create_table(
        "account_rights",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("person_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "right",
            sa.Enum(
                "holder", "tenant", "payer", "caretaker", name="right", native_enum=False, length=32
            ),
            nullable=False,
        ),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["shuidian.accounts.id"], name=op.f("fk_account_rights_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["shuidian.people.id"], name=op.f("fk_account_rights_person_id")
        ),
        sa.PrimaryKeyConstraint("account_id", "person_id", name=op.f("pk_account_rights")),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_account_rights_person_id"),
        "account_rights",
        ["person_id"],
        unique=False,
        schema="shuidian",
    )
    op.create_table(
        "agreements",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("service_point_id", sa.BigInteger(), nullable=False),
        sa.Column("tariff_code", sa.Text(), nullable=False),
        sa.Column("starts_date", sa.Date(), nullable=False),
        sa.Column("ends_date", sa.Date(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["shuidian.accounts.id"], name=op.f("fk_agreements_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["service_point_id"],
            ["shuidian.service_points.id"],
            name=op.f("fk_agreements_service_point_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agreements")),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_agreements_account_id"),
        "agreements",
        ["account_id"],
        unique=False,
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_agreements_service_point_id"),
        "agreements",
        ["service_point_id"],
        unique=False,
        schema="shuidian",
    )
    op.create_index(
        "uq_agreements_open_service_point",
        "agreements",
        ["service_point_id"],
        unique=True,
        schema="shuidian",
        postgresql_where=sa.text("ends_date IS NULL"),
    )
    op.create_table(
        "invitations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("code_hash", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "right",
            sa.Enum(
                "holder", "tenant", "payer", "caretaker", name="right", native_enum=False, length=32
            ),
            nullable=True,
        ),
        sa.Column(
            "role",
            sa.Enum("technician", "manager", name="role", native_enum=False, length=32),
            nullable=True,
        ),
        sa.Column("person_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("used_by_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["shuidian.accounts.id"], name=op.f("fk_invitations_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["shuidian.people.id"], name=op.f("fk_invitations_person_id")
        ),
        sa.ForeignKeyConstraint(
            ["used_by_id"], ["shuidian.people.id"], name=op.f("fk_invitations_used_by_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("code_hash", name=op.f("uq_invitations_code_hash")),
        schema="shuidian",
    )
    op.create_table(
        "meters",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("service_point_id", sa.BigInteger(), nullable=False),
        sa.Column("digits", sa.BigInteger(), nullable=False),
        sa.Column("multiplier", sa.Numeric(), server_default=sa.text("1"), nullable=False),
        sa.Column("installed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("gateway_id", sa.BigInteger(), nullable=True),
        sa.Column("switchable", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(
            ["gateway_id"], ["shuidian.api_keys.id"], name=op.f("fk_meters_gateway_id")
        ),
        sa.ForeignKeyConstraint(
            ["service_point_id"],
            ["shuidian.service_points.id"],
            name=op.f("fk_meters_service_point_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meters")),
        sa.UniqueConstraint("serial", name=op.f("uq_meters_serial")),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_meters_gateway_id"), "meters", ["gateway_id"], unique=False, schema="shuidian"
    )
    op.create_index(
        "uq_meters_working_service_point",
        "meters",
        ["service_point_id"],
        unique=True,
        schema="shuidian",
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_table(
        "alarms",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("meter_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "quantity",
            sa.Enum("pressure", "voltage", name="quantity", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column(
            "side",
            sa.Enum("low", "high", name="side", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("limit", sa.Numeric(), nullable=False),
        sa.Column("worst", sa.Numeric(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("raised_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_value", sa.Numeric(), nullable=True),
        sa.Column("taken_up_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_taken_up_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["meter_id"], ["shuidian.meters.id"], name=op.f("fk_alarms_meter_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarms")),
        schema="shuidian",
    )
    op.create_index(
        "ix_alarms_untaken",
        "alarms",
        ["id"],
        unique=False,
        schema="shuidian",
        postgresql_where=sa.text(
            "taken_up_at IS NULL OR (ended_at IS NOT NULL AND end_taken_up_at IS NULL)"
        ),
    )
    op.create_index(
        "uq_alarms_open",
        "alarms",
        ["meter_id", "quantity"],
        unique=True,
        schema="shuidian",
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "billing_skips",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("agreement_id", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["agreement_id"], ["shuidian.agreements.id"], name=op.f("fk_billing_skips_agreement_id")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["shuidian.billing_runs.id"], name=op.f("fk_billing_skips_run_id")
        ),
        sa.PrimaryKeyConstraint("run_id", "agreement_id", name=op.f("pk_billing_skips")),
        schema="shuidian",
    )
    op.create_table(
        "bills",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("agreement_id", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("tariff_version_id", sa.BigInteger(), nullable=False),
        sa.Column("starts_date", sa.Date(), nullable=False),
        sa.Column("ends_date", sa.Date(), nullable=False),
        sa.Column("consumption", sa.Numeric(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "held", "issued", "settled", "void", name="billstate", native_enum=False, length=32
            ),
            nullable=False,
        ),
        sa.Column("held_reason", sa.Text(), nullable=True),
        sa.Column("void_reason", sa.Text(), nullable=True),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_date", sa.Date(), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("inputs", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint(
            "state IN ('held', 'void') OR issued_at IS NOT NULL AND due_date IS NOT NULL",
            name=op.f("ck_bills_dated"),
        ),
        sa.ForeignKeyConstraint(
            ["agreement_id"], ["shuidian.agreements.id"], name=op.f("fk_bills_agreement_id")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["shuidian.billing_runs.id"], name=op.f("fk_bills_run_id")
        ),
        sa.ForeignKeyConstraint(
            ["tariff_version_id"],
            ["shuidian.tariff_versions.id"],
            name=op.f("fk_bills_tariff_version_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bills")),
        sa.UniqueConstraint("number", name=op.f("uq_bills_number")),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_bills_agreement_id"), "bills", ["agreement_id"], unique=False, schema="shuidian"
    )
    op.create_index(
        "ix_bills_open",
        "bills",
        ["agreement_id", "due_date"],
        unique=False,
        schema="shuidian",
        postgresql_where=sa.text("state = 'issued'"),
    )
    op.create_index(op.f("ix_bills_run_id"), "bills", ["run_id"], unique=False, schema="shuidian")
    op.create_table(
        "demo_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "pressure_drop",
                "voltage_sag",
                "leak",
                "silent_meter",
                name="eventkind",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("area_id", sa.BigInteger(), nullable=True),
        sa.Column("meter_id", sa.BigInteger(), nullable=True),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["area_id"], ["shuidian.areas.id"], name=op.f("fk_demo_events_area_id")
        ),
        sa.ForeignKeyConstraint(
            ["meter_id"], ["shuidian.meters.id"], name=op.f("fk_demo_events_meter_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_demo_events")),
        schema="shuidian",
    )
    op.create_table(
        "demo_meters",
        sa.Column("meter_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("traits", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("register", sa.Numeric(), nullable=False),
        sa.Column("played_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_open", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["meter_id"], ["shuidian.meters.id"], name=op.f("fk_demo_meters_meter_id")
        ),
        sa.PrimaryKeyConstraint("meter_id", name=op.f("pk_demo_meters")),
        schema="shuidian",
    )
    op.create_table(
        "dunning_looks",
        sa.Column("agreement_id", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.ForeignKeyConstraint(
            ["agreement_id"], ["shuidian.agreements.id"], name=op.f("fk_dunning_looks_agreement_id")
        ),
        sa.PrimaryKeyConstraint("agreement_id", name=op.f("pk_dunning_looks")),
        schema="shuidian",
    )
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("transaction_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "account",
            sa.Enum(
                "receivable",
                "revenue",
                "cash",
                "suspense",
                name="ledgeraccount",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("agreement_id", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(account = 'receivable') = (agreement_id IS NOT NULL)",
            name=op.f("ck_ledger_entries_receivable"),
        ),
        sa.CheckConstraint("amount_minor <> 0", name=op.f("ck_ledger_entries_not_zero")),
        sa.ForeignKeyConstraint(
            ["agreement_id"],
            ["shuidian.agreements.id"],
            name=op.f("fk_ledger_entries_agreement_id"),
        ),
        sa.ForeignKeyConstraint(
            ["transaction_id"],
            ["shuidian.ledger_transactions.id"],
            name=op.f("fk_ledger_entries_transaction_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entries")),
        schema="shuidian",
    )
    op.create_index(
        "ix_ledger_entries_agreement",
        "ledger_entries",
        ["agreement_id"],
        unique=False,
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_ledger_entries_transaction_id"),
        "ledger_entries",
        ["transaction_id"],
        unique=False,
        schema="shuidian",
    )
    op.create_table(
        "limits",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "quantity",
            sa.Enum("pressure", "voltage", name="quantity", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column("customer_class", sa.Text(), nullable=True),
        sa.Column("area_id", sa.BigInteger(), nullable=True),
        sa.Column("meter_id", sa.BigInteger(), nullable=True),
        sa.Column("low", sa.Numeric(), nullable=True),
        sa.Column("high", sa.Numeric(), nullable=True),
        sa.Column("deadband", sa.Numeric(), nullable=False),
        sa.Column("hold_seconds", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["area_id"], ["shuidian.areas.id"], name=op.f("fk_limits_area_id")),
        sa.ForeignKeyConstraint(
            ["meter_id"], ["shuidian.meters.id"], name=op.f("fk_limits_meter_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_limits")),
        schema="shuidian",
    )
    op.create_table(
        "switch_reports",
        sa.Column("meter_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "connected", "cut", "ready", "unknown", name="supply", native_enum=False, length=32
            ),
            nullable=False,
        ),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["meter_id"], ["shuidian.meters.id"], name=op.f("fk_switch_reports_meter_id")
        ),
        sa.PrimaryKeyConstraint("meter_id", name=op.f("pk_switch_reports")),
        schema="shuidian",
    )
    op.create_table(
        "bill_lines",
        sa.Column("bill_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("starts_date", sa.Date(), nullable=False),
        sa.Column("ends_date", sa.Date(), nullable=False),
        sa.Column("tier", sa.BigInteger(), nullable=True),
        sa.Column("tier_from", sa.Numeric(), nullable=True),
        sa.Column("tier_to", sa.Numeric(), nullable=True),
        sa.Column("register", sa.Text(), nullable=True),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("price", sa.Numeric(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.ForeignKeyConstraint(
            ["bill_id"], ["shuidian.bills.id"], name=op.f("fk_bill_lines_bill_id")
        ),
        sa.PrimaryKeyConstraint("bill_id", "position", name=op.f("pk_bill_lines")),
        schema="shuidian",
    )
    op.create_table(
        "dunning_steps",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("agreement_id", sa.BigInteger(), nullable=False),
        sa.Column("bill_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "reminder",
                "cut_notice",
                "cut_proposed",
                name="stepkind",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("round", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("owed_minor", sa.BigInteger(), nullable=False),
        sa.Column("dedupe_key", sa.Text(), nullable=False),
        sa.Column("unreached_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["agreement_id"], ["shuidian.agreements.id"], name=op.f("fk_dunning_steps_agreement_id")
        ),
        sa.ForeignKeyConstraint(
            ["bill_id"], ["shuidian.bills.id"], name=op.f("fk_dunning_steps_bill_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dunning_steps")),
        sa.UniqueConstraint(
            "bill_id", "kind", "round", name=op.f("uq_dunning_steps_bill_id_kind_round")
        ),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_dunning_steps_agreement_id"),
        "dunning_steps",
        ["agreement_id"],
        unique=False,
        schema="shuidian",
    )
    op.create_table(
        "payments",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("agreement_id", sa.BigInteger(), nullable=False),
        sa.Column("bill_id", sa.BigInteger(), nullable=True),
        sa.Column("payer_id", sa.BigInteger(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "pending",
                "unknown",
                "succeeded",
                "failed",
                name="paymentstate",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_payments_positive")),
        sa.ForeignKeyConstraint(
            ["agreement_id"], ["shuidian.agreements.id"], name=op.f("fk_payments_agreement_id")
        ),
        sa.ForeignKeyConstraint(
            ["bill_id"], ["shuidian.bills.id"], name=op.f("fk_payments_bill_id")
        ),
        sa.ForeignKeyConstraint(
            ["payer_id"], ["shuidian.people.id"], name=op.f("fk_payments_payer_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payments")),
        sa.UniqueConstraint("number", name=op.f("uq_payments_number")),
        sa.UniqueConstraint("provider", "reference", name=op.f("uq_payments_provider_reference")),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_payments_agreement_id"),
        "payments",
        ["agreement_id"],
        unique=False,
        schema="shuidian",
    )
    op.create_table(
        "repairs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("service_point_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "cause",
            sa.Enum(
                "low_pressure",
                "high_pressure",
                "low_voltage",
                "high_voltage",
                "reported",
                "supply_switch",
                name="cause",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "state",
            sa.Enum(
                "new",
                "accepted",
                "on_the_way",
                "arrived",
                "working",
                "waiting",
                "fixed",
                "reopened",
                "closed",
                "cancelled",
                name="state",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("state_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("alarm_id", sa.BigInteger(), nullable=True),
        sa.Column("reporter_id", sa.BigInteger(), nullable=True),
        sa.Column("technician_id", sa.BigInteger(), nullable=True),
        sa.Column("filed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("promised_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("promise_moves", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("normal_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fixed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reopened_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("escalated_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["alarm_id"], ["shuidian.alarms.id"], name=op.f("fk_repairs_alarm_id")
        ),
        sa.ForeignKeyConstraint(
            ["reporter_id"], ["shuidian.people.id"], name=op.f("fk_repairs_reporter_id")
        ),
        sa.ForeignKeyConstraint(
            ["service_point_id"],
            ["shuidian.service_points.id"],
            name=op.f("fk_repairs_service_point_id"),
        ),
        sa.ForeignKeyConstraint(
            ["technician_id"], ["shuidian.people.id"], name=op.f("fk_repairs_technician_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repairs")),
        sa.UniqueConstraint("number", name=op.f("uq_repairs_number")),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_repairs_alarm_id"), "repairs", ["alarm_id"], unique=False, schema="shuidian"
    )
    op.create_index(
        "ix_repairs_open",
        "repairs",
        ["id"],
        unique=False,
        schema="shuidian",
        postgresql_where=sa.text("state NOT IN ('closed', 'cancelled')"),
    )
    op.create_index(
        op.f("ix_repairs_service_point_id"),
        "repairs",
        ["service_point_id"],
        unique=False,
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_repairs_technician_id"),
        "repairs",
        ["technician_id"],
        unique=False,
        schema="shuidian",
    )
    op.create_index(
        "uq_repairs_open_cause",
        "repairs",
        ["service_point_id", "cause"],
        unique=True,
        schema="shuidian",
        postgresql_where=sa.text("state NOT IN ('closed', 'cancelled')"),
    )
    op.create_table(
        "watches",
        sa.Column("meter_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "quantity",
            sa.Enum("pressure", "voltage", name="quantity", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column(
            "side", sa.Enum("low", "high", name="side", native_enum=False, length=32), nullable=True
        ),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("worst", sa.Numeric(), nullable=True),
        sa.Column("alarm_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["alarm_id"], ["shuidian.alarms.id"], name=op.f("fk_watches_alarm_id")
        ),
        sa.ForeignKeyConstraint(
            ["meter_id"], ["shuidian.meters.id"], name=op.f("fk_watches_meter_id")
        ),
        sa.PrimaryKeyConstraint("meter_id", "quantity", name=op.f("pk_watches")),
        schema="shuidian",
    )
    op.create_table(
        "allocations",
        sa.Column("payment_id", sa.BigInteger(), nullable=False),
        sa.Column("bill_id", sa.BigInteger(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_allocations_positive")),
        sa.ForeignKeyConstraint(
            ["bill_id"], ["shuidian.bills.id"], name=op.f("fk_allocations_bill_id")
        ),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["shuidian.payments.id"], name=op.f("fk_allocations_payment_id")
        ),
        sa.PrimaryKeyConstraint("payment_id", "bill_id", name=op.f("pk_allocations")),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_allocations_bill_id"), "allocations", ["bill_id"], unique=False, schema="shuidian"
    )
    op.create_table(
        "repair_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("repair_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "new",
                "accepted",
                "on_the_way",
                "arrived",
                "working",
                "waiting",
                "fixed",
                "reopened",
                "closed",
                "cancelled",
                name="state",
                native_enum=False,
                length=32,
            ),
            nullable=True,
        ),
        sa.Column("promised_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "details",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["actor_id"], ["shuidian.people.id"], name=op.f("fk_repair_events_actor_id")
        ),
        sa.ForeignKeyConstraint(
            ["repair_id"], ["shuidian.repairs.id"], name=op.f("fk_repair_events_repair_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repair_events")),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_repair_events_repair_id"),
        "repair_events",
        ["repair_id"],
        unique=False,
        schema="shuidian",
    )
    op.create_table(
        "supply_orders",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("service_point_id", sa.BigInteger(), nullable=False),
        sa.Column("agreement_id", sa.BigInteger(), nullable=False),
        sa.Column("meter_id", sa.BigInteger(), nullable=False),
        sa.Column("step_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "wanted",
            sa.Enum(
                "connected", "cut", "ready", "unknown", name="supply", native_enum=False, length=32
            ),
            nullable=False,
        ),
        sa.Column(
            "reason",
            sa.Enum("arrears", "paid", "undone", name="reason", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column(
            "state",
            sa.Enum(
                "proposed",
                "approved",
                "sent",
                "accepted",
                "confirmed",
                "declined",
                "failed",
                "expired",
                "cancelled",
                name="orderstate",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("inputs", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("approved_by_id", sa.BigInteger(), nullable=True),
        sa.Column("nonce", sa.Text(), nullable=True),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tries", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("alerted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "wanted <> 'cut' OR state IN ('proposed', 'declined', 'cancelled') OR approved_by_id IS NOT NULL AND valid_until <= approved_at + interval '24 hours'",
            name=op.f("ck_supply_orders_approved"),
        ),
        sa.CheckConstraint("wanted IN ('cut', 'connected')", name=op.f("ck_supply_orders_wanted")),
        sa.ForeignKeyConstraint(
            ["agreement_id"], ["shuidian.agreements.id"], name=op.f("fk_supply_orders_agreement_id")
        ),
        sa.ForeignKeyConstraint(
            ["approved_by_id"], ["shuidian.people.id"], name=op.f("fk_supply_orders_approved_by_id")
        ),
        sa.ForeignKeyConstraint(
            ["meter_id"], ["shuidian.meters.id"], name=op.f("fk_supply_orders_meter_id")
        ),
        sa.ForeignKeyConstraint(
            ["service_point_id"],
            ["shuidian.service_points.id"],
            name=op.f("fk_supply_orders_service_point_id"),
        ),
        sa.ForeignKeyConstraint(
            ["step_id"], ["shuidian.dunning_steps.id"], name=op.f("fk_supply_orders_step_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_supply_orders")),
        sa.UniqueConstraint("nonce", name=op.f("uq_supply_orders_nonce")),
        sa.UniqueConstraint("number", name=op.f("uq_supply_orders_number")),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_supply_orders_agreement_id"),
        "supply_orders",
        ["agreement_id"],
        unique=False,
        schema="shuidian",
    )
    op.create_index(
        "ix_supply_orders_cuts",
        "supply_orders",
        ["sent_at"],
        unique=False,
        schema="shuidian",
        postgresql_where=sa.text("wanted = 'cut'"),
    )
    op.create_index(
        "ix_supply_orders_open",
        "supply_orders",
        ["meter_id"],
        unique=False,
        schema="shuidian",
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_index(
        op.f("ix_supply_orders_service_point_id"),
        "supply_orders",
        ["service_point_id"],
        unique=False,
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_supply_orders_step_id"),
        "supply_orders",
        ["step_id"],
        unique=False,
        schema="shuidian",
    )
    op.create_index(
        "uq_supply_orders_active",
        "supply_orders",
        ["service_point_id"],
        unique=True,
        schema="shuidian",
        postgresql_where=sa.text("state IN ('proposed', 'approved', 'sent', 'accepted')"),
    )
    op.create_table(
        "attachments",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("repair_id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("channel_ref", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["event_id"], ["shuidian.repair_events.id"], name=op.f("fk_attachments_event_id")
        ),
        sa.ForeignKeyConstraint(
            ["repair_id"], ["shuidian.repairs.id"], name=op.f("fk_attachments_repair_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attachments")),
        schema="shuidian",
    )
    op.create_index(
        op.f("ix_attachments_repair_id"),
        "attachments",
        ["repair_id"],
        unique=False,
        schema="shuidian",
    )

"""All tables of the state, and on PostgreSQL the function that leases take the time from.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
backward_compatible = True

_CLOCK = """
CREATE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE
AS 'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint'
"""
_KEEP_ROWS = (
    """CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN RAISE EXCEPTION ''the audit log is append-only''; END'""",
    """CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    EXECUTE FUNCTION refuse_change()""",
)
_KEEP_ROWS_IN_SQLITE = tuple(
    f"""CREATE TRIGGER audit_log_no_{verb} BEFORE {verb} ON audit_log
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"""
    for verb in ("UPDATE", "DELETE")
)


def upgrade() -> None:
    """Create every table."""
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    if is_postgresql:
        op.execute(_CLOCK)
    _create_access()
    _create_reports()
    _create_views()
    _create_audit_log()
    _create_records()
    for statement in _KEEP_ROWS if is_postgresql else _KEEP_ROWS_IN_SQLITE:
        op.execute(statement)


def _create_access() -> None:
    """Organizations, keys, people, and what they are granted."""
    op.create_table(
        "organizations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("served_at", sa.BigInteger(), nullable=False),
        sa.Column("max_key_days", sa.Integer()),
        sa.PrimaryKeyConstraint("id", name="pk_organizations"),
        sa.UniqueConstraint("name", name="uq_organizations_name"),
    )
    op.create_table(
        "readable_channels",
        sa.Column("organization_id", sa.Integer(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_readable_channels_organization_id"),
        sa.PrimaryKeyConstraint("organization_id", "channel_id", name="pk_readable_channels"),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Integer(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("permissions", sa.Text(), nullable=False),
        sa.Column("limited", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger()),
        sa.Column("kind", sa.Text(), server_default="private", nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("created_by", sa.Text()),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("last_used_at", sa.BigInteger()),
        sa.Column("secret_created_at", sa.BigInteger()),
        sa.Column("next_secret_hash", sa.Text()),
        sa.Column("next_secret_created_at", sa.BigInteger()),
        sa.Column("next_grace_hours", sa.Integer()),
        sa.Column("old_secret_hash", sa.Text()),
        sa.Column("old_secret_created_at", sa.BigInteger()),
        sa.Column("old_secret_until", sa.BigInteger()),
        sa.CheckConstraint("limited IN (0, 1)", name=op.f("ck_keys_limited")),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_keys_organization_id"),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
    )
    op.create_index("ix_keys_organization_id", "keys", ["organization_id"])
    op.create_index(
        "uq_keys_studio",
        "keys",
        ["organization_id"],
        unique=True,
        sqlite_where=sa.text("kind = 'studio'"),
        postgresql_where=sa.text("kind = 'studio'"),
    )
    op.create_table(
        "key_channels",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name="fk_key_channels_key_id"),
        sa.PrimaryKeyConstraint("key_id", "channel_id", name="pk_key_channels"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Integer()),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("language", sa.Text()),
        sa.Column("subject", sa.Text()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("may_look", sa.Integer(), nullable=False, server_default="0"),
        sa.CheckConstraint("may_look = 0 OR role = 'operator'", name=op.f("ck_users_look")),
        sa.Column("platform_role", sa.Text()),
        sa.CheckConstraint("platform_role IS NULL OR role = 'operator'", name=op.f("ck_users_platform_role")),
        sa.CheckConstraint("(role = 'operator') = (organization_id IS NULL)", name=op.f("ck_users_of")),
        sa.Column("channels", sa.Text()),
        sa.CheckConstraint(
            "role IN ('owner', 'analyst', 'viewer', 'viewer-without-revenue', 'operator')", name=op.f("ck_users_role")
        ),
        sa.CheckConstraint("channels IS NULL OR role NOT IN ('owner', 'operator')", name=op.f("ck_users_channels")),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_users_organization_id"),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email", name="uq_users_email"),
        sa.UniqueConstraint("subject", name="uq_users_subject"),
    )
    op.create_index("ix_users_organization_id", "users", ["organization_id"])
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("looks_at", sa.Integer()),
        sa.Column("looks_until", sa.BigInteger()),
        sa.Column("look_reason", sa.Text()),
        sa.ForeignKeyConstraint(["looks_at"], ["organizations.id"], name="fk_sessions_looks_at", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_hash", name="pk_sessions"),
        sa.UniqueConstraint("id", name="uq_sessions_id"),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])
    op.create_table(
        "password_links",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_password_links_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_hash", name="pk_password_links"),
    )
    op.create_index("ix_password_links_user_id", "password_links", ["user_id"])
    op.create_table(
        "authenticators",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("seed", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_authenticators_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", name="pk_authenticators"),
    )
    op.create_table(
        "passkeys",
        sa.Column("credential_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_passkeys_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("credential_id", name="pk_passkeys"),
        sa.UniqueConstraint("id", name="uq_passkeys_id"),
    )
    op.create_index("ix_passkeys_user_id", "passkeys", ["user_id"])
    op.create_table(
        "recovery_codes",
        sa.Column("code_hash", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_recovery_codes_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("code_hash", name="pk_recovery_codes"),
    )
    op.create_index("ix_recovery_codes_user_id", "recovery_codes", ["user_id"])
    op.create_table(
        "attempts",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("full_at", sa.BigInteger(), nullable=False),
        sa.Column("room", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_attempts"),
    )
    op.create_table(
        "refresh_tokens",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("replaced_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name="fk_refresh_tokens_key_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_refresh_tokens_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_hash", name="pk_refresh_tokens"),
    )
    op.create_index("ix_refresh_tokens_family", "refresh_tokens", ["family"])
    op.create_index("ix_refresh_tokens_key_id", "refresh_tokens", ["key_id"])
    op.create_index("ix_refresh_tokens_user_id", "refresh_tokens", ["user_id"])
    op.create_table(
        "secret_fingerprints",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.CheckConstraint("number = 1", name=op.f("ck_secret_fingerprints_one")),
        sa.PrimaryKeyConstraint("number", name="pk_secret_fingerprints"),
    )


def _create_reports() -> None:
    """Reports, the queue and its workers."""
    op.create_table(
        "reports",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("asked_by", sa.Text()),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("channels", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("reason_code", sa.Text()),
        sa.Column("partner_reason", sa.Text()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("deaths", sa.Integer(), server_default="0", nullable=False),
        sa.Column("losses", sa.Integer(), server_default="0", nullable=False),
        sa.Column("versions", sa.Text()),
        sa.Column("last_complete_day", sa.Text()),
        sa.Column("file", sa.Text()),
        sa.Column("rows", sa.BigInteger()),
        sa.Column("bytes", sa.BigInteger()),
        sa.Column("sha256", sa.Text()),
        sa.Column("traceparent", sa.Text()),
        sa.CheckConstraint("status <> 'FAILED' OR reason IS NOT NULL", name=op.f("ck_reports_failed_has_reason")),
        sa.CheckConstraint(
            "status <> 'FINISHED' OR "
            "(file IS NOT NULL AND rows IS NOT NULL AND bytes IS NOT NULL AND sha256 IS NOT NULL)",
            name=op.f("ck_reports_finished_has_file"),
        ),
        sa.CheckConstraint(
            "status IN ('IN_PROGRESS', 'FINISHED', 'FAILED', 'EXPIRED')", name=op.f("ck_reports_status")
        ),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name="fk_reports_key_id"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_reports_organization_id"),
        sa.PrimaryKeyConstraint("id", name="pk_reports"),
        sa.UniqueConstraint("token", name="uq_reports_token"),
    )
    op.create_index("ix_reports_key_id_fingerprint_created_at", "reports", ["key_id", "fingerprint", "created_at"])
    op.create_index("ix_reports_organization_id_created_at", "reports", ["organization_id", "created_at"])
    op.create_index("ix_reports_status_expires_at", "reports", ["status", "expires_at"])
    op.create_table(
        "jobs",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("report_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("leased_until", sa.BigInteger()),
        sa.Column("suspect", sa.Integer(), server_default="0", nullable=False),
        sa.Column("alone", sa.Integer(), server_default="0", nullable=False),
        sa.Column("waited_for_room", sa.Integer(), server_default="0", nullable=False),
        sa.Column("is_long", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rows_written", sa.BigInteger()),
        sa.Column("bytes_written", sa.BigInteger()),
        sa.Column("expected_ms", sa.BigInteger()),
        sa.Column("ready_at", sa.BigInteger()),
        sa.CheckConstraint("(owner IS NULL) = (leased_until IS NULL)", name=op.f("ck_jobs_lease")),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_jobs_organization_id"),
        sa.ForeignKeyConstraint(["report_id"], ["reports.id"], name="fk_jobs_report_id"),
        sa.PrimaryKeyConstraint("number", name="pk_jobs"),
        sa.UniqueConstraint("report_id", name="uq_jobs_report_id"),
    )
    op.create_index("ix_jobs_organization_id_owner_number", "jobs", ["organization_id", "owner", "number"])
    op.create_table(
        "forms",
        sa.Column("report_id", sa.Text(), nullable=False),
        sa.Column("suffix", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("begun_at", sa.BigInteger()),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("leased_until", sa.BigInteger()),
        sa.Column("failure", sa.Text()),
        sa.Column("file", sa.Text()),
        sa.Column("bytes", sa.BigInteger()),
        sa.Column("sha256", sa.Text()),
        sa.CheckConstraint("(owner IS NULL) = (leased_until IS NULL)", name=op.f("ck_forms_lease")),
        sa.CheckConstraint(
            "file IS NULL OR (bytes IS NOT NULL AND sha256 IS NOT NULL)", name=op.f("ck_forms_made_has_file")
        ),
        sa.ForeignKeyConstraint(["report_id"], ["reports.id"], name="fk_forms_report_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("report_id", "suffix", name="pk_forms"),
    )
    op.create_table(
        "workers",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_workers"),
    )


def _create_views() -> None:
    """Views that people keep or share."""
    op.create_table(
        "saved_views",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("folder", sa.Text(), server_default="", nullable=False),
        sa.Column("pinned_at", sa.BigInteger()),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_saved_views_organization_id"),
        sa.PrimaryKeyConstraint("id", name="pk_saved_views"),
    )
    op.create_index("ix_saved_views_organization_id", "saved_views", ["organization_id"])
    op.create_table(
        "shared_views",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("channels", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger()),
        sa.Column("opened", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("opened_at", sa.BigInteger()),
        sa.Column("hosts", sa.Text()),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_shared_views_organization_id"),
        sa.PrimaryKeyConstraint("id", name="pk_shared_views"),
        sa.UniqueConstraint("token_hash", name="uq_shared_views_token_hash"),
    )
    op.create_index("ix_shared_views_organization_id", "shared_views", ["organization_id"])


def _create_audit_log() -> None:
    """The audit log, whose rows nobody changes or deletes."""
    op.create_table(
        "audit_log",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("organization_id", sa.Integer()),
        sa.Column("organization", sa.Text()),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit_log"),
    )
    op.create_index("ix_audit_log_organization_id_action_number", "audit_log", ["organization_id", "action", "number"])
    op.create_index("ix_audit_log_organization_id_number", "audit_log", ["organization_id", "number"])
    op.create_index(
        "ix_audit_log_organization_id_lower_actor_number",
        "audit_log",
        ["organization_id", sa.text("lower(actor)"), "number"],
    )


def _create_records() -> None:
    """What processes share: identities, times, counters, chores."""
    op.create_table(
        "identities",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_identities"),
    )
    op.create_table(
        "moments",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_moments"),
    )
    op.create_table(
        "tallies",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "label", name="pk_tallies"),
    )
    op.create_table(
        "chores",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_chores"),
    )

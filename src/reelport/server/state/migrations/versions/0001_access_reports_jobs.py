"""Tables of access, reports and jobs.

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


def upgrade() -> None:
    """Create every table, and on PostgreSQL the function that leases take the time from."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_CLOCK)
    _access()
    _reports()
    op.create_table(
        "chores",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_chores"),
    )


def _access() -> None:
    op.create_table(
        "organizations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("served_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_organizations"),
        sa.UniqueConstraint("name", name="uq_organizations_name"),
    )
    op.create_table(
        "readable_channels",
        sa.Column("organization_id", sa.Integer(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "channel_id", name="pk_readable_channels"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_readable_channels_organization_id"),
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
        sa.CheckConstraint("limited IN (0, 1)", name="limited"),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_keys_organization_id"),
    )
    op.create_index("ix_keys_organization_id", "keys", ["organization_id"])
    op.create_table(
        "key_channels",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "channel_id", name="pk_key_channels"),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name="fk_key_channels_key_id"),
    )
    op.create_table(
        "tokens",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_tokens"),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name="fk_tokens_key_id"),
    )
    op.create_index("ix_tokens_expires_at", "tokens", ["expires_at"])


def _reports() -> None:
    op.create_table(
        "reports",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("channels", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("versions", sa.Text()),
        sa.Column("file", sa.Text()),
        sa.Column("rows", sa.BigInteger()),
        sa.Column("bytes", sa.BigInteger()),
        sa.Column("sha256", sa.Text()),
        sa.CheckConstraint("status IN ('IN_PROGRESS', 'FINISHED', 'FAILED', 'EXPIRED')", name="status"),
        sa.CheckConstraint(
            "status <> 'FINISHED' OR "
            "(file IS NOT NULL AND rows IS NOT NULL AND bytes IS NOT NULL AND sha256 IS NOT NULL)",
            name="finished_has_file",
        ),
        sa.CheckConstraint("status <> 'FAILED' OR reason IS NOT NULL", name="failed_has_reason"),
        sa.PrimaryKeyConstraint("id", name="pk_reports"),
        sa.UniqueConstraint("token", name="uq_reports_token"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_reports_organization_id"),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name="fk_reports_key_id"),
    )
    op.create_index("ix_reports_key_id_fingerprint_created_at", "reports", ["key_id", "fingerprint", "created_at"])
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
        sa.CheckConstraint("(owner IS NULL) = (leased_until IS NULL)", name="lease"),
        sa.PrimaryKeyConstraint("number", name="pk_jobs"),
        sa.UniqueConstraint("report_id", name="uq_jobs_report_id"),
        sa.ForeignKeyConstraint(["report_id"], ["reports.id"], name="fk_jobs_report_id"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_jobs_organization_id"),
    )
    op.create_index("ix_jobs_organization_id_owner_number", "jobs", ["organization_id", "owner", "number"])

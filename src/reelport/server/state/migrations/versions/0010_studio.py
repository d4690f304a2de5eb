"""What Studio needs: sessions, operators, audit log, saved and shared views.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
backward_compatible = True

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
    """Add the tables, and let a user be an operator, of no organization."""
    op.add_column("reports", sa.Column("asked_by", sa.Text()))
    op.create_index("ix_reports_organization_id_created_at", "reports", ["organization_id", "created_at"])
    _let_users_be_operators()
    _add_logins()
    _add_audit_log()
    _add_views()


def _let_users_be_operators() -> None:
    checks = {
        "role": "role IN ('owner', 'member', 'operator')",
        "of": "(role = 'operator') = (organization_id IS NULL)",
    }
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(op.f("ck_users_role"), "users")
        op.alter_column("users", "organization_id", nullable=True)
        for name, condition in checks.items():
            op.create_check_constraint(name, "users", condition)
        return
    # SQLite changes a table by making it anew; with the old one its rows' refresh tokens are deleted.
    op.execute("CREATE TEMPORARY TABLE kept_tokens AS SELECT * FROM refresh_tokens")
    with op.batch_alter_table("users", recreate="always") as users:
        users.drop_constraint("role", type_="check")
        users.alter_column("organization_id", existing_type=sa.Integer(), nullable=True)
        for name, condition in checks.items():
            users.create_check_constraint(name, condition)
    op.execute("INSERT INTO refresh_tokens SELECT * FROM kept_tokens")
    op.execute("DROP TABLE kept_tokens")


def _add_logins() -> None:
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("created_at", "seen_at", "expires_at")),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name="pk_sessions"),
        sa.UniqueConstraint("id", name="uq_sessions_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id", ondelete="CASCADE"),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])
    op.create_table(
        "password_links",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name="pk_password_links"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_password_links_user_id", ondelete="CASCADE"),
    )
    op.create_index("ix_password_links_user_id", "password_links", ["user_id"])


def _add_audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("organization_id", sa.Integer()),
        sa.Column("organization", sa.Text()),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("actor", "address", "action", "subject", "details")),
        sa.PrimaryKeyConstraint("number", name="pk_audit_log"),
    )
    op.create_index("ix_audit_log_organization_id_number", "audit_log", ["organization_id", "number"])
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    for statement in _KEEP_ROWS if is_postgresql else _KEEP_ROWS_IN_SQLITE:
        op.execute(statement)


def _add_views() -> None:
    op.create_table(
        "saved_views",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("name", "parameters", "created_by")),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_saved_views"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_saved_views_organization_id"),
    )
    op.create_index("ix_saved_views_organization_id", "saved_views", ["organization_id"])
    op.create_table(
        "shared_views",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("name", "parameters", "channels", "created_by")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("created_at", "expires_at")),
        sa.Column("revoked_at", sa.BigInteger()),
        sa.Column("opened", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("opened_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_shared_views"),
        sa.UniqueConstraint("token_hash", name="uq_shared_views_token_hash"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_shared_views_organization_id"),
    )
    op.create_index("ix_shared_views_organization_id", "shared_views", ["organization_id"])

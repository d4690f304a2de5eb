"""Names, expiry, last use and rotation of keys; the longest life of an organization's.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
backward_compatible = True


def upgrade() -> None:
    """Add the columns: keys until now have no name and no expiry."""
    op.add_column("organizations", sa.Column("max_key_days", sa.Integer()))
    op.add_column("keys", sa.Column("name", sa.Text(), nullable=False, server_default=""))
    for column, kind in (
        ("created_by", sa.Text()),
        ("expires_at", sa.BigInteger()),
        ("last_used_at", sa.BigInteger()),
        ("secret_created_at", sa.BigInteger()),
        ("next_secret_hash", sa.Text()),
        ("next_secret_created_at", sa.BigInteger()),
        ("next_grace_hours", sa.Integer()),
        ("old_secret_hash", sa.Text()),
        ("old_secret_created_at", sa.BigInteger()),
        ("old_secret_until", sa.BigInteger()),
    ):
        op.add_column("keys", sa.Column(column, kind))
    op.create_index(
        "uq_keys_studio",
        "keys",
        ["organization_id"],
        unique=True,
        sqlite_where=sa.text("kind = 'studio'"),
        postgresql_where=sa.text("kind = 'studio'"),
    )

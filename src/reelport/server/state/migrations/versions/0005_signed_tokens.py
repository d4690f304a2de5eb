"""Access tokens are signed, and no longer stored.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
backward_compatible = False  # an older process looks for the access tokens in the table that goes


def upgrade() -> None:
    """Drop their table: a client with an old token, valid for an hour at most, takes a new one."""
    op.execute("DROP TABLE IF EXISTS tokens")

"""The fingerprint of the secret under which keys were made.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
backward_compatible = True


def upgrade() -> None:
    """Create its table; the next process that needs the secret writes the fingerprint."""
    op.create_table(
        "seals",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.CheckConstraint("number = 1", name="one"),
        sa.PrimaryKeyConstraint("number", name="pk_seals"),
    )

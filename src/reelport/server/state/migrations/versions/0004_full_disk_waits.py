"""How long a report has waited for a full disk, and times that processes share.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
backward_compatible = True


def upgrade() -> None:
    """Add the column, at zero, and the table, without rows.

    The first process that needs a row inserts it.
    """
    op.add_column("jobs", sa.Column("waited_for_room", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "moments",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_moments"),
    )

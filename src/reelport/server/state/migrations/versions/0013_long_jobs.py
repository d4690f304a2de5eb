"""Jobs that were too long for an express slot, and which tables the state's are.

Revision ID: 0013
Revises: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
backward_compatible = True


def upgrade() -> None:
    """Add the column and the table; no job is known as long yet, and no identity."""
    op.add_column("jobs", sa.Column("is_long", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "identities",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
    )

"""Jobs that were too long for an express slot.

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
    """Add the column; no job is known as long yet."""
    op.add_column("jobs", sa.Column("is_long", sa.Integer(), nullable=False, server_default="0"))

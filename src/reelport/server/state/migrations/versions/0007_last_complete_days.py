"""The last complete day of the facts that a report is made of.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
backward_compatible = True


def upgrade() -> None:
    """Add the column; it stays NULL for reports that were pinned before."""
    op.add_column("reports", sa.Column("last_complete_day", sa.Text()))

"""The trace in which a report was asked for.

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
backward_compatible = True


def upgrade() -> None:
    """Add the column; it stays NULL where no traces are recorded."""
    op.add_column("reports", sa.Column("traceparent", sa.Text()))

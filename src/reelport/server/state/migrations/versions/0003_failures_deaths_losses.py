"""Separate counts of a report's failures, deaths and losses, and suspects that run alone.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
backward_compatible = True


def upgrade() -> None:
    """Add the counts, at zero: how earlier attempts ended isn't known."""
    for name in ("failures", "deaths", "losses"):
        op.add_column("reports", sa.Column(name, sa.Integer(), server_default="0", nullable=False))
    for name in ("suspect", "alone"):
        op.add_column("jobs", sa.Column(name, sa.Integer(), server_default="0", nullable=False))

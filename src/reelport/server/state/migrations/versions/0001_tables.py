"""The first release's tables.

A new database gets its tables from `state/tables`.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

revision = "0001"
down_revision = None
backward_compatible = True


def upgrade() -> None:
    """Do nothing: no database is older."""

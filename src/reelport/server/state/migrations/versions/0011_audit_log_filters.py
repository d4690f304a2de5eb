"""Indexes by which a page of the audit log is found of one person or kind of action.

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
backward_compatible = True


def upgrade() -> None:
    """Add the indexes: without them all rows of an organization were looked at."""
    op.create_index("ix_audit_log_organization_id_action_number", "audit_log", ["organization_id", "action", "number"])
    op.create_index(
        "ix_audit_log_organization_id_lower_actor_number",
        "audit_log",
        ["organization_id", sa.text("lower(actor)"), "number"],
    )

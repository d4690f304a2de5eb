"""Jobs that were too long for an express slot, and which tables the state's are.
"""Jobs too long for an express slot, and codes of reports' reasons.

Revision ID: 0013
Revises: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
backward_compatible = True

_OWN_REASONS = {"cancelled": "It was cancelled by %", "too_late": "It was not made in % seconds: ask for less."}


def upgrade() -> None:
    """Add the column and the table; no job is known as long yet, and no identity."""
    op.add_column("jobs", sa.Column("is_long", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "identities",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
    )
    """Add the columns; no job is known as long yet."""
    op.add_column("jobs", sa.Column("is_long", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("reports", sa.Column("reason_code", sa.Text()))
    connection = op.get_bind()
    coded = sa.text("UPDATE reports SET reason_code = :code WHERE status = 'FAILED' AND reason LIKE :reason")
    for code, reason in _OWN_REASONS.items():
        connection.execute(coded, {"code": code, "reason": reason})

"""Jobs too long for an express slot, whose tables, codes of reasons, links that had to end.

Revision ID: 0013
Revises: 0012
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
backward_compatible = True

_OWN_REASONS = {"cancelled": "It was cancelled by %", "too_late": "It was not made in % seconds: ask for less."}


def upgrade() -> None:
    """Add the columns and the table; end and narrow links as withdrawals do from now on.

    No job is known as long yet, and no identity.
    """
    op.add_column("jobs", sa.Column("is_long", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "identities",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
    )
    op.add_column("reports", sa.Column("reason_code", sa.Text()))
    connection = op.get_bind()
    coded = sa.text("UPDATE reports SET reason_code = :code WHERE status = 'FAILED' AND reason LIKE :reason")
    for code, reason in _OWN_REASONS.items():
        connection.execute(coded, {"code": code, "reason": reason})
    _end_links(connection)
    _narrow_links(connection)


def _end_links(connection: sa.Connection) -> None:
    """End the links of people who were removed."""
    removed = (
        "NOT EXISTS (SELECT 1 FROM users WHERE email = shared_views.created_by "
        "AND organization_id = shared_views.organization_id)"
    )
    _revoke(connection, removed)


def _narrow_links(connection: sa.Connection) -> None:
    """Take channels out of links that their organization may not read.

    Given again, they would show again.
    """
    readable: dict[int, set[str]] = {}
    for holder, channel in connection.execute(sa.text("SELECT organization_id, channel_id FROM readable_channels")):
        readable.setdefault(holder, set()).add(channel)
    narrowed = sa.text("UPDATE shared_views SET channels = :channels WHERE id = :id")
    for link in connection.execute(sa.text("SELECT id, organization_id, channels FROM shared_views")).all():
        left = sorted(readable.get(link.organization_id, set()).intersection(json.loads(link.channels)))
        connection.execute(narrowed, {"channels": json.dumps(left), "id": link.id})
    _revoke(connection, "channels = '[]'")


def _revoke(connection: sa.Connection, condition: str) -> None:
    now = int(datetime.now(UTC).timestamp() * 1000)
    unrevoked = f"revoked_at IS NULL AND {condition}"
    revoked = sa.text(f"UPDATE shared_views SET revoked_at = :now WHERE {unrevoked}")  # noqa: S608 - our own conditions
    connection.execute(revoked, {"now": now})

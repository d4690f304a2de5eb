"""Find the ledger's old rows that nothing needs and `prune` may remove. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from reelport.client.ledger.rows import TOKEN_STATES, Row


def list_prunable(rows: Iterable[Row], before: datetime, now: datetime) -> tuple[Row, ...]:
    """Return the rows of reports asked for before a moment that nothing needs."""
    return tuple(row for row in rows if (row.asked or row.created) < before and not is_needed(row, now))


def is_needed(row: Row, now: datetime) -> bool:
    """Whether a process works on the row, it holds a slot, or a command can resume it.

    A lost ask counts as holding its slot at any host: the ledger doesn't record which hosts are Reelport services.
    """
    undelivered = row.state in TOKEN_STATES and not row.delivered and now < row.expires
    return undelivered or row.is_alive(now) or row.is_in_flight(now, reelport=False)

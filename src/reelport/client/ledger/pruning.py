"""Which rows of the ledger can be removed before their time: old ones that nothing needs any more. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from reelport.client.ledger.rows import TOKEN_STATES, Row


def list_prunable(rows: Iterable[Row], before: datetime, now: datetime) -> tuple[Row, ...]:
    """Return the rows of reports that were asked for before a moment and are not needed."""
    return tuple(row for row in rows if (row.asked or row.created) < before and not is_needed(row, now))


def is_needed(row: Row, now: datetime) -> bool:
    """Tell whether a process works on a row, it holds a slot, or the command that wants its file can go on from it.

    A lost ask holds its slot wherever it was sent: whether a Reelport service answers there isn't written down.
    """
    undelivered = row.state in TOKEN_STATES and not row.delivered and now < row.expires
    return undelivered or row.lives(now) or row.in_flight(now, reelport=False)

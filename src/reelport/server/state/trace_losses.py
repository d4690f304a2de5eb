"""Counts in the state the spans that this process dropped, for metrics."""

from __future__ import annotations

import structlog
from sqlalchemy import Engine

from reelport.errors import StorageError
from reelport.server.state import tallies
from reelport.server.state.database import writing
from reelport.server.traces import tracing

RECORD_SECONDS = 2.0
"""Seconds between two counts."""
_log = structlog.get_logger(__name__)


def record_dropped(db: Engine) -> None:
    """Count the spans dropped since the last call; nothing is written for none.

    Those that can't be counted are in the log alone: spans are no report.
    """
    dropped = tracing.take_dropped()
    if not dropped:
        return
    try:
        with writing(db) as connection:
            tallies.count_dropped_spans(connection, dropped)
    except StorageError as error:
        spans = {why.value: count for why, count in dropped.items()}
        _log.warning("dropped spans can't be counted", spans=spans, reason=str(error))

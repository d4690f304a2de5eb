"""Tells what a report has fetched from an object store: in its trace, and in the counters."""

from __future__ import annotations

import structlog
from sqlalchemy import Engine as Database

from reelport.errors import StorageError
from reelport.server.state import tallies
from reelport.server.state.database import writing
from reelport.server.traces import tracing
from reelport.storage.file_cache import Fetched

_log = structlog.get_logger()


def note_fetched(db: Database, fetched: Fetched) -> None:
    """Note the bytes in the span of the attempt, and count them; a lost state ends no report."""
    if not fetched.bytes:
        return
    tracing.current_span().set("reelport.fetched_bytes", fetched.bytes)
    try:
        with writing(db) as connection:
            tallies.count_fetched(connection, fetched.bytes)
    except StorageError as error:
        _log.warning("bytes that a report has fetched were not counted", reason=str(error))

"""Tells what a report has fetched from an object store: in its trace, and in the counters."""

from __future__ import annotations

import structlog
from sqlalchemy import Engine as Database

from reelport.errors import StorageError
from reelport.server.state import tallies
from reelport.server.state.database import writing
from reelport.server.state.tallies import FetchedAs
from reelport.server.traces import tracing
from reelport.storage.file_cache import Fetched

_log = structlog.get_logger()


def note_fetched(db: Database, fetched: Fetched) -> None:
    """Note the bytes in the span of the attempt, and count them; a lost state ends no report."""
    if not fetched.whole and not fetched.parts:
        return
    span = tracing.current_span()
    span.set("reelport.fetched.whole_bytes", fetched.whole)
    span.set("reelport.fetched.part_bytes", fetched.parts)
    try:
        with writing(db) as connection:
            tallies.count_fetched(connection, {FetchedAs.WHOLE: fetched.whole, FetchedAs.PARTS: fetched.parts})
    except StorageError as error:
        _log.warning("bytes that a report has fetched were not counted", reason=str(error))

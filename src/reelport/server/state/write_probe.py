"""Tests whether the state can be written, by writing a row: there is no other way to know.

A row may still fit into SQLite's log, whose blocks are used again, when the disk is full: the room is looked at too.
"""

from __future__ import annotations

import threading
import time

import structlog
from sqlalchemy import Engine, text

from reelport.errors import StorageError
from reelport.server.state.database import require_room, writing

FRESH_SECONDS = 2.0
"""Seconds that a result is cached."""

_PROBE = text("""
INSERT INTO moments (name, at)
VALUES ('probe', clock_ms())
ON CONFLICT (name) DO UPDATE
SET at = clock_ms()
""")
_log = structlog.get_logger()


class StateProbe:
    """Writes to the state, at most once in FRESH_SECONDS for all callers. Thread-safe."""

    def __init__(self, db: Engine) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._probed_at = float("-inf")
        self._writable = False

    def is_writable(self) -> bool:
        """Whether a row could be written within FRESH_SECONDS. Waits for other writers."""
        with self._lock:
            if time.monotonic() - self._probed_at >= FRESH_SECONDS:
                try:
                    with writing(self._db) as connection:
                        connection.execute(_PROBE)
                    require_room(self._db)
                    self._writable = True
                except StorageError as error:
                    _log.warning("the state can't be written", reason=str(error))
                    self._writable = False
                self._probed_at = time.monotonic()
            return self._writable

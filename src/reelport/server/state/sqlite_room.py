"""Tells a full disk from other errors of SQLite, which may call it an error of the disk."""

from __future__ import annotations

import sqlite3

_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
"""The second is told as a "disk I/O error": no room for the index of the write-ahead log, which readers need too."""


def is_full(error: sqlite3.Error) -> bool:
    """Whether SQLite failed because the disk is full."""
    # Errors that Python's sqlite3 module raises by itself have no error code.
    return getattr(error, "sqlite_errorcode", None) in _FULL

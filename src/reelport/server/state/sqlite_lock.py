"""Takes SQLite's lock of its one writer, in turn with other connections."""

from __future__ import annotations

import sqlite3
import time

_TRY_SECONDS = 0.002


def try_begin(driver: sqlite3.Connection, busy_seconds: int, read_seconds: float) -> bool:
    """Try every 2 ms to begin and take the writer's lock.

    False when it fails or `busy_seconds` have passed; `read_seconds` are left to readers after a wait. SQLite's own
    busy handler backs off up to 100 ms: the newest waiter is served first, and beside a busy process another one could
    starve for many seconds.
    """
    until = time.monotonic() + busy_seconds
    waited = False
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        while time.monotonic() < until:
            try:
                driver.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                if not is_busy(error):
                    return False
                waited = True
                time.sleep(_TRY_SECONDS)
            else:
                if waited:
                    # A writer shuts readers out only while it commits. Without this pause one commit would follow
                    # the other, and nobody could read in between.
                    time.sleep(read_seconds)
                return True
    finally:
        driver.execute(f"PRAGMA busy_timeout = {busy_seconds * 1000}")
    return False


def execute_once_free(driver: sqlite3.Connection, statement: str, busy_seconds: int) -> None:
    """Execute a statement for which SQLite itself waits for nobody.

    sqlite3.OperationalError when another connection still is in its way after `busy_seconds`.
    """
    until = time.monotonic() + busy_seconds
    while True:
        try:
            driver.execute(statement)
        except sqlite3.Error as error:
            if not is_busy(error) or time.monotonic() > until:
                raise
            time.sleep(_TRY_SECONDS)
        else:
            return


def is_busy(error: sqlite3.Error) -> bool:
    """Whether SQLite failed because another connection holds a lock."""
    # Errors that Python's sqlite3 module raises by itself have no error code.
    return bool(getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY)

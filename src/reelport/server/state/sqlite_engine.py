"""Opens a SQLite file for the state: its lock, connections and turns of writers.

Which journal it has, and what makes the write-ahead log safe with every SQLite, is in `write_ahead`. A commit into the
log leaves the sync of the disk to whoever made it, after its turn: others write meanwhile, and share the next sync
(group commit).
"""

from __future__ import annotations

import sqlite3
import time
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, exc
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, QueuePool

from reelport.errors import StorageError
from reelport.server.events import PIPES
from reelport.server.settings import Settings
from reelport.server.state.revisions import require_known_revision
from reelport.server.state.write_ahead import (
    SIZE_LIMIT,
    WRITE_AHEAD,
    ImmutableConnection,
    Journal,
    WriteAheadLog,
    choose_journal,
    is_immutable,
    open_file,
)
from reelport.storage.durable import describe_os_error

_TRY_SECONDS = 0.002
_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
"""The second is told as a "disk I/O error": no room for the index of the write-ahead log, which readers need too."""
BUSY_SECONDS = 30
"""Seconds that a connection waits for the lock of another writer."""
_LOG_PAUSE_SECONDS = 0.001
"""Pause between two transactions of a process, in which other processes can write."""
_PAUSE_SECONDS = 0.003
"""The same with the rollback journal, in which other processes can read too."""
_READ_SECONDS = 0.005
"""Pause with the rollback journal after a wait for another process, for readers that its commit kept out."""
_LOG_OPTION = "write_ahead_log"
_READS = "reads"
"""The name in a connection's `info` that says that its next transaction only reads."""


def execute_once_free(driver: sqlite3.Connection, statement: str, busy_seconds: float) -> bool:
    """Execute a statement for which SQLite itself doesn't wait, within `busy_seconds`.

    Returns whether it waited.
    """
    until, waited = time.monotonic() + busy_seconds, False
    while True:
        try:
            driver.execute(statement)
        except sqlite3.Error as error:
            if not is_busy(error) or time.monotonic() > until:
                raise
            waited = True
            time.sleep(_TRY_SECONDS)
        else:
            return waited


def is_busy(error: sqlite3.Error) -> bool:
    """Whether SQLite failed because another connection holds a lock."""
    # Errors that Python's sqlite3 module raises by itself have no error code.
    return bool(getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY)


def is_full(error: sqlite3.Error) -> bool:
    """Whether SQLite failed because the disk is full."""
    # Errors that Python's sqlite3 module raises by itself have no error code.
    return getattr(error, "sqlite_errorcode", None) in _FULL


def open_sqlite(settings: Settings) -> Engine:
    """Open the state file of these settings, and make it where there is none."""
    journal = choose_journal(settings.data)
    pauses = (_LOG_PAUSE_SECONDS, 0.0) if journal.is_write_ahead else (_PAUSE_SECONDS, _READ_SECONDS)
    log = WriteAheadLog(settings.state_file, BUSY_SECONDS, *pauses)
    db = create_engine(
        "sqlite://",
        creator=partial(open_file, settings.state_file, BUSY_SECONDS),
        poolclass=QueuePool,
        pool_size=10,
        max_overflow=40,
        execution_options={PIPES: settings.workers_root, _LOG_OPTION: log},
    )
    event.listen(db, "connect", partial(_configure_connection, journal, log))
    event.listen(db, "checkout", partial(_check_file, settings.state_file))
    # Neither by a listener: with one to an engine's events each statement takes half as long again. SQLAlchemy's driver
    # for SQLite begins no transaction itself.
    db.dialect.do_begin = _begin  # type: ignore[method-assign]
    db.dispose = partial(_dispose, db, log)  # type: ignore[method-assign]
    return db


def get_log(db: Engine) -> WriteAheadLog | None:
    """Get what lets an engine's writers take turns, with their log; None where many may write."""
    found: WriteAheadLog | None = db.get_execution_options().get(_LOG_OPTION)
    return found


def note_reading(connection: Connection) -> None:
    """Say that the next transaction only reads; by default it writes."""
    connection.info[_READS] = True


def _dispose(db: Engine, log: WriteAheadLog, close: bool = True) -> None:
    """Close an engine's connections, and the log, which would keep its disk from a remount."""
    Engine.dispose(db, close)
    log.close()


def _configure_connection(
    journal: Journal, log: WriteAheadLog, connection: sqlite3.Connection, _entry: ConnectionPoolEntry
) -> None:
    """Set up explicit transactions, durable commits and foreign keys for a connection."""
    log.set_aside_foreign_log()
    connection.isolation_level = None
    connection.create_function("clock_ms", 0, lambda: time.time_ns() // 1_000_000)
    _set_journal(connection, journal)
    connection.execute("PRAGMA wal_autocheckpoint = 0")  # see `write_ahead`
    connection.execute(f"PRAGMA journal_size_limit = {SIZE_LIMIT}")
    # See `write_ahead`: whoever commits into the log syncs it afterwards.
    connection.execute(f"PRAGMA synchronous = {'NORMAL' if journal.is_write_ahead else 'FULL'}")
    connection.execute("PRAGMA foreign_keys = ON")


def _set_journal(connection: sqlite3.Connection, journal: Journal) -> None:
    """Set the journal of a connection; NewerData where that would change a newer version's.

    Beside its running service it could not be changed, and that would be told as a lock.
    """
    ((mode,),) = connection.execute("PRAGMA journal_mode").fetchall()
    if (mode.upper() == WRITE_AHEAD) != journal.is_write_ahead:
        has_revision = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'alembic_version'").fetchall()
        for (found,) in connection.execute("SELECT version_num FROM alembic_version") if has_revision else ():
            require_known_revision(found)
    statement = f"PRAGMA journal_mode = {journal.mode}"
    if journal.is_write_ahead:
        # Processes that open a new file at the same moment all change it from SQLite's first journal.
        execute_once_free(connection, statement, BUSY_SECONDS)
    else:
        connection.execute(statement)


def _check_file(file: Path, connection: object, entry: ConnectionPoolEntry, _proxy: object) -> None:
    """Discard a connection whose file was removed or replaced, or may be written again."""
    if isinstance(connection, ImmutableConnection) and not is_immutable(file):
        raise exc.DisconnectionError
    try:
        found = file.stat()
    except OSError as error:
        raise StorageError(f"The state database can't be used: {file}: {describe_os_error(error)}.") from error
    if entry.info.setdefault("file", (found.st_dev, found.st_ino)) != (found.st_dev, found.st_ino):
        raise exc.DisconnectionError


def _begin(dbapi_connection: PoolProxiedConnection) -> None:
    """Begin a transaction; a writer takes its lock before it reads, so that no update is lost."""
    driver: sqlite3.Connection = dbapi_connection.driver_connection  # type: ignore[assignment]
    driver.execute("BEGIN" if dbapi_connection.info.pop(_READS, False) else "BEGIN IMMEDIATE")

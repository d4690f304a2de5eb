"""Opens, migrates, reads and writes the state database, SQLite or PostgreSQL.

This module knows nothing of the tables' content.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, exc, text
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, QueuePool

from reelport.errors import DiskFull, NewerData, StorageError
from reelport.facts.layout import check_layout
from reelport.server.events.bus import OPTION, UNCOMMITTED, EventBus
from reelport.server.events.event import Event
from reelport.server.events.installation import open_bus
from reelport.server.settings import Settings
from reelport.server.state.journal import WRITE_AHEAD, Journal, choose_journal
from reelport.server.state.postgresql_engine import open_postgresql, unhurried
from reelport.server.state.revisions import REVISION, migrate, read_revision, require_known_revision
from reelport.server.state.sqlite_lock import is_busy, try_begin
from reelport.server.state.write_ahead import SIZE_LIMIT, ImmutableConnection, WriteAheadLog, is_immutable, open_file
from reelport.server.state.write_queue import WriteQueue
from reelport.storage.durable import describe_os_error, full_disk_sentence
from reelport.storage.modes import private

T = TypeVar("T")

BUSY_SECONDS = 30
_LOG_PAUSE_SECONDS = 0.001
"""Pause between two transactions of a process, in which other processes can write."""
_PAUSE_SECONDS = 0.003
"""The same with the rollback journal, in which other processes can read too."""
_READ_SECONDS = 0.005
"""Pause with the rollback journal after a wait for the writer's lock, for readers that a commit kept out."""
# PostgreSQL raises InternalError when it takes no writes now: a standby, or one that was set to read only.
_UNAVAILABLE = frozenset({DatabaseError, OperationalError, exc.InternalError})
_NO_PRIVILEGE = "42501"
_GRANT = " Grant it to the user of REELPORT_DATABASE_URL, which makes and changes the tables (GRANT CREATE ON SCHEMA)."
_UPGRADE_LOCK = 7_236_118_642
_KIND = "kind"
"""The name in a connection's `info` of the kind of its next transaction."""
_LEVEL = "synchronous"
"""The name there of SQLite's setting of that name, as it was set last."""


class _Kind(Enum):
    """What a transaction does: only read, or write with a commit that is synced or not."""

    READING = auto()
    SYNCED = auto()
    UNSYNCED = auto()


class StateBusy(StorageError):
    """The SQLite file is locked by a commit: try again a moment later."""


class StateUnavailable(StorageError):
    """PostgreSQL can't be reached, or takes no writes now: it may come back by itself."""


@contextmanager
def connected(settings: Settings) -> Iterator[Engine]:
    """Open the state database within the block, as `connect` does."""
    db = connect(settings)
    try:
        yield db
    finally:
        db.dispose()


def connect(settings: Settings) -> Engine:
    """Open the state database and migrate it.

    StorageError when that fails, NewerData when a newer version made it.
    """
    check_layout(settings.data)
    db = open_database(settings)
    try:
        with private():
            upgrade(db)
    except Exception:  # raised again; the connections must not stay open
        db.dispose()
        raise
    return db


def open_database(settings: Settings, *, is_unhurried: bool = False) -> Engine:
    """Open the state database without migrating it, as to diagnose a damaged one.

    `is_unhurried`: of PostgreSQL any statement may take as long as it does, as those of a copy of the state.
    """
    options: dict[str, object] = {OPTION: open_bus(settings)}
    if settings.database_url:
        return open_postgresql(settings.database_url, options, is_unhurried=is_unhurried)
    journal = choose_journal(settings.data)
    log = WriteAheadLog(settings.state_file, BUSY_SECONDS)
    pause = _LOG_PAUSE_SECONDS if journal.is_write_ahead else _PAUSE_SECONDS
    db = create_engine(
        "sqlite://",
        creator=partial(open_file, settings.state_file, BUSY_SECONDS),
        poolclass=QueuePool,
        pool_size=10,
        max_overflow=40,
        execution_options={
            **options,
            "write_queue": WriteQueue(pause),
            "write_ahead_log": log if journal.is_write_ahead else None,
        },
    )
    event.listen(db, "connect", partial(_configure_connection, journal, log))
    event.listen(db, "checkout", partial(_check_file, settings.state_file))
    _begin_by(db, journal)
    # Not by a listener: with one to an engine's events each statement takes half as long again.
    db.dispose = partial(_dispose, db, log)  # type: ignore[method-assign]
    return db


def _dispose(db: Engine, log: WriteAheadLog, close: bool = True) -> None:
    """Close the connections of an engine, and the log.

    A log that SQLite has removed would else keep its disk from being remounted.
    """
    Engine.dispose(db, close)
    log.close()


def open_reader(settings: Settings) -> Engine:
    """Open the SQLite file read-only for one thread, without waiting for locks.

    StateBusy while a commit runs.
    """
    db = create_engine(
        "sqlite://",
        creator=partial(open_file, settings.state_file, 0),
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
    )
    log = WriteAheadLog(settings.state_file, 0)
    event.listen(db, "connect", partial(_configure_reader, log))
    event.listen(db, "checkout", partial(_check_file, settings.state_file))
    _begin_by(db, choose_journal(settings.data))
    return db


def _configure_connection(
    journal: Journal, log: WriteAheadLog, connection: sqlite3.Connection, _entry: ConnectionPoolEntry
) -> None:
    """Set up explicit transactions, durable commits and foreign keys for a connection."""
    with _close_on_error(connection):
        log.set_aside_foreign_log()
        connection.isolation_level = None
        connection.create_function("clock_ms", 0, lambda: time.time_ns() // 1_000_000)
        _set_journal(connection, journal)
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # see `write_ahead`
        connection.execute(f"PRAGMA journal_size_limit = {SIZE_LIMIT}")
        connection.execute("PRAGMA synchronous = FULL")
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
    connection.execute(f"PRAGMA journal_mode = {journal.mode}")


def _configure_reader(log: WriteAheadLog, connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    with _close_on_error(connection):
        log.set_aside_foreign_log()
        connection.isolation_level = None
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA query_only = ON")


@contextmanager
def _close_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    """Close a connection that can't be set up, as on a read-only disk.

    The pool would forget it without closing it.
    """
    try:
        yield
    except (sqlite3.Error, StorageError, NewerData):
        connection.close()
        raise


def _check_file(file: Path, connection: object, entry: ConnectionPoolEntry, _proxy: object) -> None:
    """Discard a connection whose file was removed or replaced, or may be written again.

    The connection would still read and write the old file.
    """
    if isinstance(connection, ImmutableConnection) and not is_immutable(file):
        raise exc.DisconnectionError
    try:
        found = file.stat()
    except OSError as error:
        raise StorageError(f"The state database can't be used: {file}: {describe_os_error(error)}.") from error
    if entry.info.setdefault("file", (found.st_dev, found.st_ino)) != (found.st_dev, found.st_ino):
        raise exc.DisconnectionError


def _begin_by(db: Engine, journal: Journal) -> None:
    """Let an engine begin its transactions by `_begin`.

    SQLAlchemy's driver for SQLite begins none itself. A listener to its event `begin` would do, but with any listener
    to events of its kind each connection and each statement takes half as long again.
    """
    db.dialect.do_begin = partial(_begin, journal)  # type: ignore[method-assign]


def _begin(journal: Journal, connection: PoolProxiedConnection) -> None:
    """Begin a transaction; a writer takes its lock at once.

    Reading first and locking later could lose an update.
    """
    driver: sqlite3.Connection = connection.driver_connection  # type: ignore[assignment]
    kind = connection.info.pop(_KIND, _Kind.SYNCED)
    if kind is _Kind.READING:
        driver.execute("BEGIN")
        return
    level = "NORMAL" if kind is _Kind.UNSYNCED and journal.is_write_ahead else "FULL"
    if connection.info.get(_LEVEL, "FULL") != level:  # it can't be set within a transaction, and stays afterwards
        driver.execute(f"PRAGMA synchronous = {level}")
        connection.info[_LEVEL] = level
    if not try_begin(driver, BUSY_SECONDS, _READ_SECONDS if not journal.is_write_ahead else 0):
        driver.execute("BEGIN IMMEDIATE")


@contextmanager
def reading(db: Engine) -> Iterator[Connection]:
    """Run the block in a transaction that only reads; it blocks no writer."""
    with _translate_errors(), db.connect() as connection:
        connection.info[_KIND] = _Kind.READING
        with connection.begin():
            yield connection


@contextmanager
def writing(db: Engine, *, synced: bool = True, seen_early: bool = False) -> Iterator[Connection]:
    """Run the block in a transaction that writes: commit at its end, roll back on an error.

    On SQLite the writers of one process take turns by a lock. Unless `synced`, its commit may be undone by the end of
    the machine, though not of any process, until a later one is synced or `sync_commits` is called. With `seen_early`
    others may see the commit a moment before it is on the disk; the end of the block and its events come afterwards.
    """
    queue, log = _get_queue(db), _get_log(db)
    is_early = seen_early and log is not None
    with _announcing(db) as events:
        with (
            nullcontext() if queue is None else queue.turn(),
            _committing(db, events, synced=synced and not is_early) as connection,
        ):
            yield connection
        if is_early:
            sync_commits(db)  # while others write


def write(db: Engine, work: Callable[[Connection], T], *, seen_early: bool = False) -> T:
    """Call `work` in a transaction that writes and return its result.

    Its error rolls it back and is raised here. On SQLite writes of several threads share one transaction (group
    commit): another thread may call `work`. With `seen_early` others may see the commit, and hear of it, a moment
    before it is on the disk; this returns afterwards.
    """
    queue = _get_queue(db)
    if queue is None:
        with _transaction(db) as connection:
            return work(connection)
    log = _get_log(db)
    if log is None or not seen_early:
        return queue.run(lambda: _transaction(db), work)
    return queue.run(lambda: _transaction(db, synced=False), work, log.sync)


def sync_commits(db: Engine) -> None:
    """Return once all that any process committed is on the disk.

    StorageError when the disk fails.
    """
    log = _get_log(db)
    if log is not None:
        log.sync()


def require_room(db: Engine) -> None:
    """Raise DiskFull when no room is left for a SQLite state; PostgreSQL tells by itself."""
    log = _get_log(db)
    if log is not None:
        log.require_room()


@contextmanager
def _transaction(db: Engine, *, synced: bool = True) -> Iterator[Connection]:
    with _announcing(db) as events, _committing(db, events, synced=synced) as connection:
        yield connection


@contextmanager
def _announcing(db: Engine) -> Iterator[list[Event]]:
    """Announce after the block the events that a transaction of it published."""
    events: list[Event] = []
    yield events
    bus: EventBus = db.get_execution_options()[OPTION]
    for each in events:
        bus.announce(each)


@contextmanager
def _committing(db: Engine, events: list[Event], *, synced: bool) -> Iterator[Connection]:
    log = _get_log(db)
    with nullcontext() if log is None else log.hold(db), _translate_errors(), db.connect() as connection:
        connection.execution_options(**{UNCOMMITTED: events})
        connection.info[_KIND] = _Kind.SYNCED if synced else _Kind.UNSYNCED
        with connection.begin():
            yield connection


def _get_log(db: Engine) -> WriteAheadLog | None:
    found: WriteAheadLog | None = db.get_execution_options().get("write_ahead_log")
    return found


def _get_queue(db: Engine) -> WriteQueue | None:
    found: WriteQueue | None = db.get_execution_options().get("write_queue")
    return found


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        if getattr(error.orig, "sqlstate", None) == _NO_PRIVILEGE:
            raise StorageError(f"The state database can't be used: {_first_line(error)}.{_GRANT}") from error
        # Other subclasses are errors in our own statements: raise them unchanged.
        if type(error) not in _UNAVAILABLE:
            raise
        sentence = f"The state database can't be used: {_first_line(error)}."
        raise _choose_error(error)(sentence) from error


def _choose_error(error: DatabaseError) -> type[StorageError]:
    if isinstance(error.orig, sqlite3.Error) and is_busy(error.orig):
        return StateBusy
    if full_disk_sentence(str(error.orig)):
        return DiskFull
    return StorageError if isinstance(error.orig, sqlite3.Error) else StateUnavailable


def _first_line(error: DatabaseError) -> str:
    return (str(error.orig).strip().splitlines() or ["no reason given"])[0].rstrip(".")


def upgrade(db: Engine) -> None:
    """Migrate the database to REVISION; of several processes one does it while the others wait."""
    with reading(db) as connection:
        if (found := read_revision(connection)) == REVISION:
            return
    require_known_revision(found)  # before any lock is waited for that a newer service may hold
    with writing(db) as connection:
        upgrade_within(connection)


def upgrade_within(connection: Connection) -> None:
    """Migrate the database to REVISION in this transaction, one process at a time."""
    with unhurried(connection):
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _UPGRADE_LOCK})
        migrate(connection)

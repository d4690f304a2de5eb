"""Opens, migrates, reads and writes the state database, SQLite or PostgreSQL."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from sqlalchemy import Connection, Engine, exc, text
from sqlalchemy.exc import DatabaseError, OperationalError

from reelport.errors import DiskFull, StorageError
from reelport.facts.layout import check_layout
from reelport.server.events import AFTER_COMMIT
from reelport.server.settings import Settings
from reelport.server.state.postgresql_engine import open_postgresql, unhurried
from reelport.server.state.revisions import REVISION, migrate, read_revision, require_known_revision
from reelport.server.state.sqlite_engine import get_log, is_busy, is_full, note_reading, open_sqlite
from reelport.server.state.state_record import describe_empty, describe_missing, find_traces, record_state
from reelport.server.state.write_ahead import StateLocked
from reelport.storage.durable import FULL_DISK, full_disk_sentence, private

T = TypeVar("T")

# PostgreSQL raises InternalError when it takes no writes now: a standby, or one that was set to read only.
_UNAVAILABLE = frozenset({DatabaseError, OperationalError, exc.InternalError})
_NO_PRIVILEGE = "42501"
_DEADLOCK = "40P01"
_GRANT = " Grant it to the user of REELPORT_DATABASE_URL, which makes and changes the tables (GRANT CREATE ON SCHEMA)."
_UPGRADE_LOCK = 7_236_118_642
_OUTAGE_PAUSE_SECONDS = 0.5


class StateUnavailable(StorageError):
    """PostgreSQL can't be reached, or takes no writes now: it may come back by itself."""


@contextmanager
def connected(settings: Settings, *, make: bool = True) -> Iterator[Engine]:
    """Open the state as `connect` does; unless `make`, an empty one stands for none."""
    with ExitStack() as stack:
        db = _open_state(settings, make=make)
        if db is None:
            folder = stack.enter_context(TemporaryDirectory(prefix="reelport-state-"))
            db = connect(replace(settings, data=Path(folder), database_url=""))
        stack.callback(db.dispose)
        yield db


def connect(settings: Settings) -> Engine:
    """Open the state, and migrate or make it. StorageError when it fails or is missing."""
    db = _open_state(settings, make=True)
    assert db is not None  # noqa: S101 - it was made
    return db


def _open_state(settings: Settings, *, make: bool) -> Engine | None:
    traces = find_traces(settings)
    check_layout(settings.data)
    _refuse(describe_missing(settings, traces))
    if not (make or settings.database_url or settings.state_file.exists()):
        return None
    with ExitStack() as unless_open:  # the connections must not stay open
        db = open_database(settings)
        unless_open.callback(db.dispose)
        with private():
            with reading(db) as connection:
                found = read_revision(connection)
            if found is None:
                _refuse(describe_empty(settings, traces))
                if not make:
                    return None
            if found != REVISION:
                upgrade(db)
            record_state(settings, is_new=found is None)
        unless_open.pop_all()
        return db


def open_database(settings: Settings, *, is_unhurried: bool = False) -> Engine:
    """Open the state unmigrated; in PostgreSQL statements take their time if `is_unhurried`."""
    if settings.database_url:
        return open_postgresql(settings.database_url, is_unhurried=is_unhurried)
    return open_sqlite(settings)


@contextmanager
def opened(settings: Settings, *, is_unhurried: bool = False) -> Iterator[Engine]:
    """Open the state database within the block, as `open_database` does."""
    db = open_database(settings, is_unhurried=is_unhurried)
    try:
        yield db
    finally:
        db.dispose()


@contextmanager
def reading(db: Engine) -> Iterator[Connection]:
    """Run the block in a transaction that only reads; it blocks no writer."""
    with _translate_errors(), db.connect() as connection:
        note_reading(connection)
        with connection.begin():
            yield connection


@contextmanager
def writing(db: Engine, *, synced: bool = True) -> Iterator[Connection]:
    """Run the block in a transaction that writes: commit at its end, roll back on an error.

    On SQLite the writers of one process take turns. Others may see a commit a moment before it is on the disk; the end
    of the block and its events come afterwards. Unless `synced`, they don't wait for that: the commit may be undone by
    the end of the machine, though not of any process, until a later one is synced or `sync_commits` is called.
    """
    after_commit: list[Callable[[], object]] = []
    log = get_log(db)
    with nullcontext() if log is None else log.hold(db), _translate_errors(), db.connect() as connection:
        connection.execution_options(**{AFTER_COMMIT: after_commit})
        with connection.begin():
            yield connection
    if synced:
        sync_commits(db)  # while others write
    for announce in after_commit:
        announce()


def sync_commits(db: Engine) -> None:
    """Return once all that was committed is on the disk; StorageError when the disk fails."""
    if (log := get_log(db)) is not None:
        log.sync()


def require_room(db: Engine) -> None:
    """Raise DiskFull when no room is left for a SQLite state; PostgreSQL tells by itself."""
    if (log := get_log(db)) is not None:
        log.require_room()


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
        kind = _choose_error(error)
        reason = FULL_DISK if kind is DiskFull and isinstance(error.orig, sqlite3.Error) else _first_line(error)
        raise kind(f"The state database can't be used: {reason}.") from error


def _choose_error(error: DatabaseError) -> type[StorageError]:
    if isinstance(error.orig, sqlite3.Error) and is_busy(error.orig):
        return StateLocked
    if full_disk_sentence(str(error.orig)) or (isinstance(error.orig, sqlite3.Error) and is_full(error.orig)):
        return DiskFull
    return StorageError if isinstance(error.orig, sqlite3.Error) else StateUnavailable


def _first_line(error: DatabaseError) -> str:
    return (str(error.orig).strip().splitlines() or ["no reason given"])[0].rstrip(".")


def sit_out(work: Callable[[], T], stopping: threading.Event) -> T:
    """Return the result of `work`, done again while the state is unavailable or locked.

    Raises what it was refused by once `stopping` is set. An outage may hide that a commit went through: what is done
    twice must be as if it was done once.
    """
    while True:
        try:
            return work()
        except (StateUnavailable, StateLocked):
            if stopping.wait(_OUTAGE_PAUSE_SECONDS):
                raise


def read_state_revision(settings: Settings) -> str | None:
    """Read the state's revision; None for one never made, StorageError for a missing one."""
    traces = find_traces(settings)
    _refuse(describe_missing(settings, traces))
    if not settings.database_url and not settings.state_file.exists():
        return None
    with opened(settings) as db, reading(db) as connection:
        found = read_revision(connection)
    if found is None:
        _refuse(describe_empty(settings, traces))
    return found


def _refuse(fault: str | None) -> None:
    if fault is not None:
        raise StorageError(fault)


def upgrade(db: Engine) -> None:
    """Migrate the database to REVISION; of several processes one does it while the others wait."""
    with reading(db) as connection:
        if (found := read_revision(connection)) == REVISION:
            return
    require_known_revision(found)  # before any lock is waited for that a newer service may hold
    for is_last in (False, False, False, False, True):
        try:
            with writing(db) as connection:
                upgrade_within(connection)
        except StateUnavailable as error:
            # Processes of the release before go on meanwhile, and lock the same tables in another order.
            if is_last or getattr(getattr(error.__cause__, "orig", None), "sqlstate", None) != _DEADLOCK:
                raise
        else:
            return


def upgrade_within(connection: Connection) -> None:
    """Migrate the database, one process at a time, to the end of this transaction."""
    with unhurried(connection):
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _UPGRADE_LOCK})
        migrate(connection)

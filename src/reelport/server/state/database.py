"""The state database: how it is opened, brought up to date, read and written; SQLite or PostgreSQL.

It refuses to know what is in it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from reelport.errors import DiskFull, InternalError, NewerData, StorageError, UsageError
from reelport.facts.durable import full_disk, reason_of
from reelport.facts.layout import check_layout
from reelport.facts.modes import private
from reelport.server.masking import EXAMPLE
from reelport.server.settings import Settings
from reelport.server.state.journal import Journal, choose_journal
from reelport.server.state.write_queue import WriteQueue

if TYPE_CHECKING:
    from alembic.config import Config

T = TypeVar("T")

REVISION = "0007"
"""The newest migration: what this version of Reelport reads and writes."""

BUSY_SECONDS = 30
_TRY_SECONDS = 0.002
_READ_SECONDS = 0.005
"""Time between two commits in which those read whom a commit keeps out."""
# The last is for a server that takes no writes now: a standby, or one that was set to read only.
_AWAY = frozenset({DatabaseError, OperationalError, exc.InternalError})
_NO_PRIVILEGE = "42501"
_GRANT = " Grant it to the user of REELPORT_DATABASE_URL, which makes and changes the tables (GRANT CREATE ON SCHEMA)."
_UNCLEAR = (
    "REELPORT_DATABASE_URL: it isn't clear where its password ends: in a user's name and a password write @ as %40, "
    "/ as %2F, : as %3A, % as %25; in what follows them @ as %40."
)
_UPGRADE_LOCK = 7_236_118_642


class StateBusy(StorageError):
    """Another one commits to the SQLite file, and a moment later it can be read."""


def connect(settings: Settings) -> Engine:
    """The state database, brought up to date; StorageError when it can't be, NewerData when it is ahead of us."""
    check_layout(settings.data)
    db = open_database(settings)
    try:
        with private():
            upgrade(db)
    except Exception:  # whatever it was goes on to the caller; the connections must not stay behind
        db.dispose()
        raise
    return db


def open_database(settings: Settings) -> Engine:
    """The state database as it is, not brought up to date: for a look at one that may be out of order."""
    if settings.database_url:
        return create_engine(parse_address(settings.database_url), pool_pre_ping=True, pool_size=10, max_overflow=40)
    db = create_engine(
        URL.create("sqlite", database=str(settings.state_file)),
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
        poolclass=QueuePool,
        pool_size=10,
        max_overflow=40,
        execution_options={"write_queue": WriteQueue()},
    )
    event.listen(db, "connect", partial(_configure_connection, choose_journal(settings.data)))
    event.listen(db, "checkout", partial(_check_file, settings.state_file))
    event.listen(db, "begin", _begin)
    return db


def open_reader(settings: Settings) -> Engine:
    """The SQLite file for one thread that only reads, and waits for nothing: StateBusy while somebody commits."""
    db = create_engine(
        URL.create("sqlite", database=str(settings.state_file)),
        connect_args={"timeout": 0, "check_same_thread": False},
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
    )
    event.listen(db, "connect", _configure_reader)
    event.listen(db, "checkout", partial(_check_file, settings.state_file))
    event.listen(db, "begin", _begin)
    return db


def parse_address(address: str) -> URL:
    """The address of a PostgreSQL; UsageError, which repeats nothing of it, when it can't be read in one way."""
    if address.count("@") > 1:
        raise UsageError(_UNCLEAR)
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise UsageError(f"REELPORT_DATABASE_URL: not the address of a database: {EXAMPLE}.") from None
    if url.get_backend_name().lower() not in {"postgresql", "postgres"}:
        raise UsageError(
            "REELPORT_DATABASE_URL: only postgresql:// and postgres:// are known; leave it empty for SQLite."
        )
    # A part of the password would be taken for the database or an option, and be named in errors.
    if "@" in address and url.username is None:
        raise UsageError(_UNCLEAR)
    return url.set(drivername="postgresql+psycopg")


def _configure_connection(journal: Journal, connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    """Transactions begin by our word alone, are durable, and keep to the foreign keys."""
    connection.isolation_level = None
    connection.create_function("clock_ms", 0, lambda: time.time_ns() // 1_000_000)
    connection.execute(f"PRAGMA journal_mode = {journal.mode}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _configure_reader(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA query_only = ON")


def _check_file(file: Path, _connection: object, entry: ConnectionPoolEntry, _proxy: object) -> None:
    """A connection to a file that was removed or replaced would go on with what it was, and see nobody's changes."""
    try:
        found = file.stat()
    except OSError as error:
        raise StorageError(f"The state database can't be used: {file}: {reason_of(error)}.") from error
    if entry.info.setdefault("file", (found.st_dev, found.st_ino)) != (found.st_dev, found.st_ino):
        raise exc.DisconnectionError


def _begin(connection: Connection) -> None:
    """A writer takes its lock at the start: one that reads first and writes later could lose an update."""
    if connection.get_execution_options().get("reads", False):
        connection.exec_driver_sql("BEGIN")
        return
    driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    if not _try_begin(driver):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _try_begin(driver: sqlite3.Connection) -> bool:
    """Try for the writer's lock every few milliseconds, and say whether it came.

    SQLite's own wait pauses the longer the longer it has waited, up to 100 ms: whoever came last is served first, and
    beside a busy process another one could wait for many seconds.
    """
    until = time.monotonic() + BUSY_SECONDS
    waited = False
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        while time.monotonic() < until:
            try:
                driver.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                if not _is_busy(error):
                    return False
                waited = True
                time.sleep(_TRY_SECONDS)
            else:
                if waited:
                    # Whoever has the lock keeps readers out only while it commits: else one commit would follow
                    # another, and nobody would read in between.
                    time.sleep(_READ_SECONDS)
                return True
    finally:
        driver.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    return False


@contextmanager
def reading(db: Engine) -> Iterator[Connection]:
    """A transaction that only reads, and keeps nobody from writing."""
    with _translate_errors(), db.connect().execution_options(reads=True) as connection, connection.begin():
        yield connection


@contextmanager
def writing(db: Engine) -> Iterator[Connection]:
    """A transaction that writes: whole at its end, gone on an error. Writers of one process are let in in order."""
    queue = _get_queue(db)
    with nullcontext() if queue is None else queue.writer_lock, _transaction(db) as connection:
        yield connection


def write(db: Engine, work: Callable[[Connection], T]) -> T:
    """What `work` gives in a transaction that writes; its error takes back all that it did, and is raised here.

    On SQLite what several threads write at a moment is brought to the disk at once: `work` may be called by another
    thread than the caller's.
    """
    queue = _get_queue(db)
    if queue is not None:
        return queue.run(lambda: _transaction(db), work)
    with _transaction(db) as connection:
        return work(connection)


@contextmanager
def _transaction(db: Engine) -> Iterator[Connection]:
    with _translate_errors(), db.begin() as connection:
        yield connection


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
        # Its other subclasses tell of our own statements, and are for whoever made them.
        if type(error) not in _AWAY:
            raise
        sentence = f"The state database can't be used: {_first_line(error)}."
        raise _choose_error(error)(sentence) from error


def _choose_error(error: DatabaseError) -> type[StorageError]:
    if isinstance(error.orig, sqlite3.Error) and _is_busy(error.orig):
        return StateBusy
    return DiskFull if full_disk(str(error.orig)) else StorageError


def _is_busy(error: sqlite3.Error) -> bool:
    # Errors of the module itself have no code of SQLite's.
    return bool(getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY)


def _first_line(error: DatabaseError) -> str:
    return (str(error.orig).strip().splitlines() or ["no reason given"])[0].rstrip(".")


def load_statements(name: str) -> dict[str, str]:
    """The statements of `server/{name}.sql` by their names: each begins with a line `-- name: what it does`."""
    statements: dict[str, list[str]] = {}
    body: list[str] = []
    for line in resources.files("reelport.server").joinpath(f"{name}.sql").read_text("utf-8").splitlines():
        if line.startswith("-- ") and ":" in line:
            body = statements.setdefault(line[3:].split(":")[0], [])
        body.append(line)
    return {key: "\n".join(lines) for key, lines in statements.items()}


def read_revision(connection: Connection) -> str | None:
    """The migration that the database stands at; None when it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def upgrade(db: Engine) -> None:
    """Bring the database up to date; of several processes at the same moment one does it and the others wait."""
    with reading(db) as connection:
        if read_revision(connection) == REVISION:
            return
    with writing(db) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _UPGRADE_LOCK})
        _migrate(connection)


def describe_newer_revision(found: str | None) -> str | None:
    """What to say of a database at this revision when a newer version of Reelport made it; None when we know it."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - only where the revision is not the newest one

    known = {script.revision for script in ScriptDirectory.from_config(_make_migration_config()).walk_revisions()}
    if found is None or found in known:
        return None
    return f"The state database is at revision {found}, this version of Reelport knows {REVISION}: update Reelport."


def _make_migration_config() -> Config:
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", "reelport.server.state:migrations")
    return config


def _migrate(connection: Connection) -> None:
    # Imported here: a start that finds everything up to date need not wait for it.
    from alembic import command  # noqa: PLC0415 - see above

    if sentence := describe_newer_revision(read_revision(connection)):
        raise NewerData(sentence)
    config = _make_migration_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    if read_revision(connection) != REVISION:
        raise InternalError("The migrations don't lead to the revision that the code expects.")

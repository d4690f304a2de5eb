"""Opens a SQLite file for the state: its journal, lock, connections and queue of writers.

The journal is the write-ahead log (WAL) on a local file system, whose processes share memory; else the rollback
journal. What makes the log safe with every SQLite is in `write_ahead`.

Writes of several threads share one transaction (group commit), and so one sync of the disk. SQLite has one writer at a
time, and a commit waits for the disk. Threads that come during a commit queue up, and the next one of them writes for
all.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, exc
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, QueuePool

from reelport.errors import NewerData, StorageError
from reelport.server.settings import Settings
from reelport.server.state.revisions import require_known_revision
from reelport.server.state.write_ahead import SIZE_LIMIT, ImmutableConnection, WriteAheadLog, is_immutable, open_file
from reelport.storage.durable import describe_os_error

T = TypeVar("T")
Begin = Callable[[], AbstractContextManager[Connection]]
"""Begins a transaction that writes; raises StorageError when the state can't be used."""
Sync = Callable[[], object]
"""Returns once what was committed is on the disk; raises StorageError when it can't be."""
MOST = 50
"""Most pieces of work in one transaction: as many are lost when its commit fails."""


@dataclass(eq=False, slots=True)
class _Work:
    """One thread's work and result; `woken` when done, or when it is to write the next batch."""

    begin: Begin
    do: Callable[[Connection], Any]
    sync: Sync | None
    woken: threading.Event = field(default_factory=threading.Event)
    done: bool = False
    result: Any = None
    error: Exception | None = None

    def attempt(self, connection: Connection) -> None:
        """Do the work within a savepoint, so that its error rolls back nothing of the others'."""
        try:
            with connection.begin_nested():
                self.result = self.do(connection)
        except IntegrityError as error:
            self.error = error
        except (DBAPIError, StorageError):  # the state itself failed: that fails the whole batch
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the thread whose work this is
            self.error = error


class WriteQueue:
    """Queues the writes of one process to one SQLite file.

    The first thread that waits writes for all that do, and then wakes each of them and the first of those that came
    meanwhile. None of them has to get a lock to learn that its work is done.
    """

    def __init__(self, pause_seconds: float) -> None:
        """`pause_seconds` is left between two transactions, for other processes."""
        self._pause_seconds = pause_seconds
        self._writer_lock = threading.Lock()
        self._waiting_lock = threading.Lock()
        self._waiting: list[_Work] = []
        self._is_led = False
        self._ended_at = -pause_seconds

    def __len__(self) -> int:
        """The number of pieces of work that no batch holds yet."""
        return len(self._waiting)

    def run(self, begin: Begin, do: Callable[[Connection], T], sync: Sync | None = None) -> T:
        """Return the result of `do` once it is on the disk; StorageError when that fails.

        Where a commit of `begin` doesn't see to that, `sync` does, once for all that are committed together.
        """
        own = _Work(begin, do, sync)
        try:
            with self._waiting_lock:
                self._waiting.append(own)
                if not self._is_led:
                    self._is_led = True
                    own.woken.set()
            own.woken.wait()
            if not own.done:
                self._write_batch()
        except BaseException:  # a thread that is stopped hands its turn on, or all that wait would wait for ever
            self._give_up(own)
            raise
        if own.error is not None:
            raise own.error
        result: T = own.result
        return result

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep the other threads' writes out of the block, which is one transaction."""
        with self._writer_lock:
            if (left := self._ended_at + self._pause_seconds - time.monotonic()) > 0:
                time.sleep(left)
            try:
                yield
            finally:
                self._ended_at = time.monotonic()

    def _write_batch(self) -> None:
        batch: list[_Work] = []
        with _answering(batch):
            with self.turn():
                with self._waiting_lock:
                    batch += self._waiting[:MOST]
                    del self._waiting[:MOST]
                # Work that nobody may see before it is on the disk decides for the whole batch.
                strictest = next((each for each in batch if each.sync is None), batch[0])
                try:
                    _write(strictest.begin, batch)
                finally:
                    self._wake_next()
            # Also beside strict work: its commit syncs nothing when nobody wrote, and an early one may go by what
            # another batch wrote just before.
            if (sync := next((each.sync for each in batch if each.sync is not None), None)) is not None:
                sync()

    def _wake_next(self) -> None:
        """Have the thread that waits longest write the next batch."""
        with self._waiting_lock:
            self._is_led = bool(self._waiting)
            if self._waiting:
                self._waiting[0].woken.set()

    def _give_up(self, own: _Work) -> None:
        """Forget the work of a thread that is interrupted; another one writes in its place."""
        with self._waiting_lock:
            is_waiting = own in self._waiting
            if is_waiting:
                self._waiting.remove(own)
        if is_waiting and own.woken.is_set():
            self._wake_next()


def _write(begin: Begin, batch: list[_Work]) -> None:
    with begin() as connection:
        match batch:
            case [only]:  # needs no savepoint: its error rolls back the whole transaction
                only.result = only.do(connection)
            case _:
                for each in batch:
                    each.attempt(connection)


@contextmanager
def _answering(batch: list[_Work]) -> Iterator[None]:
    """Wake the threads of a batch after the block; an error of it is raised in each of them."""
    try:
        yield
    except Exception as error:
        if not batch:
            raise
        _fail(batch, error)
    except BaseException:  # the process is being stopped: fail the other threads' work, and raise it again
        _fail(batch, StorageError("The process is being stopped: nothing is known to be written."))
        raise
    finally:
        for each in batch:
            each.done = True
            each.woken.set()


def _fail(batch: list[_Work], error: Exception) -> None:
    for each in batch:
        each.error = each.error or error


LOCAL = frozenset(
    {"apfs", "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "reiserfs", "tmpfs", "xfs", "zfs"}
)
"""Local file systems: the write-ahead log needs memory that all of its processes share."""
WRITE_AHEAD = "WAL"
_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")
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
"""Pause with the rollback journal after a wait for the writer's lock, for readers that a commit kept out."""
_QUEUE_OPTION, _LOG_OPTION = "write_queue", "write_ahead_log"
_KIND = "kind"
"""The name in a connection's `info` of the kind of its next transaction."""
_LEVEL = "synchronous"
"""The name there of SQLite's setting of that name, as it was set last."""


@dataclass(frozen=True, slots=True)
class Journal:
    """A journal mode of SQLite, and why it was chosen."""

    mode: str
    reason: str

    @property
    def is_write_ahead(self) -> bool:
        """Whether readers and a writer keep out of each other's way."""
        return self.mode == WRITE_AHEAD


def choose_journal(folder: Path) -> Journal:
    """Choose the journal for a state in `folder`."""
    kind = detect_file_system(folder)
    if kind in LOCAL:
        return Journal(WRITE_AHEAD, f"as the file system is local ({kind})")
    return Journal("TRUNCATE", f"as a write-ahead log needs a local file system and this one is {kind or 'unknown'}")


def detect_file_system(path: Path, mounts: Path = _MOUNTS) -> str:
    """Detect the file system of a path, existing or not; empty when the system doesn't tell."""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    best, kind = Path(), ""
    whole = path.resolve()
    for line in lines:
        before, _, after = line.partition(" - ")
        at = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), before.split()[4]))
        # Of two mounts on one folder the later one counts.
        if whole.is_relative_to(at) and len(at.parts) >= len(best.parts):
            best, kind = at, after.split()[0]
    return kind


def begin_writing(driver: sqlite3.Connection, busy_seconds: float, read_seconds: float) -> None:
    """Begin and take the writer's lock, trying every 2 ms for `busy_seconds`.

    Then SQLite's error is raised. After a wait `read_seconds` are left to readers. SQLite's own busy handler backs off
    up to 100 ms: the newest waiter is served first, and beside a busy process another one could starve for many
    seconds.
    """
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        waited = execute_once_free(driver, "BEGIN IMMEDIATE", busy_seconds)
    finally:
        driver.execute(f"PRAGMA busy_timeout = {busy_seconds * 1000:.0f}")
    if waited:
        # A writer shuts readers out only while it commits. Without this pause one commit would follow the other, and
        # nobody could read in between.
        time.sleep(read_seconds)


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


class TransactionKind(Enum):
    """What a transaction does: only read, or write with a commit that is synced or not."""

    READING = auto()
    SYNCED = auto()
    UNSYNCED = auto()


def open_sqlite(settings: Settings, options: dict[str, object]) -> Engine:
    """Open the state file of these settings, and make it where there is none."""
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
            _QUEUE_OPTION: WriteQueue(pause),
            _LOG_OPTION: log if journal.is_write_ahead else None,
        },
    )
    event.listen(db, "connect", partial(_configure_connection, journal, log))
    event.listen(db, "checkout", partial(_check_file, settings.state_file))
    # Neither by a listener: with one to an engine's events each statement takes half as long again. SQLAlchemy's driver
    # for SQLite begins no transaction itself.
    db.dialect.do_begin = partial(_begin, journal)  # type: ignore[method-assign]
    db.dispose = partial(_dispose, db, log)  # type: ignore[method-assign]
    return db


def get_log(db: Engine) -> WriteAheadLog | None:
    """Get the write-ahead log of an engine; None without one."""
    found: WriteAheadLog | None = db.get_execution_options().get(_LOG_OPTION)
    return found


def get_queue(db: Engine) -> WriteQueue | None:
    """Get the queue in which an engine's writers take turns; None where many may write."""
    found: WriteQueue | None = db.get_execution_options().get(_QUEUE_OPTION)
    return found


def set_kind(connection: Connection, kind: TransactionKind) -> None:
    """Say what the next transaction does; by default it writes, and its commit is synced."""
    connection.info[_KIND] = kind


def _dispose(db: Engine, log: WriteAheadLog, close: bool = True) -> None:
    """Close an engine's connections, and the log, which would keep its disk from a remount."""
    Engine.dispose(db, close)
    log.close()


def _configure_connection(
    journal: Journal, log: WriteAheadLog, connection: sqlite3.Connection, _entry: ConnectionPoolEntry
) -> None:
    """Set up explicit transactions, durable commits and foreign keys for a connection."""
    try:
        log.set_aside_foreign_log()
        connection.isolation_level = None
        connection.create_function("clock_ms", 0, lambda: time.time_ns() // 1_000_000)
        _set_journal(connection, journal)
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # see `write_ahead`
        connection.execute(f"PRAGMA journal_size_limit = {SIZE_LIMIT}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except (sqlite3.Error, StorageError, NewerData):
        connection.close()  # the pool would forget it without closing it
        raise


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


def _begin(journal: Journal, connection: PoolProxiedConnection) -> None:
    """Begin a transaction; a writer takes its lock before it reads, so that no update is lost."""
    driver: sqlite3.Connection = connection.driver_connection  # type: ignore[assignment]
    kind = connection.info.pop(_KIND, TransactionKind.SYNCED)
    if kind is TransactionKind.READING:
        driver.execute("BEGIN")
        return
    level = "NORMAL" if kind is TransactionKind.UNSYNCED and journal.is_write_ahead else "FULL"
    if connection.info.get(_LEVEL, "FULL") != level:  # it can't be set within a transaction, and stays afterwards
        driver.execute(f"PRAGMA synchronous = {level}")
        connection.info[_LEVEL] = level
    begin_writing(driver, BUSY_SECONDS, _READ_SECONDS if not journal.is_write_ahead else 0)

"""The write-ahead log of a SQLite state: where it is used, how its writer syncs it.

The log (WAL) needs a local file system, whose processes share memory; elsewhere the state has the rollback journal.

SQLite lets one connection checkpoint while another one writes. In most versions that may lose commits
(sqlite.org/wal.html#walresetbug): a checkpoint that runs while a commit starts the log anew marks new frames as copied.
Here neither happens beside the other. SQLite's automatic checkpoints are off, and whoever writes or checkpoints holds
a lock of ours, between processes too. The checkpoint of the last connection that closes is alone by SQLite's own lock.

Commits sync nothing by themselves: who made one syncs the log after it has let go of the lock (`LogFile.sync`).

Linux tells an error of writing a file back to each open descriptor once, and not to one that is opened after somebody
was told. So one descriptor stays open: whoever else was told of an error, it is told too. What could not be written
counts as written afterwards, so that later syncs succeed beside a hole in the log, at which SQLite would end its
recovery. It may stay a hole: ext4 keeps blocks that could not be written for the first time as unwritten, whatever is
written into them later. So no sync is believed after one that failed, until the log was copied into the state and
emptied.
"""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from reelport.errors import DiskFull, StorageError
from reelport.storage.durable import describe_os_error, private, translate_io_errors

LOCAL = frozenset(
    {"apfs", "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "reiserfs", "tmpfs", "xfs", "zfs"}
)
"""Local file systems: the write-ahead log needs memory that all of its processes share."""
WRITE_AHEAD = "WAL"
_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")
CHECKPOINT_COMMITS = 50
"""Commits of a process between two checkpoints.

They write a few hundred pages: below the 1,000 at which connections of other programs would checkpoint.
"""
SIZE_LIMIT = 16_000_000
"""Bytes to which SQLite cuts a log that begins anew, as after a long read kept it growing."""
LONG_LOG = 256_000_000
"""Bytes of a log that grew through a read of minutes; some 10 kB a commit while the read goes on."""
_TRY_SECONDS = 0.001
_TURN_SECONDS = 0.01
"""For how long threads of a process hand the lock on to each other while another process may wait for it."""
_CHECKPOINT_WAIT = 20
"""Milliseconds that a checkpoint waits for reads that began before the last commit."""
_RECORD_BYTES = 160
_PIECE_BYTES = 1_048_576
_Identity = tuple[int, int]


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


class StateLocked(StorageError):
    """Another process keeps the lock for longer than anybody waits; it may let go yet."""


class WriteAheadLog:
    """The log of one state file, as one engine uses it; with the rollback journal, a lock.

    The lock is a file of its own: SQLite would lose its locks of a file that somebody else closes. It holds the
    identities of state and log, by which a log is known that another state left behind.
    """

    def __init__(self, state: Path, busy_seconds: float, pause_seconds: float = 0.0, read_seconds: float = 0.0) -> None:
        """`pause_seconds` is left between two transactions of a process, for others.

        After a wait for another process `read_seconds` are left to readers that its commit kept out.
        """
        self._state = state
        self._log = state.with_name(f"{state.name}-wal")
        self._lock = state.with_name(f"{state.name}-writer")
        self._busy_seconds = busy_seconds
        self._pause_seconds = pause_seconds
        self._read_seconds = read_seconds
        self._turn = threading.Lock()
        self._waiting: list[None] = []  # as many as threads wait for their turn
        self._kept: int | None = None
        self._began_at = 0.0
        self._ended_at = -pause_seconds
        self._file = LogFile(self._log)
        self._holder: int | None = None
        self._commits = CHECKPOINT_COMMITS - 1  # the first one copies what processes left that ended without it

    @contextmanager
    def hold(self, db: Engine) -> Iterator[None]:
        """Keep other writers out of the block, which commits one transaction.

        Now and then a checkpoint follows it. StorageError when another process doesn't let go of the lock.
        """
        with self._take_turn() as descriptor:
            self._set_aside_foreign_log(descriptor)
            with translate_io_errors(self._state):
                state = _identify(self._state)
            self._file.watch()
            self._empty_doubtful_log(db)
            try:
                yield
            except StorageError as error:
                if self._log.exists() and _is_io_error(getattr(error.__cause__, "orig", None)):
                    self._file.doubt()
                raise
            self._commits += 1
            if self._commits >= CHECKPOINT_COMMITS:
                self._commits = 0
                self._checkpoint(db)
            self._record_files(descriptor, state)

    @contextmanager
    def _take_turn(self) -> Iterator[int]:
        """Lock the file, or take it over from the thread before.

        Threads that wait share a lock for a while.
        """
        came_at, has_turn = time.monotonic(), False
        self._waiting.append(None)
        try:
            with self._turn:
                has_turn = True
                try:
                    self._waiting.pop()
                    if self._kept is None:
                        time.sleep(max(self._ended_at + self._pause_seconds - time.monotonic(), 0))
                        # All that came together are told at the same time of a process that keeps the lock.
                        self._kept = self._lock_file(max(came_at, self._ended_at))
                        self._began_at = time.monotonic()
                    self._holder = threading.get_ident()
                    yield self._kept
                finally:
                    self._holder = None
                    self._hand_on()
        except BaseException:
            if not has_turn:  # the lock may have been kept for this thread, which is stopped
                self._waiting.pop()
                with self._turn:
                    self._hand_on()
            raise

    def _hand_on(self) -> None:
        """Keep the lock for a thread that waits, or let go of it."""
        if self._kept is not None and not (self._waiting and time.monotonic() - self._began_at < _TURN_SECONDS):
            os.close(self._kept)
            self._kept, self._ended_at = None, time.monotonic()

    def sync(self) -> None:
        """Return once every commit of now is on the disk; StorageError when the disk fails."""
        self._file.sync()

    def close(self) -> None:
        """Close the log's file, which is opened again when it is used."""
        self._file.close()

    def set_aside_foreign_log(self) -> None:
        """Rename a log that a former state file left: SQLite would mix it with the present one.

        Call it before a connection reads. It waits for the lock only where there is such a log.
        """
        with suppress(FileNotFoundError), translate_io_errors(self._lock, FileNotFoundError):
            if self._holder != threading.get_ident() and self._find_former_state(self._lock.read_bytes()):
                descriptor = self._lock_file(time.monotonic())
                try:
                    self._set_aside_foreign_log(descriptor)
                finally:
                    os.close(descriptor)

    def require_room(self) -> None:
        """Raise DiskFull when no block is left, though a commit may still fit into the log."""
        with translate_io_errors(self._state):
            found = os.statvfs(self._state.parent)
        if found.f_blocks and not found.f_bavail:  # one without a limit tells of no blocks at all
            raise DiskFull(f"The state database can't be used: {self._state}: the disk is full: make room.")

    def _lock_file(self, since: float) -> int:
        """Open and lock the file; StateLocked when others have kept it for too long `since` then."""
        with translate_io_errors(self._lock):
            descriptor = self._open_lock()
        try:
            self._acquire(descriptor, since + self._busy_seconds)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _open_lock(self) -> int:
        try:
            return os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            with private():
                descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if os.geteuid() == 0:
            # The service's user needs it too. As with SQLite's own files, one that can't be given away stays.
            with suppress(OSError):
                state = self._state.stat()
                os.fchown(descriptor, state.st_uid, state.st_gid)
        return descriptor

    def _acquire(self, descriptor: int, until: float) -> None:
        read_seconds = 0.0
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                read_seconds = self._read_seconds
                if time.monotonic() >= until:
                    raise StateLocked(
                        f"The state database can't be used: another process has kept {self._lock} locked for "
                        f"{self._busy_seconds:.0f} seconds: end or resume it (`fuser {self._lock}` names it)."
                    ) from error
                time.sleep(_TRY_SECONDS)
            except OSError as error:
                raise StorageError(
                    f"The state database can't be used: {self._lock} can't be locked: {describe_os_error(error)}; or "
                    "keep the state in PostgreSQL (REELPORT_DATABASE_URL)."
                ) from error
            else:
                time.sleep(read_seconds)
                return

    def _checkpoint(self, db: Engine) -> None:
        """Copy the log into the state file; an error is logged, for commits are safe.

        This mode takes SQLite's writer's lock too: nobody who goes without ours writes meanwhile. The next
        commit then begins the log anew, in the same blocks of the disk.
        """
        try:
            with closing(db.raw_connection()) as pooled:
                cursor = pooled.cursor()
                cursor.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_WAIT}")
                try:
                    cursor.execute("PRAGMA wal_checkpoint(FULL)")
                finally:
                    cursor.execute(f"PRAGMA busy_timeout = {int(self._busy_seconds * 1000)}")
        except (sqlite3.Error, SQLAlchemyError, StorageError) as error:
            if _is_io_error(error):
                self._file.doubt()  # this connection was told of it, and would sync the next commit without an error
            _warn("the write-ahead log can't be copied into the state, trying again", reason=str(error))

    def _empty_doubtful_log(self, db: Engine) -> None:
        """Empty a log that could not be synced, copied first; StorageError when that fails.

        Merely copied, its frames before the hole would be laid over newer pages of the state by a recovery, and the
        next ones written into the same blocks: for as long as a reader goes by the log, nobody writes. It is done by a
        connection of its own, and others take the place of those of the pool: each of them is still to be told of the
        same error once.
        """
        if not self._file.is_doubtful:
            return
        self._require_new_blocks()
        failures = self._file.failures
        try:
            with closing(sqlite3.connect(self._state, _CHECKPOINT_WAIT / 1000)) as own:
                is_busy, _, _ = own.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if is_busy:
                    raise StorageError(f"The state database can't be used: {self._log} can't be copied yet: try again.")
                self._file.trust_emptied(failures)
        except sqlite3.Error as error:
            raise StorageError(f"The state database can't be used: {self._log} can't be copied: {error}.") from error
        db.dispose()
        self._file.watch()

    def _require_new_blocks(self) -> None:
        """Raise StorageError unless the disk takes so many new bytes: a copy could have holes too."""
        left = measure_log(self._state)
        with translate_io_errors(self._log), TemporaryFile(dir=self._state.parent) as probe:
            while left > 0:
                left -= probe.write(os.urandom(_PIECE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())

    def _set_aside_foreign_log(self, descriptor: int) -> None:
        former = self._find_former_state(os.pread(descriptor, _RECORD_BYTES, 0))
        if former is None:
            return
        aside = self._log.with_name(f"{self._log.name}-of-{former}")
        with translate_io_errors(self._log):
            self._state.with_name(f"{self._state.name}-shm").unlink(missing_ok=True)
            self._log.rename(aside)
        _warn("the state was replaced, and the log of the one before is set aside", log=str(aside))

    def _find_former_state(self, record: bytes) -> str | None:
        """Find the inode of the state that left its log behind; None when it is the present one.

        The log must be the very file that was recorded, unchanged, for its commits may be the state's. A copy has
        another time of change, which no program can set, though its inode may be the same by chance.
        """
        match record.decode("ascii", "replace").split():
            case [state, log] if log == _identify(self._log):
                former, present = state.split(":"), _identify(self._state).split(":")
                is_other = len(former) == len(present) and former[1] != present[1] and former[2:] != present[2:]
                return former[1] if is_other else None
            case _:
                return None

    def _record_files(self, descriptor: int, before: str) -> None:
        """Record the log, and the state that was written to, even if it was replaced meanwhile."""
        try:
            state = _identify(self._state)
            state = state if state.split(":")[:2] == before.split(":")[:2] else before
            log = _identify(self._log)
            record = f"{state} {log}".ljust(_RECORD_BYTES).encode()
            if log and os.pread(descriptor, _RECORD_BYTES, 0) != record:
                os.pwrite(descriptor, record, 0)
        except OSError as error:  # the transaction is committed; the next one records them
            _warn("the files of the state can't be recorded", reason=str(error))


def _is_io_error(error: BaseException | None) -> bool:
    return bool(getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR)


def _warn(event: str, **details: str) -> None:
    import structlog  # noqa: PLC0415 - slow to import, and commands without a warning need none

    structlog.get_logger().warning(event, **details)


def measure_log(state: Path) -> int:
    """Measure the bytes of a state's log, which grows while a read goes on; 0 without one."""
    try:
        return state.with_name(f"{state.name}-wal").stat().st_size
    except FileNotFoundError:
        return 0


class ImmutableConnection(sqlite3.Connection):
    """A connection that sees no change of its file: it is for read-only file systems alone."""


def open_file(state: Path, busy_seconds: float) -> sqlite3.Connection:
    """Open a state file; where nothing can be written, as a file that nobody changes."""
    if is_immutable(state):
        address = f"{state.absolute().as_uri()}?immutable=1"
        return sqlite3.connect(address, busy_seconds, uri=True, check_same_thread=False, factory=ImmutableConnection)
    return sqlite3.connect(state, busy_seconds, check_same_thread=False)


def is_immutable(state: Path) -> bool:
    """Whether a state can't be written here, and nobody keeps a log of it elsewhere."""
    try:
        is_read_only = bool(os.statvfs(state.parent).f_flag & os.ST_RDONLY)
    except OSError:
        return False
    with suppress(OSError):
        return is_read_only and measure_log(state) == 0
    return is_read_only


def _identify(file: Path) -> str:
    """Identify a file as it is, by its inode and times; empty when there is none.

    A later file may have a former one's inode, and a copy its time of writing, but no program sets that of change.
    """
    try:
        found = file.stat()
    except FileNotFoundError:
        return ""
    return f"{found.st_dev}:{found.st_ino}:{found.st_mtime_ns}:{found.st_ctime_ns}"


class LogFile:
    """One log as one process uses it. Each method may be called by any thread."""

    def __init__(self, path: Path, sync: Callable[[int], object] = os.fdatasync) -> None:
        self._path = path
        self._sync = sync
        self._descriptor: int | None = None
        self._opened: _Identity | None = None
        self._finalize: Callable[[], object] = lambda: None
        self._turn = threading.Condition()
        self._is_syncing = False
        self._asked = 0
        self._synced = 0
        self._failures = 0
        self._emptied_failures = 0

    def watch(self) -> None:
        """Open the file that is there, unless it is open: the next sync knows of all errors since."""
        with translate_io_errors(self._path):
            if _identify_file(self._path) != self._opened:
                with self._between_syncs():
                    self._follow()

    def sync(self) -> None:
        """Return once what was written is on the disk; StorageError if the disk fails, or did.

        Threads that come while a sync runs share the next one.
        """
        is_next = False
        try:
            with self._turn:
                self._asked += 1
                own = self._asked
                self._turn.wait_for(lambda: self._synced >= own or not self._is_syncing)
                if self._synced < own:
                    is_next = self._is_syncing = True
                shared = self._asked
            if is_next:
                self._sync_present_file()
                self._synced = shared
        finally:
            if is_next:  # also a thread that is stopped here: the others would wait for ever
                with self._turn:
                    self._is_syncing = False
                    self._turn.notify_all()
        if self.is_doubtful:
            raise StorageError(f"{self._path}: the disk reported an error: what was written may not be kept.")

    def close(self) -> None:
        """Close the file, which `watch` and `sync` open again."""
        with self._between_syncs():
            self._close()

    def doubt(self) -> None:
        """Note that the disk failed: what is in the log may have a hole."""
        with self._turn:
            self._failures += 1

    @property
    def failures(self) -> int:
        """How often the disk failed."""
        return self._failures

    @property
    def is_doubtful(self) -> bool:
        """Whether the disk failed since the log was emptied."""
        return self._failures != self._emptied_failures

    def trust_emptied(self, failures: int) -> None:
        """Believe syncs again: the log was copied and emptied after so many failures.

        Its end is synced first, or an earlier one might come back with its hole. StorageError when the disk fails.
        """
        with translate_io_errors(self._path), self._path.open("rb") as file:
            self._sync_open_file(file.fileno())
        self._emptied_failures = failures

    def _sync_present_file(self) -> None:
        with translate_io_errors(self._path):
            self._follow()
            if self._descriptor is not None:
                self._sync_open_file(self._descriptor)

    @contextmanager
    def _between_syncs(self) -> Iterator[None]:
        with self._turn:
            self._turn.wait_for(lambda: not self._is_syncing)
            yield

    def _sync_open_file(self, number: int) -> None:
        try:
            self._sync(number)
        except OSError:
            self.doubt()
            raise

    def _follow(self) -> None:
        """Open the file that is there now, unless it is open; close one that is there no more."""
        if _identify_file(self._path) == self._opened:
            return
        self._close()
        with suppress(FileNotFoundError):
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            self._finalize = weakref.finalize(self, os.close, self._descriptor)
            found = os.fstat(self._descriptor)
            self._opened = (found.st_dev, found.st_ino)

    def _close(self) -> None:
        self._finalize()
        self._descriptor = self._opened = None


def _identify_file(path: Path) -> _Identity | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino

"""The ledger's SQLite database: schema, transactions, and errors that say what to do.

Each connection to a file serves one transaction, so that threads and child processes share nothing. The rollback
journal and `synchronous = EXTRA` (FULL, and the folder is synced too) keep committed rows through a power loss.
"""

from __future__ import annotations

import glob
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from reelport.client.ledger import owners
from reelport.errors import NewerData, StorageError
from reelport.killpoints import reach

VERSION = 1
_BUSY_SECONDS = 30.0
_SCHEMA = """
CREATE TABLE reports (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    service      TEXT NOT NULL,
    identity     TEXT NOT NULL,
    fingerprint  TEXT NOT NULL,
    query        TEXT NOT NULL,
    state        TEXT NOT NULL,
    delivered    INTEGER NOT NULL DEFAULT 0,
    token        TEXT,
    owner        TEXT,
    leased_until TEXT,
    created      TEXT NOT NULL,
    asked        TEXT,
    looked       TEXT,
    finished     TEXT,
    path         TEXT,
    bytes        INTEGER,
    sha256       TEXT,
    rows         INTEGER,
    proof        TEXT,
    error        TEXT
) STRICT;
CREATE INDEX reports_of_a_question ON reports (identity, fingerprint);
CREATE INDEX reports_by_state ON reports (identity, state);
CREATE INDEX reports_by_token ON reports (token) WHERE token IS NOT NULL;
"""


@dataclass(frozen=True, slots=True)
class Store:
    """A ledger's file. The first write makes it, whole: a file without a byte was emptied."""

    path: Path

    @contextmanager
    def begin_write(self) -> Iterator[sqlite3.Connection]:
        """Run the block in an exclusive write transaction; commit durably, or roll back."""
        with self._translate_errors(), self._open() as db, _transaction(db, "BEGIN IMMEDIATE"):
            self._prepare(db)
            yield db
            db.execute("COMMIT")

    @contextmanager
    def begin_read(self) -> Iterator[sqlite3.Connection | None]:
        """Run the block in a read transaction; gives None where nothing was written yet."""
        with self._translate_errors():
            if not self._exists():
                yield None
                return
            # Not read-only: the next process that opens the file rolls back what a killed process left half done.
            with self._open() as db, _transaction(db, "BEGIN"):
                yield db if self._read_version(db) else None

    def _exists(self) -> bool:
        return self.path.exists()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open a connection for one transaction; make the file where there is none."""
        if not self._exists():
            self._create()
        elif not self.path.stat().st_size:
            raise self.build_damaged("it is empty")
        with self._connect(self.path) as db:
            yield db

    def _create(self) -> None:
        """Make a ledger without rows under another name, then link it to its own.

        It stays as it is if another process was first.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._remove_leftovers()
        new = self.path.with_name(f".{self.path.name}.{owners.new_owner().replace(':', '+')}.new")
        try:
            new.touch(mode=0o600)
            with self._connect(new) as db, _transaction(db, "BEGIN IMMEDIATE"):
                self._prepare(db)
                db.execute("COMMIT")
            reach("client-ledger")
            with suppress(FileExistsError):
                _give_name(new, self.path)
        finally:
            new.unlink(missing_ok=True)

    def _remove_leftovers(self) -> None:
        """Remove what processes left that were killed while they made a ledger, journals too."""
        begin = f".{self.path.name}."
        for left in self.path.parent.glob(f"{glob.escape(begin)}*.new*"):
            owner = left.name.removeprefix(begin).rpartition(".new")[0].replace("+", ":")
            with suppress(FileNotFoundError):  # another process removed it
                lease = datetime.fromtimestamp(left.stat().st_mtime, UTC) + owners.LEASE
                if owners.is_gone(owner, lease, datetime.now(UTC)):
                    left.unlink()

    @staticmethod
    @contextmanager
    def _connect(path: Path) -> Iterator[sqlite3.Connection]:
        with closing(_connect(f"{path.absolute().as_uri()}?mode=rw")) as db:
            db.execute("PRAGMA synchronous = EXTRA")
            yield db

    def _prepare(self, db: sqlite3.Connection) -> None:
        if self._read_version(db) == 0:
            for statement in _SCHEMA.split(";\n"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {VERSION}")

    def _read_version(self, db: sqlite3.Connection) -> int:
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version > VERSION:
            raise NewerData(f"The ledger {self.path} was written by a newer version of Reelport. "
                            "Use that version, or set REELPORT_HOME to another folder.")  # fmt: skip
        return version

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._translate_sqlite_error(error) from error
        except OSError as error:
            raise self._build_unusable(error.strerror or str(error)) from error

    def _translate_sqlite_error(self, error: sqlite3.Error) -> StorageError:
        match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF:
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_ERROR:
                return self.build_damaged(error)
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return StorageError(f"The ledger {self.path} was held by another process for {_BUSY_SECONDS:.0f} s.")
            case sqlite3.SQLITE_FULL:
                return StorageError(f"The ledger {self.path} can't be written: the disk is full. Make room, "
                                    "and run the same again.")  # fmt: skip
            case _:
                return self._build_unusable(str(error))

    def _build_unusable(self, reason: str) -> StorageError:
        return StorageError(f"The ledger {self.path} can't be used: {reason}. It is what finds reports again after "
                            "a crash: let it be written, or set REELPORT_HOME to a folder that can be.")  # fmt: skip

    def build_damaged(self, error: Exception | str) -> StorageError:
        """Build the error for a file whose content isn't a ledger's."""
        reason = " ".join(str(error).split())[:200]
        return StorageError(f"The ledger {self.path} is damaged ({reason}). Move it away and a new one is begun; "
                            "what was in flight is then known to nobody but the service.")  # fmt: skip


@dataclass(frozen=True, slots=True)
class MemoryStore(Store):
    """A ledger in memory, which ends with its process.

    Threads take turns. A forked child begins an empty one.
    """

    path: Path = Path(":memory:")
    _of_processes: dict[int, tuple[threading.RLock, sqlite3.Connection]] = field(default_factory=dict, repr=False)

    def _exists(self) -> bool:
        return os.getpid() in self._of_processes

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        number = os.getpid()
        if (found := self._of_processes.get(number)) is None:
            found = self._of_processes.setdefault(number, (threading.RLock(), _connect(":memory:", _SelfClosing)))
        lock, db = found
        with lock:
            yield db


class _SelfClosing(sqlite3.Connection):
    """A connection that is closed once nobody has it: nobody says when a ledger in memory ends."""

    def __del__(self) -> None:
        self.close()


def _connect(address: str, kind: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
    db = sqlite3.connect(
        address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=kind
    )
    db.row_factory = sqlite3.Row
    return db


def _give_name(new: Path, path: Path) -> None:
    """Give a file its name. Raises FileExistsError where another file has it."""
    try:
        path.hardlink_to(new)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # a disk without hard links
        if path.exists():
            raise FileExistsError(path) from None
        new.rename(path)


@contextmanager
def _transaction(db: sqlite3.Connection, begin: str) -> Iterator[None]:
    """Begin a transaction, and roll back what the block leaves uncommitted: after a Ctrl-C too."""
    db.execute(begin)
    try:
        yield
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")

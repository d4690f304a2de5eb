"""The ledger records each report asked for, so that a crash loses no report, no slot.

One SQLite file per user. It holds report tokens, by which reports are found again, and never a secret, an access token
or a signed link. Each connection to a file serves one transaction, so that threads and child processes share nothing.
The rollback journal and `synchronous = EXTRA` (FULL, and the folder is synced too) keep committed rows through a power
loss.
"""

from __future__ import annotations

import glob
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reelport.client.ledger_rows import LIFE, Row, State, is_gone, new_owner
from reelport.client.ledger_slots import (
    Ask,
    Claimed,
    Entry,
    LostAsk,
    Question,
    Reuse,
    decide,
    is_in_flight,
    list_prunable,
)
from reelport.client.settings.config import expand_path, resolve_home
from reelport.errors import NewerData, QueryRefused, StorageError, UsageError
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

FILE = "ledger.db"

_KEPT = timedelta(days=90)
LEASE = timedelta(minutes=5)  # how long an owner on another machine counts as alive after its last heartbeat
_HEARTBEAT = timedelta(minutes=1)

# Bounds, in seconds, of the pause between two looks at a dead process's report: a tenth of the report's age.
_LOOK_PAUSES = (0.5, 60.0)

_OF_QUESTION = """
SELECT * FROM reports WHERE identity = ? AND fingerprint = ? AND state NOT IN ('failed', 'expired', 'forgotten')
ORDER BY id DESC
"""
_IN_FLIGHT = """
SELECT * FROM reports WHERE identity = ? AND state IN ('intent', 'requested', 'running', 'unknown') ORDER BY id
"""
_INSERT = """
INSERT INTO reports (service, identity, fingerprint, query, state, owner, leased_until, created)
VALUES (?, ?, ?, ?, 'intent', ?, ?, ?) RETURNING *
"""
_TAKE = "UPDATE reports SET owner = ?, leased_until = ? WHERE id = ? RETURNING *"
_RECLAIM = """
UPDATE reports SET state = 'intent', owner = ?, leased_until = ?, created = ?, looked = NULL, error = NULL WHERE id = ?
RETURNING *
"""
_REQUESTED = "UPDATE reports SET state = 'requested', token = ?, asked = ?, looked = ? WHERE id = ? RETURNING *"
_SAME_REPORT = "SELECT * FROM reports WHERE identity = ? AND fingerprint = ? AND token = ? AND id <> ? ORDER BY id DESC"
_REVIVE = """
UPDATE reports SET
    delivered = 0, owner = ?, leased_until = ?, looked = ?, error = NULL,
    state = CASE WHEN state IN ('failed', 'expired', 'forgotten') THEN 'requested' ELSE state END
WHERE id = ? RETURNING *
"""
_RECORD_STATUS = """
UPDATE reports SET state = :state, looked = :now,
    finished = CASE WHEN :state = 'finished' AND state <> 'finished' THEN :now ELSE finished END
WHERE id = :id AND state IN ('requested', 'running', 'unknown', 'intent', 'failed', 'expired', :state)
"""
_DOWNLOADED = """
UPDATE reports SET state = 'verified', finished = coalesce(finished, ?), path = ?, bytes = ?, sha256 = ?, rows = ?,
    proof = ?, error = NULL
WHERE id = ? AND state <> 'forgotten'
"""

_DELIVERED = "UPDATE reports SET delivered = 1, owner = NULL WHERE id = ?"


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
        if not self._exists():
            self._create()
        elif not self.path.stat().st_size:
            raise self.build_damaged("it is empty")
        with self._connect(self.path) as db:
            yield db

    def _create(self) -> None:
        """Make a ledger under another name, then link it to its own, unless another was first."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._remove_leftovers()
        new = self.path.with_name(f".{self.path.name}.{new_owner().replace(':', '+')}.new")
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
                lease = datetime.fromtimestamp(left.stat().st_mtime, UTC) + LEASE
                if is_gone(owner, lease, datetime.now(UTC)):
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
        return StorageError(f"The ledger {self.path} can't be used: {reason}. The ledger finds reports again after a "
                            "crash. Make the file writable, or set REELPORT_HOME to another folder.")  # fmt: skip

    def build_damaged(self, error: Exception | str) -> StorageError:
        """Build the error for a file whose content isn't a ledger's."""
        reason = " ".join(str(error).split())[:200]
        return StorageError(f"The ledger {self.path} is damaged ({reason}). Move it away: the next command begins a "
                            "new one. Only the service then knows the reports that were in flight.")  # fmt: skip


@dataclass(frozen=True, slots=True)
class MemoryStore(Store):
    """A ledger in memory. Threads take turns; a forked child begins an empty one."""

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


class Ledger:
    """The ledger in one file, opened when first needed. Threads and processes may share it.

    Without a path it is in memory, for the threads of one process: it counts slots, and every question is asked anew.
    Methods raise StorageError when the file can't be read or written, NewerData when a newer version wrote it.
    """

    def __init__(self, path: Path | None = None, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.is_kept = path is not None
        """Whether later processes find here what was asked for."""
        self._store = MemoryStore() if path is None else Store(path)
        self._now = now

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The path of the file; `:memory:` where there is none."""
        return self._store.path

    def enter(self, question: Question) -> Entry:
        """Decide a question and record it in one transaction: two processes never both ask it."""
        now = self._now()
        with self._store.begin_write() as db:
            known = self._read_known(db, question)
            flights = self._read_all(db.execute(_IN_FLIGHT, (question.identity,)))
            others = sum(is_in_flight(row, now, reelport=question.reelport) for row in flights)
            tokens = frozenset(row.token for row in known if row.token is not None)
            match decide(question, known, flights, now):
                case Ask(Row(id=number) as ours):
                    again = (*self._new_lease(now), _format_time(now), number)
                    others -= is_in_flight(ours, now, reelport=question.reelport)
                    return Claimed(self._read_one(db.execute(_RECLAIM, again)), others, tokens)
                case Ask():
                    db.execute("DELETE FROM reports WHERE created < ?", (_format_time(now - _KEPT),))
                    query = question.query
                    values = (question.service, question.identity, query.fingerprint(), query.canonical())
                    new = db.execute(_INSERT, (*values, *self._new_lease(now), _format_time(now)))
                    return Claimed(self._read_one(new), others, tokens)
                case Reuse(row) if row.is_alive(now):
                    return Reuse(replace(row, owner=None))  # The row stays its owner's: we must not release it.
                case Reuse(row):
                    return Reuse(self._read_one(db.execute(_TAKE, (*self._new_lease(now), row.id))))
                case LostAsk(row) if row.state is State.INTENT:
                    db.execute("UPDATE reports SET state = 'unknown', owner = NULL WHERE id = ?", (row.id,))
                    return LostAsk(row)
                case other:
                    return other

    def plan_entry(self, question: Question) -> Row | None:
        """Return the row whose report would serve, delivered ones included; writes nothing."""
        with self._store.begin_read() as db:
            if db is None:
                return None
            known = self._read_known(db, question)
        found = decide(question, known, (), self._now())
        living = (row for row in known if row.delivered and self._now() < row.expires)
        return found.row if isinstance(found, Reuse) else next(living, None)

    def record_token(self, row: Row, token: str) -> Row:
        """Record the token of a taken ask.

        An earlier row with the same report is revived and returned, and this one deleted.
        """
        now = _format_time(self._now())
        with self._store.begin_write() as db:
            same = db.execute(_SAME_REPORT, (row.identity, row.fingerprint, token, row.id)).fetchone()
            if same is None:
                return self._read_one(db.execute(_REQUESTED, (token, now, now, row.id)))
            db.execute("DELETE FROM reports WHERE id = ?", (row.id,))
            return self._read_one(db.execute(_REVIVE, (*self._new_lease(self._now(), row.owner), now, same["id"])))

    def drop(self, row: Row) -> None:
        """Delete an intent that surely never reached the service."""
        with self._store.begin_write() as db:
            db.execute("DELETE FROM reports WHERE id = ? AND state = 'intent'", (row.id,))

    def record_status(self, row: Row, state: State) -> None:
        """Record that a look found the report running or finished, and renew the owner's lease.

        Writes once a minute at most, unless the state is another: between, a look waits for no other process.
        """
        found = self.get(row.id)
        if found is not None and _is_recorded(found, row.owner, state, self._now()):
            return
        now = _format_time(self._now())
        with self._store.begin_write() as db:
            db.execute(_RECORD_STATUS, {"state": state, "now": now, "id": row.id})
            db.execute("UPDATE reports SET leased_until = ? WHERE id = ? AND owner = ?",
                       (_format_time(self._now() + LEASE), row.id, row.owner))  # fmt: skip

    def record_end(self, row: Row, state: State, error: str) -> None:
        """Record that the report failed or expired, and release its row."""
        with self._store.begin_write() as db:
            db.execute(
                "UPDATE reports SET state = ?, error = ?, owner = NULL WHERE id = ? AND state <> 'forgotten'",
                (state, error[:1000], row.id),
            )

    def record_lost(self, row: Row, error: str, *, answered: bool) -> None:
        """Record that an ask may have been taken. `answered`: by an answer that doesn't say."""
        looked = _format_time(self._now()) if answered else None
        with self._store.begin_write() as db:
            db.execute(
                "UPDATE reports SET state = 'unknown', error = ?, looked = ?, owner = NULL"
                " WHERE id = ? AND state <> 'forgotten'",
                (error[:1000], looked, row.id),
            )

    def record_download(
        self, row: Row, path: Path, size: int, sha256: str | None, rows: int | None, proof: str, *, delivered: bool
    ) -> None:
        """Record that the report's file is whole and in place.

        `delivered`: the command that wanted it has succeeded by that, and the row is released.
        """
        with self._store.begin_write() as db:
            db.execute(_DOWNLOADED, (_format_time(self._now()), str(path), size, sha256, rows, proof, row.id))
            if delivered:
                db.execute(_DELIVERED, (row.id,))

    def record_delivered(self, row: Row) -> None:
        """Record that the command that wanted the report has succeeded, and release the row."""
        with self._store.begin_write() as db:
            db.execute(_DELIVERED, (row.id,))

    def record_delivered_files(self, identity: str, paths: Iterable[Path]) -> None:
        """Record a key's reports of these files as delivered, once their result exists."""
        sql = "UPDATE reports SET delivered = 1 WHERE identity = ? AND path = ? AND state = 'verified'"
        with self._store.begin_write() as db:
            db.executemany(sql, [(identity, str(path)) for path in paths])

    def release(self, row: Row) -> None:
        """Release the owner's lease on a row, in any state."""
        with self._store.begin_write() as db:
            db.execute("UPDATE reports SET owner = NULL WHERE id = ? AND owner = ?", (row.id, row.owner))

    def take_due_orphans(self, identity: str) -> tuple[Row, ...]:
        """Return dead processes' unfinished reports due for a look, which the caller must take.

        They have no owner: a look renews no dead process's lease.
        """
        now = self._now()
        with self._store.begin_write() as db:
            rows = self._read_all(db.execute(_IN_FLIGHT, (identity,)))
            due = tuple(row for row in rows if row.token and not row.is_alive(now) and _is_due(row, now))
            db.executemany("UPDATE reports SET looked = ? WHERE id = ?", [(_format_time(now), row.id) for row in due])
        return tuple(replace(row, owner=None) for row in due)

    def find(self, token: str, identity: str | None = None) -> Row | None:
        """Return the latest row with a report's token, of one key or of any."""
        sql = "SELECT * FROM reports WHERE token = ? AND coalesce(?, identity) = identity ORDER BY id DESC"
        return next(iter(self._read(sql, token, identity)), None)

    def get(self, number: int) -> Row | None:
        """Return the row with this number."""
        return next(iter(self._read("SELECT * FROM reports WHERE id = ?", number)), None)

    def list_rows(self) -> tuple[Row, ...]:
        """Return every row, oldest first."""
        return self._read("SELECT * FROM reports ORDER BY id")

    def forget(self, row: Row) -> None:
        """Make a row hold no slot, never reused. UsageError while a process works on it."""
        with self._store.begin_write() as db:
            found = self._read_all(db.execute("SELECT * FROM reports WHERE id = ?", (row.id,)))
            for each in found:
                if worker := each.find_worker(self._now()):
                    raise UsageError(f"Report {each.id} is being fetched by the process {worker}: stop that first.")
            db.execute("UPDATE reports SET state = 'forgotten', owner = NULL WHERE id = ?", (row.id,))

    def list_prunable(self, before: datetime) -> tuple[Row, ...]:
        """Return the rows that `prune` would remove."""
        return list_prunable(self.list_rows(), before, self._now())

    def prune(self, before: datetime) -> tuple[Row, ...]:
        """Remove rows of reports asked for before then, unless still needed; return them."""
        with self._store.begin_write() as db:
            rows = list_prunable(self._read_all(db.execute("SELECT * FROM reports ORDER BY id")), before, self._now())
            db.executemany("DELETE FROM reports WHERE id = ?", [(row.id,) for row in rows])
        return rows

    def _read_known(self, db: sqlite3.Connection, question: Question) -> tuple[Row, ...]:
        """Read the rows that may answer a question, newest first.

        Where the ledger isn't kept nothing answers it; with `again` a lost ask is sent again in the slot that it holds.
        """
        rows = self._read_all(db.execute(_OF_QUESTION, (question.identity, question.query.fingerprint())))
        return rows if self.is_kept else tuple(row for row in rows if question.again and row.state is State.UNKNOWN)

    @staticmethod
    def _new_lease(now: datetime, owner: str | None = None) -> tuple[str, str]:
        return owner or new_owner(), _format_time(now + LEASE)

    def _read(self, sql: str, *values: object) -> tuple[Row, ...]:
        with self._store.begin_read() as db:
            return () if db is None else self._read_all(db.execute(sql, values))

    def _read_one(self, found: sqlite3.Cursor) -> Row:
        return self._read_all(found)[0]

    def _read_all(self, found: sqlite3.Cursor) -> tuple[Row, ...]:
        try:
            return tuple(Row.of(dict(record)) for record in found.fetchall())
        except (ValueError, KeyError, TypeError, AttributeError, QueryRefused) as error:
            raise self._store.build_damaged(error) from error


def _is_recorded(row: Row, owner: str | None, state: State, now: datetime) -> bool:
    """Whether the state was written within a minute, and the lease if the owner still has it."""
    written = [row.looked]
    if owner is not None and row.owner == owner:
        written.append(row.leased_until and row.leased_until - LEASE)
    # A moment to come was written by a clock that was wrong.
    return row.state is state and all(at is not None and now - _HEARTBEAT < at <= now for at in written)


def _is_due(row: Row, now: datetime) -> bool:
    if row.looked is None or now >= row.created + LIFE:
        return True
    age = (row.looked - row.created).total_seconds()
    least, most = _LOOK_PAUSES
    return (now - row.looked).total_seconds() >= min(max(age / 10, least), most)


def _format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


# A ledger or its path; False for one in memory; None or True for the user's own.
Place = Ledger | str | os.PathLike[str] | bool | None


def resolve_ledger(place: Place, environment: Mapping[str, str], now: Callable[[], datetime]) -> Ledger:
    """Return a place's ledger; opens and makes no file. UsageError for an invalid place."""
    match place:
        case Ledger():
            return place
        case False:
            return Ledger(None, now)
        case None | True:
            return Ledger(resolve_home(environment) / FILE, now)
        case str() | os.PathLike():
            return Ledger(expand_path(place), now)
        case _:
            raise UsageError(f"A ledger is a path, True or False, and not {place!r}.")

"""The embedded engine: one DuckDB that writes CSV files, or fetches a few rows.

It keeps within a memory limit and can be interrupted. Small object tables stay in its memory: DuckDB opens and decodes
a file anew for each statement. The files of an object table never change, and no name of a file is used again: rows
that were read once are right for every report that reads those files.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

import duckdb

from reelport.engine.memory_size import parse_size
from reelport.engine.plan import Pieces, Plan, StoredObjects
from reelport.engine.report_format import CSV, Written, copy_options
from reelport.errors import DiskFull, InternalError, OutOfMemory, ReelportError, StorageError, UsageError
from reelport.facts.data_files.file_columns import describing_by
from reelport.sql_quoting import quote_text
from reelport.storage.durable import describe_os_error, full_disk_sentence, to_storage_error

_INTERPRETER = 160 << 20
"""Bytes of a worker process outside the memory that DuckDB counts, as measured."""
_SPILL_LIMIT = "max_temp_directory_size"
_FOOTER_CACHE = "parquet_metadata_cache"
_COLUMN_GAP = 4_096
"""Bytes between two columns of a row group up to which they are read at once."""
_KEPT_FOOTERS = "SELECT coalesce(sum(memory_usage_bytes), 0) FROM duckdb_memory() WHERE tag = 'OBJECT_CACHE'"
_SPILL_SHARE = 0.9
"""The share of free disk space that spilled files may take: other files live on the disk too."""
_SPILL_STEP = 0.02
"""The share by which that room must change before the limit is set again, which takes a statement."""
_CHUNK = 1 << 20
"""Bytes of a file that are read at once, to hash it or to count its lines."""
_INTERRUPT_SECONDS = 0.02
"""Seconds between two interrupts while a write is being cancelled."""
MOST_FOOTER_BYTES = 16_000_000
"""Bytes of footers by DuckDB's count that may be kept: four to seven times that in truth."""
MOST_TABLE_ROWS = 100_000
"""Rows of a table above which it isn't measured: its measure would cost each report that reads it."""
MOST_TABLE_BYTES = 32_000_000
"""Bytes of a table above which it isn't kept; all that are kept have twice as many at most."""
_CELL_BYTES = 16
"""What DuckDB takes for a cell beside its text: where this is, and a number itself."""
_REMEMBERED = 64
"""Tables that are remembered as asked for once, with their bytes once these are known."""
_TOO_MANY = 1 << 62
"""The bytes of a table that found no memory: it isn't tried again, as each try would cost a report that reads it."""


class Cancelled(ReelportError):
    """The report was stopped on request; no file of it is left."""

    code = "cancelled"


class QueryEngine:
    """One DuckDB in this process. Open one session per report; sessions run concurrently.

    `memory_limit` ('1GiB') is for the whole process; DuckDB spills what exceeds it to files in `spill`, a directory
    that is made when needed. Without `spill` it raises OutOfMemory instead, and sessions can fetch but not write. With
    `within`, SQL can read and write files only in those directories and `spill`. With `keeps_footers` the description
    of a file is read once and kept as long as the engine, whose owner calls `limit_footers` now and then.
    """

    def __init__(
        self,
        memory_limit: str,
        threads: int,
        spill: Path | None,
        *,
        within: tuple[Path, ...] = (),
        keeps_footers: bool = False,
    ) -> None:
        if spill is not None:
            spill.mkdir(parents=True, exist_ok=True)
        self._spill = spill and spill.absolute()
        whole = parse_size(memory_limit)
        limit = max(whole - _INTERPRETER, whole // 2)
        self._database = duckdb.connect(":memory:", config={"threads": threads, "memory_limit": f"{limit}B"})
        for statement in _list_settings(spill, within, keeps_footers):
            self._database.execute(statement)
        self._keeps_footers = keeps_footers
        self._looked_at = True
        self._room = _SpillRoom()
        self._residents = ResidentTables()
        self._sessions: WeakSet[Session] = WeakSet()
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close all sessions, which stops running writes, and free the memory."""
        with self._lock:
            self._closed, sessions = True, tuple(self._sessions)
        for session in sessions:
            session.close()
        self._database.close()

    def session(self) -> Session:
        """Open a session for one report. UsageError once the engine is closed."""
        with self._lock:
            if self._closed:
                raise UsageError("This engine was closed: make another one.")
            session = Session(self._database.cursor(), self._spill, self._room, self._residents)
            self._sessions.add(session)
            self._looked_at = False
        return session

    def limit_footers(self, most_bytes: int = MOST_FOOTER_BYTES) -> None:
        """Keep and use no footers from the moment on when those that are kept take more than this.

        DuckDB would forget some only at its memory limit, and counts but a part of what they take; told to keep no
        more, it doesn't use those it has. It is asked only after a session was opened.
        """
        if not self._keeps_footers or self._looked_at:
            return
        self._looked_at = True
        with suppress(duckdb.Error), self._database.cursor() as session:  # one without memory: the next look tells
            ((kept,),) = session.execute(_KEPT_FOOTERS).fetchall()
            if kept > most_bytes:
                session.execute(_keep_footers(False))
                self._keeps_footers = False


@dataclass(frozen=True, slots=True)
class Progress:
    """About how many rows and bytes of a report are written so far."""

    rows: int
    bytes: int


@dataclass(slots=True)
class _SpillRoom:
    bytes: int = -1


class Session:
    """Runs one report. Call `write` and `fetch` from one thread; `cancel` from any other."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, spill: Path | None, room: _SpillRoom, residents: ResidentTables
    ) -> None:
        self._connection = connection
        self._spill = spill
        self._room = room
        self._residents = residents
        self.cancelled = threading.Event()
        """Set once the session is cancelled: whoever aggregates for it elsewhere stops, too."""
        self.underway = threading.Event()
        """Set once the engine runs a statement of a write, for which it needs no lock of Python's."""
        self._writing: tuple[Progress, Path | None] | None = None  # what is whole, and the file of the next piece
        self.share = 0.0
        """The part of the report's days that is written."""
        self._interrupting = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()

    def write(self, pieces: Pieces, to: Path) -> Written:
        """Write the rows of all pieces to a new CSV file.

        Call it outside the main thread, where DuckDB would notice Ctrl-C late. The file is not yet durable: fsync it
        before you rename it. Raises Cancelled, StorageError when a disk or a pinned file fails, and InternalError for
        any other reason. After any error no file is left.
        """
        if self._spill is None:
            raise UsageError("This engine has no folder to spill to, and can't write files.")
        whole = False
        further = self._spill / f"piece-{secrets.token_hex(8)}{CSV.suffix}"
        self._idle.clear()
        try:
            with translate_errors(to.name):
                self._spill.mkdir(parents=True, exist_ok=True)
                self._raise_spill_limit(self._spill)
                to.write_bytes(b"")  # a place that can't be written is told before facts are read
                # Plans look at the files that they are to read.
                with describing_by(self._connection):
                    written = self._write_pieces(pieces, to, further)
            whole = True
            return written
        finally:
            # The cause is already being raised.
            with suppress(OSError):
                further.unlink(missing_ok=True)
                if not whole:
                    to.unlink(missing_ok=True)
            self._idle.set()

    def fetch(self, plan: Plan, what: str) -> list[tuple[Any, ...]]:
        """Fetch all rows of a plan that gives few.

        Call it as `write` is called. `what` names them in errors, which are those of `write`.
        """
        self._idle.clear()
        try:
            with translate_errors(what):
                self._check_cancelled()
                with self._residents.reading(self._connection, plan) as sql:
                    return self._connection.execute(sql).fetchall()  # all: an open result keeps its files open
        finally:
            self._idle.set()

    def _write_pieces(self, pieces: Pieces, to: Path, further: Path) -> Written:
        """Write the first piece to the file; append each further one from a file of its own."""
        digest, done, rows = hashlib.sha256(), Progress(0, 0), None
        while (plan := _next_plan(pieces, rows)) is not None:
            is_first = rows is None
            piece = to if is_first else further
            self._writing = done, piece
            rows = self._copy(plan, piece, copy_options(has_header=is_first))
            size = 0
            with piece.open("rb") as written, nullcontext() if is_first else to.open("ab") as out:
                while chunk := written.read(_CHUNK):
                    digest.update(chunk)
                    size += len(chunk) if out is None else out.write(chunk)
            done = Progress(done.rows + rows, done.bytes + size)
            self._writing = done, None
            further.unlink(missing_ok=True)
        return Written(done.rows, done.bytes, digest.hexdigest())

    @property
    def progress(self) -> Progress | None:
        """What was written so far; None before its first row.

        Rows of an unfinished piece are told by the length of its first ones.
        """
        if self._writing is None:
            return None
        done, piece = self._writing
        lines, size = 0, 0
        if piece is not None:
            with suppress(FileNotFoundError), piece.open("rb") as file:
                size = os.fstat(file.fileno()).st_size  # first: the file grows while it is read
                begin = file.read(min(size, _CHUNK))
                lines = size * begin.count(b"\n") // max(len(begin), 1)
        rows = done.rows + (lines if done.bytes else max(lines - 1, 0))  # a header
        return Progress(rows, done.bytes + size) if rows else None

    def cancel(self) -> None:
        """Stop the running write or fetch, or the next one, and return once it has stopped."""
        self.cancelled.set()
        # DuckDB misses an interrupt between two statements: repeat it until it has stopped.
        while not self._idle.wait(_INTERRUPT_SECONDS):
            self._interrupt()

    def request_cancel(self) -> None:
        """Ask the running write or fetch to stop, and the next one not to begin; return at once.

        DuckDB may miss it between two statements: ask again until it has stopped.
        """
        self.cancelled.set()
        if not self._idle.is_set():
            self._interrupt()

    def close(self) -> None:
        """Close the session: stop a running write or fetch, and let none begin."""
        self.cancel()
        with self._interrupting:
            self._connection.close()

    def _interrupt(self) -> None:
        # The interrupt may come after the end, when the session is closed: then there is nothing left to stop.
        with self._interrupting, suppress(duckdb.ConnectionException):
            self._connection.interrupt()

    def _raise_spill_limit(self, spill: Path) -> None:
        # By itself DuckDB keeps to what was free at its first spill.
        room = int(_SPILL_SHARE * shutil.disk_usage(spill).free)
        for file in spill.iterdir():
            with suppress(FileNotFoundError):
                room += file.stat().st_size
        if abs(room - self._room.bytes) <= _SPILL_STEP * self._room.bytes:
            return
        # DuckDB refuses a limit below what others have spilled meanwhile: then the old limit stays. If the session is
        # closed, the next statement raises the error.
        with suppress(duckdb.OutOfMemoryException, duckdb.ConnectionException):
            self._connection.execute(f"SET {_SPILL_LIMIT} = '{room}B'")
            self._room.bytes = room

    def _copy(self, plan: Plan, to: Path, options: str) -> int:
        self._check_cancelled()
        self.share = plan.share
        self.underway.set()
        with self._residents.reading(self._connection, plan) as sql:
            return int(
                self._connection.execute(f"COPY ({sql}) TO {quote_text(str(to.absolute()))} ({options})").fetchall()[0][
                    0
                ]
            )

    def _check_cancelled(self) -> None:
        if self.cancelled.is_set():
            raise Cancelled("the report was stopped")


def _next_plan(pieces: Pieces, rows: int | None) -> Plan | None:
    try:
        return pieces.send(rows)
    except StopIteration:
        return None


def _list_settings(spill: Path | None, within: tuple[Path, ...], keeps_footers: bool) -> Iterator[str]:
    """List the statements that set the engine up: GLOBAL, as cursors inherit nothing else."""
    yield "SET GLOBAL TimeZone = 'UTC'"
    # An empty name lets DuckDB spill nothing.
    yield f"SET GLOBAL temp_directory = {quote_text(str(spill or ''))}"
    yield "SET GLOBAL python_enable_replacements = false"
    yield "SET GLOBAL autoinstall_known_extensions = false"
    yield "SET GLOBAL autoload_known_extensions = false"
    yield "SET GLOBAL allow_community_extensions = false"
    # Else a large report's pages would stay with the process for as long as it lives.
    yield "SET GLOBAL allocator_background_threads = true"
    # Reads on threads of their own cost a small report ten switches of threads, and made no large one faster.
    yield "SET GLOBAL async_threads = 0"
    # By itself DuckDB reads up to 16 kB between two columns too, which is most of a row group of a copy by role.
    yield f"SET GLOBAL parquet_prefetch_column_gap = {_COLUMN_GAP}"
    # Files are never changed once written, so their footers can be cached.
    yield _keep_footers(keeps_footers)
    if within:
        folders = (quote_text(f"{path.absolute()}/") for path in (*within, *([spill] if spill else [])))
        yield f"SET GLOBAL allowed_directories = [{', '.join(folders)}]"
        yield "SET GLOBAL enable_external_access = false"
    yield f"SET GLOBAL allowed_configs = ['{_SPILL_LIMIT}', '{_FOOTER_CACHE}']"
    yield "SET GLOBAL lock_configuration = true"


def _keep_footers(keeps: bool) -> str:
    return f"SET GLOBAL {_FOOTER_CACHE} = {str(keeps).lower()}"


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Raise DuckDB's and the system's errors as ours. `what` names what is made."""
    try:
        yield
    except duckdb.InterruptException as error:
        raise Cancelled("the report was stopped") from error
    except OSError as error:
        sentence = f"{error.filename or what} can't be written: {describe_os_error(error)}"
        raise to_storage_error(sentence, error) from error
    except duckdb.Error as error:
        raise _translate_error(error, what) from error


def _translate_error(error: duckdb.Error, what: str) -> ReelportError:
    message = str(error)
    first = message.splitlines()[0]
    if sentence := full_disk_sentence(message):
        return DiskFull(f"{what} can't be written: {sentence}")
    match error:
        case duckdb.OutOfMemoryException() if "max_temp_directory_size" in message:
            return DiskFull(f"{what} needs more room to spill than is left: free some, or ask for less ({first})")
        case duckdb.OutOfMemoryException():
            return OutOfMemory(f"{what} needs more memory than the engine has: give it more ({first})")
        case duckdb.InvalidInputException():  # a file that is no Parquet; DuckDB's class for it is a ProgrammingError
            pass
        case duckdb.ProgrammingError() | duckdb.DataError() | duckdb.InternalError() | duckdb.NotSupportedError():
            return InternalError(f"the engine failed while making {what}: {first}")
    return StorageError(f"a file can't be read or written while making {what}: {first}")


@dataclass(eq=False, slots=True)
class _Resident:
    name: str
    bytes: int
    readers: int = 0


class ResidentTables:
    """The object tables that one DuckDB keeps, from their second use on. For any thread."""

    def __init__(self, most_bytes: int = MOST_TABLE_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._numbers = count()
        self._asked: OrderedDict[str, int | None] = OrderedDict()
        self._kept: OrderedDict[str, _Resident] = OrderedDict()

    @contextmanager
    def reading(self, connection: duckdb.DuckDBPyConnection, plan: Plan) -> Iterator[str]:
        """Give the plan's SQL for the block, with kept tables in place of their files."""
        sql = plan.sql
        with ExitStack() as stack:
            for objects in plan.objects:
                if (resident := self._acquire(connection, objects)) is not None:
                    stack.callback(self._release, resident)
                    sql = sql.replace(objects.sql, resident.name)
            yield sql

    def _acquire(self, connection: duckdb.DuckDBPyConnection, objects: StoredObjects) -> _Resident | None:
        """Find the kept table, or keep it if it is asked for again; None if it isn't kept."""
        with self._lock:
            resident = self._kept.get(objects.sql)
            if resident is None and objects.rows <= MOST_TABLE_ROWS and self._is_asked_again(objects.sql):
                resident = self._keep(connection, objects)
            if resident is not None:
                self._kept.move_to_end(objects.sql)
                resident.readers += 1
            return resident

    def _is_asked_again(self, sql: str) -> bool:
        """Whether the table was asked for before. If not, remember that it was now."""
        if sql in self._asked:
            return True
        self._asked[sql] = None  # its bytes, once they are measured
        while len(self._asked) > _REMEMBERED:
            self._asked.popitem(last=False)
        return False

    def _keep(self, connection: duckdb.DuckDBPyConnection, objects: StoredObjects) -> _Resident | None:
        try:
            if (size := self._asked[objects.sql]) is None:
                size = self._asked[objects.sql] = _measure(connection, objects)
            if size > self._most_bytes or not self._make_room(connection, size):
                return None
            resident = _Resident(f"resident_{next(self._numbers)}", size)
            connection.execute(f"CREATE TABLE {resident.name} AS FROM {objects.kept_sql}").fetchall()
        except duckdb.OutOfMemoryException:  # the report may need less, and is to be made then
            self._asked[objects.sql] = _TOO_MANY
            return None
        self._kept[objects.sql] = resident
        return resident

    def _make_room(self, connection: duckdb.DuckDBPyConnection, size: int) -> bool:
        """Drop tables used least recently, and read by nobody now, until so many bytes fit."""
        for sql, resident in list(self._kept.items()):
            if self._has_room(size):
                break
            if not resident.readers:
                connection.execute(f"DROP TABLE {resident.name}").fetchall()
                del self._kept[sql]
        return self._has_room(size)

    def _has_room(self, size: int) -> bool:
        return sum(each.bytes for each in self._kept.values()) + size <= 2 * self._most_bytes

    def _release(self, resident: _Resident) -> None:
        with self._lock:
            resident.readers -= 1


def _measure(connection: duckdb.DuckDBPyConnection, objects: StoredObjects) -> int:
    """Measure the bytes of a table as DuckDB would hold it: a third too many at the most."""
    sql = f"SELECT count(*), sum(strlen(COLUMNS(*)::VARCHAR)) FROM {objects.kept_sql}"  # noqa: S608 - a relation of ours
    ((rows, *texts),) = connection.execute(sql).fetchall()
    return sum(map(int, filter(None, texts))) + _CELL_BYTES * int(rows) * len(texts)

"""The embedded engine: a warm DuckDB that writes plans as CSV files, within a memory limit, and can be stopped."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from weakref import WeakSet

import duckdb
from sqlglot import exp

from reelport.engine.compile import Plan
from reelport.engine.duckdb.csv_sink import CsvSink, Written, open_sink
from reelport.engine.pieces import Pieces
from reelport.errors import DiskFull, InternalError, OutOfMemory, ReelportError, StorageError, UsageError
from reelport.facts.durable import full_disk, reason_of, storage_error

_CSV = "FORMAT csv, DELIMITER ',', QUOTE '\"', ESCAPE '\"', NULLSTR '', USE_TMP_FILE false"
"""RFC 4180 with bare newlines: an absent value is nothing, and what needs quotes gets them."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT])?(i)?B?", re.IGNORECASE)
_INTERPRETER = 160 << 20
"""Bytes that a worker holds beside what the engine counts, as measured."""
_SPILL_LIMIT = "max_temp_directory_size"
_SPILL_SHARE = 0.9
"""What spilled files may take of the room that is free: other things than reports live on the disk."""
_INTERRUPT_SECONDS = 0.02
"""Seconds between two presses on the stop button."""
_POLL_SECONDS = 1.0
"""Seconds between two looks for a Ctrl-C, where waiting hides it."""


class Cancelled(ReelportError):
    """The report was stopped on request; nothing of it is left."""

    code = "cancelled"


class Engine:
    """One DuckDB in this process. Give each report a session of its own; sessions run side by side.

    `memory_limit` ('1GiB') is what the whole process should hold; what is more goes to
    files in `spill`, which is made when needed. With `within`, SQL can neither read nor
    write a file outside those directories and `spill`.
    """

    def __init__(self, memory_limit: str, threads: int, spill: Path, *, within: tuple[Path, ...] = ()) -> None:
        spill.mkdir(parents=True, exist_ok=True)
        self._spill = spill.absolute()
        limit = _compute_memory_limit(memory_limit)
        self._database = duckdb.connect(":memory:", config={"threads": threads, "memory_limit": f"{limit}B"})
        for statement in _list_settings(spill, within):
            self._database.execute(statement)
        self._sessions: WeakSet[Session] = WeakSet()
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Free what it holds; sessions are over, and a write that runs is stopped."""
        with self._lock:
            self._closed, sessions = True, tuple(self._sessions)
        for session in sessions:
            session.close()
        self._database.close()

    def session(self) -> Session:
        """A session for one report. UsageError once the engine was closed."""
        with self._lock:
            if self._closed:
                raise UsageError("This engine was closed: make another one.")
            session = Session(self._database.cursor(), self._spill)
            self._sessions.add(session)
        return session


class Session:
    """The run of one report. `write` belongs to one thread; `cancel` may be called from any other."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, spill: Path) -> None:
        self._connection = connection
        self._spill = spill
        self._cancelled = threading.Event()
        self._interrupting = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()

    def write(self, pieces: Pieces, to: Path) -> Written:
        """Write the rows of all pieces to a new CSV file. It is not yet durable: fsync it before you rename it.

        Raises Cancelled, StorageError when a disk or a pinned file fails, InternalError
        for any other reason; then no file is left. Nor is one after a Ctrl-C, which is raised
        as what it is.
        """
        if threading.current_thread() is not threading.main_thread():
            return self._write(pieces, to)
        # Here the engine would hear of a Ctrl-C late or never, and raise what is no error of ours.
        with ThreadPoolExecutor(1, "report") as pool:
            writing = None
            try:
                writing = pool.submit(self._write, pieces, to)
                while not writing.done():
                    wait((writing,), _POLL_SECONDS)
            finally:
                if writing is None or not writing.done():
                    self.cancel()
        return writing.result()

    def _write(self, pieces: Pieces, to: Path) -> Written:
        whole = False
        self._idle.clear()
        try:
            with _translate_errors(to):
                self._spill.mkdir(parents=True, exist_ok=True)
                self._raise_spill_limit()
                with open_sink(to, self._spill, self._interrupt) as out:
                    rows = self._copy_all(pieces, out)
                whole = True
                return Written(rows, out.bytes, out.sha256)
        finally:
            if not whole:
                # What stands in its way is the failure to tell of, and was told just now.
                with suppress(OSError):
                    to.unlink(missing_ok=True)
            self._idle.set()

    def cancel(self) -> None:
        """Stop the write that runs, or the next one, and return once it has stopped."""
        self._cancelled.set()
        # A press between two steps of the engine can be missed: press until it is heard.
        while not self._idle.wait(_INTERRUPT_SECONDS):
            self._interrupt()

    def close(self) -> None:
        """End the session; a write that runs is stopped, and none begins any more."""
        self.cancel()
        with self._interrupting:
            self._connection.close()

    def _interrupt(self) -> None:
        # Who presses may come too late, when all is written and the session closed: there is nothing left to stop.
        with self._interrupting, suppress(duckdb.ConnectionException):
            self._connection.interrupt()

    def _raise_spill_limit(self) -> None:
        """Let the engine spill as far as the disk goes now: by itself it keeps to what was free at its first spill."""
        room = _measure_folder(self._spill) + int(_SPILL_SHARE * shutil.disk_usage(self._spill).free)
        # Refused where others have spilled more meanwhile: the limit that they keep to holds then. And a session that
        # was closed is told so by its next step.
        with suppress(duckdb.OutOfMemoryException, duckdb.ConnectionException):
            self._connection.execute(f"SET {_SPILL_LIMIT} = '{room}B'")

    def _copy_all(self, pieces: Pieces, out: CsvSink) -> int:
        """Write one piece after the other, the header above the first; the rows of them all."""
        total, rows = 0, None
        while (plan := _next_plan(pieces, rows)) is not None:
            rows = self._copy(plan, out, header=rows is None)
            total += rows
        return total

    def _copy(self, plan: Plan, out: CsvSink, *, header: bool) -> int:
        out.check()
        if self._cancelled.is_set():
            raise Cancelled("the report was stopped")
        path = exp.Literal.string(str(out.pipe)).sql(dialect="duckdb")
        # All rows are fetched: a result that is left open keeps its files open.
        answer = self._connection.execute(f"COPY ({plan.sql}) TO {path} ({_CSV}, HEADER {header})").fetchall()
        return int(answer[0][0])


def _measure_folder(folder: Path) -> int:
    """The bytes of its files, which others make and remove meanwhile."""
    size = 0
    for file in folder.iterdir():
        with suppress(FileNotFoundError):
            size += file.stat().st_size
    return size


def _next_plan(pieces: Pieces, rows: int | None) -> Plan | None:
    """The piece after the one that gave so many rows; None after the last."""
    try:
        return pieces.send(rows)
    except StopIteration:
        return None


def _compute_memory_limit(memory_limit: str) -> int:
    """The bytes that the engine may count on: the process's limit without the interpreter and its libraries."""
    size = _SIZE.fullmatch(memory_limit)
    if size is None:
        raise UsageError(f"{memory_limit!r} is no amount of memory: write it like 2GB or 512MiB")
    number, prefix, binary = size.groups()
    limit = int(float(number) * (1024 if binary else 1000) ** " KMGT".index((prefix or " ").upper()))
    return max(limit - _INTERPRETER, limit // 2)


def _list_settings(spill: Path, within: tuple[Path, ...]) -> Iterator[str]:
    yield "SET TimeZone = 'UTC'"
    # A long query would draw its bar on stdout, where only data belongs.
    yield "SET enable_progress_bar = false"
    yield f"SET temp_directory = {exp.Literal.string(str(spill)).sql(dialect='duckdb')}"
    yield "SET python_enable_replacements = false"
    yield "SET autoinstall_known_extensions = false"
    yield "SET autoload_known_extensions = false"
    yield "SET allow_community_extensions = false"
    # Files are written once and never changed, so what their footers say stays true.
    yield "SET parquet_metadata_cache = true"
    if within:
        folders = exp.Array(expressions=[exp.Literal.string(f"{path.absolute()}/") for path in (*within, spill)])
        yield f"SET allowed_directories = {folders.sql(dialect='duckdb')}"
        yield "SET enable_external_access = false"
    yield f"SET allowed_configs = ['{_SPILL_LIMIT}']"
    yield "SET lock_configuration = true"


@contextmanager
def _translate_errors(to: Path) -> Iterator[None]:
    """The engine's errors as ours, each with what to do next."""
    try:
        yield
    except duckdb.InterruptException as error:
        raise Cancelled("the report was stopped") from error
    except OSError as error:
        raise storage_error(f"{error.filename or to} can't be written: {reason_of(error)}", error) from error
    except duckdb.Error as error:
        raise _translate_error(error, to) from error


def _translate_error(error: duckdb.Error, to: Path) -> ReelportError:
    message = str(error)
    first = message.splitlines()[0]
    if sentence := full_disk(message):
        return DiskFull(f"{to.name} can't be written: {sentence}")
    match error:
        case duckdb.OutOfMemoryException() if "max_temp_directory_size" in message:
            return DiskFull(f"{to.name} needs more room to spill than is left: free some, or ask for less ({first})")
        case duckdb.OutOfMemoryException():
            return OutOfMemory(f"{to.name} needs more memory than the engine has: give it more ({first})")
        case duckdb.InvalidInputException():  # a file that is no Parquet, though it counts as a wrong program
            pass
        case duckdb.ProgrammingError() | duckdb.DataError() | duckdb.InternalError() | duckdb.NotSupportedError():
            return InternalError(f"the engine failed while making {to.name}: {first}")
    return StorageError(f"a file can't be read or written while making {to.name}: {first}")

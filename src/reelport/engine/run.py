"""The embedded engine: a warm DuckDB that writes plans as CSV files, within a memory limit, and can be stopped."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
from sqlglot import exp

from reelport.engine.compile import Plan
from reelport.errors import InternalError, ReelportError, StorageError

_CSV = "FORMAT csv, HEADER true, DELIMITER ',', QUOTE '\"', ESCAPE '\"', NULLSTR '', USE_TMP_FILE false"
"""RFC 4180 with bare newlines: an absent value is nothing, and what needs quotes gets them."""
_PRESS = 0.02
"""Seconds between two presses on the stop button."""


class Cancelled(ReelportError):
    """The report was stopped on request; nothing of it is left."""

    code = "cancelled"


@dataclass(frozen=True, slots=True)
class Written:
    """A finished CSV: its rows, the header not counted, and its bytes."""

    rows: int
    bytes: int


class Engine:
    """One DuckDB in this process. Give each report a session of its own; sessions run side by side.

    `memory_limit` ('1GiB') bounds what all of them hold; what is more goes to files in
    `spill`, which is made when needed. With `within`, files outside those directories
    can be neither read nor written.
    """

    def __init__(self, memory_limit: str, threads: int, spill: Path, *, within: tuple[Path, ...] = ()) -> None:
        spill.mkdir(parents=True, exist_ok=True)
        self._database = duckdb.connect(":memory:", config={"threads": threads, "memory_limit": memory_limit})
        for statement in _settings(spill, within):
            self._database.execute(statement)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Free what it holds; sessions are over."""
        self._database.close()

    def session(self) -> Session:
        """A session for one report."""
        return Session(self._database.cursor())


class Session:
    """The run of one report. `write` belongs to one thread; `cancel` may be called from any other."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._cancelled = threading.Event()
        self._idle = threading.Event()
        self._idle.set()

    def write(self, plan: Plan, to: Path) -> Written:
        """Write the plan's rows to a new CSV file. It is not yet durable: fsync it before you rename it.

        Raises Cancelled, StorageError when a disk or a pinned file fails, InternalError
        for any other reason; then no file is left.
        """
        whole = False
        self._idle.clear()
        try:
            with _spoken(to):
                rows = self._copy(plan, to)
                whole = True
                return Written(rows, to.stat().st_size)
        finally:
            self._idle.set()
            if not whole:
                to.unlink(missing_ok=True)

    def cancel(self) -> None:
        """Stop the write that runs, or the next one, and return once it has stopped."""
        self._cancelled.set()
        # A press between two steps of the engine can be missed: press until it is heard.
        while not self._idle.wait(_PRESS):
            self._connection.interrupt()

    def close(self) -> None:
        """End the session."""
        self._connection.close()

    def _copy(self, plan: Plan, to: Path) -> int:
        if self._cancelled.is_set():
            raise Cancelled("the report was stopped before it began")
        path = exp.Literal.string(str(to)).sql(dialect="duckdb")
        row = self._connection.execute(f"COPY ({plan.sql}) TO {path} ({_CSV})").fetchone()
        if row is None:
            raise InternalError("the engine wrote a report without saying how many rows")
        return int(row[0])


def _settings(spill: Path, within: tuple[Path, ...]) -> Iterator[str]:
    yield "SET TimeZone = 'UTC'"
    yield f"SET temp_directory = {exp.Literal.string(str(spill)).sql(dialect='duckdb')}"
    yield "SET autoinstall_known_extensions = false"
    yield "SET autoload_known_extensions = false"
    yield "SET allow_community_extensions = false"
    # Files are written once and never changed, so what their footers say stays true.
    yield "SET parquet_metadata_cache = true"
    if within:
        folders = exp.Array(expressions=[exp.Literal.string(f"{path.absolute()}/") for path in (*within, spill)])
        yield f"SET allowed_directories = {folders.sql(dialect='duckdb')}"
        yield "SET enable_external_access = false"
    yield "SET lock_configuration = true"


@contextmanager
def _spoken(to: Path) -> Iterator[None]:
    """The engine's errors as ours, each with what to do next."""
    try:
        yield
    except duckdb.InterruptException as error:
        raise Cancelled("the report was stopped") from error
    except duckdb.OutOfMemoryException as error:
        raise InternalError(f"the report needs more memory or spill space than it may have: {error}") from error
    except (duckdb.IOException, OSError) as error:
        raise StorageError(f"a file can't be read or written while making {to.name}: {error}") from error
    except duckdb.Error as error:
        raise InternalError(f"the engine failed while making {to.name}: {error}") from error

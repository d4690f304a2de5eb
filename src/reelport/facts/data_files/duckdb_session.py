"""Open a DuckDB session with a memory limit and a spill folder, deleted at its end."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import duckdb

from reelport.errors import BadInput, StorageError, UsageError
from reelport.facts.data_files.work_folders import SPILL, open_work_folder
from reelport.facts.defaults import MEMORY
from reelport.sql_quoting import quote_text
from reelport.storage.durable import full_disk_sentence, private

Result = TypeVar("Result")

_STOP_AGAIN = 0.1
"""Seconds after which an interrupt is sent again: the first may come before the query has started."""
_TICK = 0.5
"""Seconds between two polls of the query's progress."""
_BUGS = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException, duckdb.ResourceInUseException)
"""Errors that mean that a query of Reelport itself is wrong, not the input."""
_OFF = (
    *("enable_progress_bar_print", "preserve_insertion_order", "python_enable_replacements"),
    *("autoinstall_known_extensions", "autoload_known_extensions"),
)
_STOPPED = re.compile(r"\bKeyboardInterrupt(?:: (\d+))?\s*$")
"""Finds, at the end of an error of DuckDB, the stop that came while it called Python; and the number of its signal."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """A DuckDB session and its work folder."""

    session: duckdb.DuckDBPyConnection
    folder: Path

    def run_interruptibly(self, work: Callable[[], Result], tick: Callable[[float], None] = lambda _: None) -> Result:
        """Run work of the session and return its result; Ctrl-C interrupts it at once.

        `tick` is called every half second with the query's progress, from 0 to 1.

        The work runs in another thread than the one that receives signals: DuckDB checks for signals only between two
        batches of a result, and a sort of millions of rows comes before the first batch.
        """
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(copy_context().run, work)  # what it fetches is held as the caller says
            try:
                while not wait([running], timeout=_TICK).done:
                    if (percent := self.session.query_progress()) >= 0:
                        tick(percent / 100)
                return running.result()
            except KeyboardInterrupt:
                while not running.done():
                    with suppress(KeyboardInterrupt):
                        self.session.interrupt()
                        wait([running], timeout=_STOP_AGAIN)
                raise


@contextmanager
def open_workspace(root: Path, memory: str = MEMORY, threads: int | None = None) -> Iterator[Workspace]:
    """Open a session in UTC that stays within `memory` and spills to disk under the root."""
    with private(), open_work_folder(root) as folder:
        try:
            session = duckdb.connect(config={"memory_limit": memory, "temp_directory": str(folder / "spill")})
        except duckdb.Error as error:
            raise UsageError(f"memory is a number and a unit, such as {MEMORY}, and not {memory!r}") from error
        try:
            with translate_engine_errors(root):
                session.execute("SET TimeZone = 'UTC'")
                session.execute("SET enable_progress_bar = true")  # query_progress() needs it
                for setting in _OFF:
                    session.execute(f"SET {setting} = false")
                if threads is not None:
                    session.execute(f"SET threads = {threads:d}")
                yield Workspace(session, folder)
        finally:
            session.close()


@contextmanager
def open_reading_workspace(root: Path, memory: str = MEMORY) -> Iterator[Workspace]:
    """Open a session that only reads; it spills elsewhere if it can't write to the root."""
    work = root / SPILL
    if os.access(work if work.is_dir() else root, os.W_OK | os.X_OK):
        with open_workspace(root, memory) as space:
            yield space
        return
    with TemporaryDirectory(prefix="reelport-") as folder, open_workspace(Path(folder), memory) as space:
        yield space


@contextmanager
def translate_engine_errors(place: Path) -> Iterator[None]:
    """Turn DuckDB's errors into StorageError (disk, memory) or BadInput, but for our bugs."""
    try:
        yield
    except RuntimeError as error:
        if "interrupted" in str(error):
            raise KeyboardInterrupt from error  # this is how DuckDB reports a Ctrl-C during a query
        raise
    except duckdb.Error as error:
        raise_stop(error)
        message = str(error)
        first = message.splitlines()[0]
        if sentence := full_disk_sentence(message):
            raise StorageError(f"{place}: {sentence}") from error
        if isinstance(error, duckdb.OutOfMemoryException):
            raise StorageError(f"{place}: more memory or room to spill is needed ({first})") from error
        if isinstance(error, _BUGS):
            raise
        raise BadInput(f"the input can't be read to its end: {first}") from error


def raise_stop(error: duckdb.Error) -> None:
    """Raise the KeyboardInterrupt that this error of DuckDB stands for, if any."""
    if found := _STOPPED.search(str(error)):
        raise KeyboardInterrupt(*map(int, filter(None, found.groups()))) from error


def path_list_sql(paths: list[str]) -> str:
    """Write the paths as an SQL list of strings, with glob characters escaped."""
    return f"[{', '.join(quote_text(escape_glob(path)) for path in paths)}]"


def escape_glob(path: str) -> str:
    """Escape the glob characters of a path, so that DuckDB takes it literally."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in path)


def parquet_source(paths: list[str], **options: str) -> str:
    """Write the SQL table function of these Parquet files, without columns of folders."""
    extra = "".join(f", {name} = {value}" for name, value in options.items())
    return f"read_parquet({path_list_sql(paths)}, union_by_name = true, hive_partitioning = false{extra})"

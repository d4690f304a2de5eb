"""A DuckDB session that sorts more than fits in memory, with a spill folder of its own that goes when it ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import duckdb

from reelport.errors import BadInput, StorageError, UsageError
from reelport.facts.defaults import MEMORY
from reelport.facts.durable import full_disk_sentence
from reelport.facts.modes import private
from reelport.facts.storage.work_folders import SPILL, open_work_folder

Result = TypeVar("Result")

_STOP_AGAIN = 0.1
"""Seconds after which the engine is told again to stop: it may not have been at work when it was told first."""
_TICK = 0.5
"""Seconds between two looks at how far the engine is."""
_OURS = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException, duckdb.ResourceInUseException)
"""A query of ours is wrong when these are raised, and no input is to blame."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """A session and its folder."""

    session: duckdb.DuckDBPyConnection
    folder: Path

    def run_interruptibly(self, work: Callable[[], Result], tick: Callable[[float], None] = lambda _: None) -> Result:
        """What the work with the session gives; a Ctrl-C ends it at once, wherever the engine is.

        `tick` is told now and then what part, from 0 to 1, the engine has done of the query that it is at.

        The engine would only look for one between two batches, and a sort of millions of rows comes before the first:
        so it works beside the thread that signals come to.
        """
        with ThreadPoolExecutor(1) as beside:
            doing = beside.submit(work)
            try:
                while not wait([doing], timeout=_TICK).done:
                    if (percent := self.session.query_progress()) >= 0:
                        tick(percent / 100)
                return doing.result()
            except KeyboardInterrupt:
                while not doing.done():
                    with suppress(KeyboardInterrupt):
                        self.session.interrupt()
                        wait([doing], timeout=_STOP_AGAIN)
                raise


@contextmanager
def open_workspace(root: Path, memory: str = MEMORY, threads: int | None = None) -> Iterator[Workspace]:
    """A session in UTC that keeps within `memory` and spills under the root."""
    with private(), open_work_folder(root) as folder:
        try:
            session = duckdb.connect(config={"memory_limit": memory, "temp_directory": str(folder / "spill")})
        except duckdb.Error as error:
            raise UsageError(f"memory is a number and a unit, such as {MEMORY}, and not {memory!r}") from error
        try:
            session.execute("SET TimeZone = 'UTC'")
            session.execute("SET enable_progress_bar = true")  # without it the engine doesn't say how far it is
            session.execute("SET enable_progress_bar_print = false")
            session.execute("SET preserve_insertion_order = false")
            session.execute("SET python_enable_replacements = false")
            session.execute("SET autoinstall_known_extensions = false")
            session.execute("SET autoload_known_extensions = false")
            if threads is not None:
                session.execute(f"SET threads = {threads:d}")
            with translate_engine_errors(root):
                yield Workspace(session, folder)
        finally:
            session.close()


@contextmanager
def open_reading_workspace(root: Path, memory: str = MEMORY) -> Iterator[Workspace]:
    """A session for what only reads: in a temporary directory where the root is absent or not this user's to write."""
    work = root / SPILL
    if os.access(work if work.is_dir() else root, os.W_OK | os.X_OK):
        with open_workspace(root, memory) as space:
            yield space
        return
    with TemporaryDirectory(prefix="reelport-") as folder, open_workspace(Path(folder), memory) as space:
        yield space


@contextmanager
def translate_engine_errors(place: Path) -> Iterator[None]:
    """Turn the engine's refusals inside the block into ours: the disk's and the memory's, or the input's."""
    try:
        yield
    except RuntimeError as error:
        if "interrupted" in str(error):
            raise KeyboardInterrupt from error  # the engine's word for a Ctrl-C while it ran
        raise
    except duckdb.Error as error:
        message = str(error)
        first = message.splitlines()[0]
        if sentence := full_disk_sentence(message):
            raise StorageError(f"{place}: {sentence}") from error
        if isinstance(error, duckdb.OutOfMemoryException):
            raise StorageError(f"{place}: more memory or room to spill is needed ({first})") from error
        if isinstance(error, _OURS):
            raise
        raise BadInput(f"the input can't be read to its end: {first}") from error


def path_list_sql(paths: list[str]) -> str:
    """The paths as an SQL list in which no character stands for others."""
    quoted = ("'" + escape_glob(path).replace("'", "''") + "'" for path in paths)
    return f"[{', '.join(quoted)}]"


def escape_glob(path: str) -> str:
    """The path as a pattern of DuckDB's in which no character stands for others."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in path)


def parquet_source(paths: list[str], **options: str) -> str:
    """An SQL table function that reads these Parquet files, and takes no column from the names of their folders."""
    further = "".join(f", {name} = {value}" for name, value in options.items())
    return f"read_parquet({path_list_sql(paths)}, union_by_name = true, hive_partitioning = false{further})"

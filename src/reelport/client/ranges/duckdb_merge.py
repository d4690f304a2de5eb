"""Merge windows' files with DuckDB: gives exactly the bytes of Python's merge, or declines.

DuckDB's reader doesn't keep how a cell was written, and accepts some text that isn't CSV. So we compare its rows with
the files: written as a service writes them, the rows must have the same number of bytes and of doubled quotes.
No other way of writing has both: a needless quote, a blank, an empty line or a comma at the end makes a file
longer, and what makes it shorter, a quote inside of an unquoted cell, lacks a doubled quote.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from reelport.client.ranges.bodies import Bodies, measure_bodies
from reelport.client.ranges.csv_rows import count_columns
from reelport.client.ranges.merge_rules import MergePlan, MergeRule
from reelport.client.ranges.statements import Statements
from reelport.killpoints import reach
from reelport.wording import advise_extra

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY = 512_000_000
"""DuckDB's memory limit in bytes at most; more data spills to files beside the windows'."""

_SHARE = 0.3
"""Our limit as a share of DuckDB's own default limit, which is 80 % of the machine's or container's memory."""

_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_THREADS = 4
_LOOK_SECONDS = 0.05
_FOLDER = "duckdb"


class Declined(Exception):
    """DuckDB isn't installed, or its output might differ from Python's: Python must merge."""


def order_rows(plan: MergePlan, paths: Sequence[Path], scratch: Path) -> Generator[None, None, Path]:
    """Write merged rows, no header, to a file below `scratch`; return it; yields between.

    The caller reads the file, then calls `remove_folder`. Raises Declined.
    """
    folder = scratch / _FOLDER
    remove_folder(scratch)  # A killed process may have left one.
    folder.mkdir()
    with closing(_connect(folder)) as con:
        job = _Job(con, plan, paths, folder / "rows")
        yield from job.run()
    reach("client-ordered")
    return job.to


def remove_folder(scratch: Path) -> None:
    """Remove DuckDB's folder from `scratch`."""
    shutil.rmtree(scratch / _FOLDER, ignore_errors=True)


def _connect(folder: Path) -> DuckDBPyConnection:
    try:
        import duckdb  # noqa: PLC0415 - an extra, and heavy
    except ImportError as error:
        raise Declined(f"it is not installed ({advise_extra('duckdb')})") from error
    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": min(os.cpu_count() or 1, _THREADS),
        "temp_directory": str(folder / "spill"),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    try:
        con = duckdb.connect(config=settings)
        con.execute("SET enable_progress_bar = false")
        con.execute(f"SET memory_limit = '{_compute_memory_limit(con)} bytes'")
    except (duckdb.Error, ValueError, KeyError) as error:
        raise Declined(_format_first_line(error)) from error
    return con


def _compute_memory_limit(con: DuckDBPyConnection) -> int:
    """Compute DuckDB's memory limit on this machine, in bytes."""
    ((own,),) = con.execute("SELECT current_setting('memory_limit')").fetchall()
    number, unit = str(own).split()
    return min(MEMORY, int(float(number) * _UNITS[unit] * _SHARE))


class _Job:
    """One merge in a thread of its own, which the waiting thread can interrupt."""

    def __init__(self, con: DuckDBPyConnection, plan: MergePlan, paths: Sequence[Path], to: Path) -> None:
        self.to = to
        self._con = con
        self._plan = plan
        self._paths = paths
        self._stopped = threading.Event()

    def run(self) -> Generator[None]:
        """Run the merge. Closing this early interrupts DuckDB and waits until it stopped."""
        import duckdb  # noqa: PLC0415 - loaded by now

        with ThreadPoolExecutor(1, "reelport-merge") as beside:
            doing = beside.submit(self._merge)
            try:
                while not doing.done():
                    wait([doing], _LOOK_SECONDS)
                    yield
                doing.result()
            except duckdb.Error as error:
                raise Declined(_format_first_line(error)) from error
            finally:
                self._stop(doing)

    def _stop(self, doing: Future[None]) -> None:
        self._stopped.set()
        while not doing.done():
            # Interrupt repeatedly: DuckDB may have been between two statements the first time.
            self._con.interrupt()
            wait([doing], _LOOK_SECONDS)

    def _check(self) -> None:
        if self._stopped.is_set():
            raise Declined("it was stopped")

    def _merge(self) -> None:
        self._check_headers()
        bodies = measure_bodies(self._paths, self._check)
        statements = Statements(self._plan, self._paths, bodies)
        if self._plan.rule is MergeRule.SUMMED:
            self._add_up(statements, bodies)
        else:
            self._put_in_order(statements, bodies)

    def _check_headers(self) -> None:
        columns = len(self._plan.asked.dimensions) + len(self._plan.asked.metrics)
        if not self._plan.width or any(count_columns(path) != columns for path in self._paths):
            raise Declined("rows have no key, or a header has another number of columns than was asked for")

    def _add_up(self, statements: Statements, bodies: Bodies) -> None:
        self._con.execute("SET preserve_insertion_order = false")  # The order is made at the end.
        self._con.execute(statements.add_up())
        found = self._con.execute(statements.describe_sums()).fetchone()
        if found != (bodies.bytes, bodies.pairs, False):
            raise Declined("cells are written in more than one way")
        self._con.execute(statements.write_sums(self.to))

    def _put_in_order(self, statements: Statements, bodies: Bodies) -> None:
        self._con.execute(statements.put_in_order(self.to))
        written = measure_bodies([self.to], self._check, headers=False)
        if (written.bytes, written.pairs) != (bodies.bytes, bodies.pairs):
            raise Declined("cells are written in more than one way")


def _format_first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__

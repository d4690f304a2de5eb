"""Two other column engines over the service's files: Polars and chDB (ClickHouse), each warm in its own process."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.facts import Facts
from benchmarks.measure import Took, measured
from benchmarks.reports import Report

_SETTINGS = {
    "use_hive_partitioning": "0",
    "join_use_nulls": "1",
    "format_csv_null_representation": "''",
    "max_bytes_ratio_before_external_group_by": "0.5",
    "max_bytes_ratio_before_external_sort": "0.5",
}


def is_installed(library: str) -> bool:
    """Whether the library can be imported."""
    return find_spec(library) is not None


class Polars:
    """Polars' lazy frames, written to CSV by its streaming engine."""

    name = "polars"

    def __init__(self, facts: Facts, threads: int) -> None:
        self._facts = facts
        self._process = ProcessPoolExecutor(1, get_context("spawn"), _limit_polars, (threads,))

    def write(self, report: Report, shift: int, to: Path) -> Took:
        """Write the report of these days to a file, and say what it took."""
        span = report.span(shift)
        files = {table: self._facts.files(table, *span) for table in report.tables}
        return self._process.submit(_write_by_polars, report, shift, files, to).result()

    def close(self) -> None:
        """End its process."""
        self._process.shutdown()


class ChDB:
    """ClickHouse within a process, by SQL written by hand, with the memory limit and the threads of the others."""

    name = "chdb"

    def __init__(self, facts: Facts, memory: int, threads: int) -> None:
        self._facts = facts
        self._process = ProcessPoolExecutor(1, get_context("spawn"), _open, (memory, threads))

    def write(self, report: Report, shift: int, to: Path) -> Took:
        """Write the report of these days to a file, and say what it took."""
        span = report.span(shift)
        sources = {table: _name_files(self._facts.files(table, *span)) for table in report.tables}
        return self._process.submit(_copy, report.sql("chdb", shift, sources), str(to)).result()

    def close(self) -> None:
        """End its process."""
        self._process.shutdown()


def _limit_polars(threads: int) -> None:
    os.environ["POLARS_MAX_THREADS"] = str(threads)  # read when it is imported


def _write_by_polars(report: Report, shift: int, files: dict[str, tuple[str, ...]], to: Path) -> Took:
    from benchmarks.polars_script import write  # noqa: PLC0415 - only in the process whose threads are limited

    return measured(write, report, shift, files, to)


def _name_files(files: Iterable[str]) -> str:
    """Write the table function of these files; braces must not begin a path."""
    paths = list(files)
    folder = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120 - pathlib has no such path
    names = ",".join(os.path.relpath(path, folder) for path in paths)
    return f"file('{folder}/{{{names}}}', 'Parquet')" if len(paths) > 1 else f"file('{paths[0]}', 'Parquet')"


@functools.cache
def _session() -> Any:  # noqa: ANN401 - the library is only there where somebody installed it
    from chdb.session import Session  # noqa: PLC0415 - see above

    return Session()  # type: ignore[no-untyped-call,unused-ignore]


def _open(memory: int, threads: int) -> None:
    for name, value in {**_SETTINGS, "max_threads": threads, "max_memory_usage": memory}.items():
        _session().query(f"SET {name} = {value}")


def _copy(sql: str, to: str) -> Took:
    return measured(_session().query, f"{sql} INTO OUTFILE '{to}' FORMAT CSVWithNames")

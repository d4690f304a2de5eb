"""Whether a Parquet file has every column that its table declares today."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache

import duckdb

from reelport.facts.data_files.duckdb_session import parquet_source, path_list_sql
from reelport.facts.data_files.projection import has_defaults, project_sql, select_no_rows_sql
from reelport.facts.tables import Table

_MOST_FILES = 100_000
"""Files whose columns are remembered. A file never changes, and its name is never used again."""
_describer: ContextVar[duckdb.DuckDBPyConnection | None] = ContextVar("describer", default=None)


@contextmanager
def describing_by(session: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Have this session look at files within the block, and no session of their own.

    Where it keeps what it has read of a file's description, its next statement doesn't read that again.
    """
    token = _describer.set(session)
    try:
        yield
    finally:
        _describer.reset(token)


def read_files_sql(table: Table, paths: list[str]) -> str:
    """Write the relation of all stored columns over these files, which may lack some.

    It goes into FROM, before `AS name`. The files are at least one. Where none lacks any column, nothing is filled in:
    the rows are the same, and the engine binds the statement in half the time.
    """
    try:
        is_complete = not has_defaults(table) and all(_is_complete(table, path) for path in paths)
    except duckdb.Error:  # whoever reads the file tells what is wrong with it
        is_complete = False
    return _read_parquet(paths) if is_complete else f"({project_sql(table, parquet_source(paths))})"


@lru_cache(maxsize=_MOST_FILES)
def _is_complete(table: Table, path: str) -> bool:
    found = f"SELECT * FROM {_read_parquet([path])}"  # noqa: S608 - a quoted path
    return _describe(found) == _describe_declared(table)


def _read_parquet(paths: list[str]) -> str:
    return f"read_parquet({path_list_sql(paths)}, hive_partitioning = false)"


@cache
def _describe_declared(table: Table) -> list[tuple[str, str]]:
    return _describe(select_no_rows_sql(table))


def _describe(select: str) -> list[tuple[str, str]]:
    session = _describer.get() or _session().cursor()
    rows = session.execute(f"DESCRIBE {select}").fetchall()
    return [(name, type_) for name, type_, *_ in rows]


@cache
def _session() -> duckdb.DuckDBPyConnection:
    session = duckdb.connect(config={"threads": 1})
    session.execute("SET TimeZone = 'UTC'")
    return session

"""Reads a checkpoint of a Delta log by DuckDB: for processes that have loaded it anyway."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import duckdb

from reelport.facts.log.plain_actions import UnusualLog
from reelport.facts.row_rules import quote_name

_MEMORY = "256MB"
"""What DuckDB may take for a checkpoint, which is a few hundred bytes a file."""
_LEFT_OUT = {"remove", "txn"}
"""Actions that say nothing of the files that are left: there may be thousands of them."""
_OFF = ("autoinstall_known_extensions", "autoload_known_extensions", "python_enable_replacements")
_CACHES = ("enable_external_file_cache", "parquet_metadata_cache")
"""What DuckDB may keep of a file by its path, which is the same here for one checkpoint after the other."""
_SOURCE = "FROM read_parquet($path, hive_partitioning = false)"


def read_checkpoint(content: bytes) -> Iterator[dict[str, Any]]:
    """Yield a checkpoint's actions but removes and transactions, each as a commit has it.

    Raises UnusualLog for what DuckDB can't read.
    """
    try:
        with _name_bytes(content) as path, _open_database().cursor() as session:
            names = _list_kinds(session, path)
            rows = _select(session, path, names)
    # DuckDB raises RuntimeError for texts that are none; AttributeError: not every system has files in memory.
    except (duckdb.Error, RuntimeError, UnicodeError, OSError, AttributeError) as error:
        raise UnusualLog(f"the checkpoint can't be read: {error}") from error
    for row in rows:
        yield {name: value for name, value in zip(names, row, strict=True) if value is not None}


def _list_kinds(session: duckdb.DuckDBPyConnection, path: str) -> list[str]:
    """List the kinds of actions for which the checkpoint has a column, but for those left out."""
    columns = session.execute(f"SELECT * {_SOURCE} LIMIT 0", {"path": path}).description
    return [name for name, *_ in columns or () if name not in _LEFT_OUT]


def _select(session: duckdb.DuckDBPyConnection, path: str, names: list[str]) -> list[tuple[Any, ...]]:
    kinds = [quote_name(name) for name in names]
    sql = f"SELECT {', '.join(kinds)} {_SOURCE} WHERE {' OR '.join(f'{kind} IS NOT NULL' for kind in kinds)}"
    return session.execute(sql, {"path": path}).fetchall()


@cache
def _open_database() -> duckdb.DuckDBPyConnection:
    """Open the process's database for checkpoints, which holds nothing itself."""
    database = duckdb.connect(":memory:", config={"threads": 1, "memory_limit": _MEMORY, "temp_directory": ""})
    for name in (*_OFF, *_CACHES):
        database.execute(f"SET GLOBAL {name} = false")
    return database


@contextmanager
def _name_bytes(content: bytes) -> Iterator[str]:
    """Give bytes a path for the block: in memory, for DuckDB reads nothing else."""
    descriptor = os.memfd_create("checkpoint")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)

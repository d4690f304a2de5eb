"""Read the rows of a small object table, such as `channels`, without an engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deltalake import DeltaTable, QueryBuilder

from reelport.errors import StorageError
from reelport.facts.log.delta_log import open_table
from reelport.facts.log.log_files import describe_place, find_remote
from reelport.facts.log.snapshot import pin
from reelport.facts.tables import Table
from reelport.storage.durable import to_plain_line


def read_rows(root: Path, table: Table) -> list[dict[str, Any]]:
    """Read the newest version, in no order, without the columns that its log lacks."""
    folder = root / table.name
    if find_remote(folder) is not None:
        return list(_read_cached(root, table))
    delta = open_table(folder)
    return [] if delta is None else _query(folder, table, delta)


def _query(folder: Path, table: Table, delta: DeltaTable) -> list[dict[str, Any]]:
    """Let the Delta library read the rows: importing pyarrow takes longer."""
    known = {field.name for field in delta.schema().fields}
    names = [column.name for column in table.columns if column.name in known]
    try:
        found = QueryBuilder().register("rows", delta).execute(f"SELECT {', '.join(names)} FROM rows").read_all()  # noqa: S608 - declared names
    except Exception as error:  # the library raises no other for a file that is gone or damaged
        raise StorageError(f"{describe_place(folder)}: {to_plain_line(str(error))}; run reelport verify") from error
    cells = [column.to_pylist() for column in found.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*cells, strict=True)]


def _read_cached(root: Path, table: Table) -> Iterator[dict[str, Any]]:
    """Read a table of an object store from its file cache, which the library would bypass."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - slow to import

    from reelport.facts.damage import translate_damage  # noqa: PLC0415 - imports pyarrow

    for file in pin(root, [table.name]).files(table.name):
        with translate_damage(file), pq.ParquetFile(file) as whole:
            rows = whole.read([column.name for column in table.columns]).to_pylist()
        yield from rows

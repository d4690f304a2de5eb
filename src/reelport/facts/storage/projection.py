"""The columns that a table declares, read off files of any version: what a file lacks is empty, or its default.

Reports, compaction, undo and the merge of objects all read through here, as SQL or as Arrow rows.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from reelport.facts.rules import absent, empty, quoted
from reelport.facts.schema import BATCH, stored, stored_names
from reelport.facts.tables import Column, Table

if TYPE_CHECKING:
    import pyarrow as pa

_SOURCE = "_reelport_files"


def project_sql(table: Table, source: str) -> str:
    """A SELECT of every stored column from the rows of `source`, an SQL table function that may lack some of them."""
    return _projection(table).replace(_SOURCE, source)


@cache
def _projection(table: Table) -> str:
    declared = empty_sql(table)
    shown = ", ".join(_shown(table, name) for name in stored_names(table))
    return f"SELECT {shown} FROM ({declared} UNION ALL BY NAME SELECT * FROM {_SOURCE})"  # noqa: S608 - our tables' own names


def _shown(table: Table, name: str) -> str:
    column = _columns(table).get(name)
    if column is None or column.default is None:
        return quoted(name)
    return f"coalesce({quoted(name)}, {absent(column)}) AS {quoted(name)}"


@cache
def empty_sql(table: Table) -> str:
    """A SELECT of every stored column, with its type and without rows."""
    columns = [f"{empty(column)} AS {quoted(column.name)}" for column in table.columns]
    columns += [f"CAST(NULL AS VARCHAR) AS {quoted(BATCH)}"] if table.is_fact else []
    return f"SELECT {', '.join(columns)} WHERE false"


def project_rows(table: Table, rows: pa.Table) -> pa.Table:
    """The rows with every stored column, in its order and type, whatever version wrote them."""
    schema, known = stored(table.name), frozenset(rows.column_names)
    if schema.names == rows.column_names:
        return rows.cast(schema)
    columns = [
        rows.column(field.name).cast(field.type) if field.name in known else _filled(table, field, rows.num_rows)
        for field in schema
    ]
    import pyarrow as pa  # noqa: PLC0415 - only a rewriting pays for it

    return pa.Table.from_arrays(columns, schema=schema)


def _filled(table: Table, field: pa.Field, rows: int) -> pa.Array:
    import pyarrow as pa  # noqa: PLC0415 - the same

    column = _columns(table).get(field.name)
    default = None if column is None else column.default
    return pa.repeat(pa.scalar(default, field.type), rows)


@cache
def _columns(table: Table) -> dict[str, Column]:
    return {column.name: column for column in table.columns}

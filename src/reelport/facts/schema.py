"""The Parquet and Delta schema of each table: Arrow types, sort order, partition column."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from reelport.check import nearest
from reelport.errors import UsageError
from reelport.facts.tables import TABLES, Kind, Table

if TYPE_CHECKING:
    import pyarrow as pa

MONTH = "month"
"""The partition column of fact tables. It is never stored in the files."""
BATCH = "batch"
"""The last column of every fact file: the batch that the row was loaded with."""
OWNER = "owner_channel_id"


def find_table(name: str) -> Table:
    """Find the table by name; UsageError with the nearest name when there is none."""
    if name in TABLES:
        return TABLES[name]
    hint = nearest(name, TABLES)
    guess = f"did you mean {hint}?" if hint else f"there are {', '.join(TABLES)}"
    raise UsageError(f"there is no table {name!r}: {guess}")


@cache
def _arrow_types() -> dict[Kind, pa.DataType]:
    import pyarrow as pa  # noqa: PLC0415 - slow to import; not needed to list tables

    return {
        Kind.TEXT: pa.string(),
        Kind.COUNT: pa.int64(),
        Kind.MONEY: pa.decimal128(18, 6),
        Kind.DAY: pa.date32(),
        Kind.MOMENT: pa.timestamp("us", "UTC"),
        Kind.TEXTS: pa.list_(pa.string()),
    }


def stored_names(table: Table) -> tuple[str, ...]:
    """List the columns of the table's Parquet files, in order."""
    return (*(column.name for column in table.columns), *((BATCH,) if table.is_fact else ()))


@cache
def stored_schema(name: str) -> pa.Schema:
    """Make the Arrow schema of a table's files; those of facts end with the batch column."""
    import pyarrow as pa  # noqa: PLC0415 - see above

    table = TABLES[name]
    fields = [pa.field(column.name, _arrow_types()[column.kind]) for column in table.columns]
    return pa.schema(fields + ([pa.field(BATCH, _arrow_types()[Kind.TEXT])] if table.is_fact else []))


@cache
def delta_schema(name: str) -> pa.Schema:
    """Make a Delta table's Arrow schema: stored columns, and of facts the partition."""
    table = TABLES[name]
    if not table.is_fact:
        return stored_schema(name)
    import pyarrow as pa  # noqa: PLC0415 - see above

    return stored_schema(name).append(pa.field(MONTH, _arrow_types()[Kind.TEXT]))


def partition_columns(table: Table) -> list[str]:
    """List the Delta partition columns."""
    return [MONTH] if table.is_fact else []


def sort_keys(table: Table) -> tuple[str, ...]:
    """List the columns that files are sorted by.

    The rows of a channel lie together, ordered by time, so that a report on one channel reads
    few row groups; the video comes next, for reports by video and for compression.
    """
    if table.key is not None:
        return (table.key,)
    assert table.time is not None  # noqa: S101 - a table has a time or a key
    extra = ("kind",) if any(column.name == "kind" for column in table.columns) else ()
    return (OWNER, table.time, *extra, "video_id")

"""How the Parquet files of tables are written: compressed, with checksums and encodings."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from reelport.facts.schema import stored_schema
from reelport.facts.tables import Table


def open_writer(
    to: Path | pa.NativeFile, table: Table, *, statistics: Collection[str] | None = None, stores_schema: bool = True
) -> pq.ParquetWriter:
    """Open a writer of the table's rows, with statistics of all columns or of these.

    OSError when there is no room. Times are written as differences: a channel's rows lie in order of time, so that they
    take half the bytes and less. All other columns have dictionaries.
    """
    schema = stored_schema(table.name)
    return pq.ParquetWriter(
        to,
        schema,
        compression="zstd",
        use_dictionary=[_name_values(field) for field in schema if field.name != table.time],
        column_encoding=None if table.time is None else {table.time: "DELTA_BINARY_PACKED"},
        write_statistics=True if statistics is None else list(statistics),
        store_schema=stores_schema,
        write_page_checksum=True,
    )


def _name_values(field: pa.Field) -> str:
    """Name the file's column of a field's values: of a list it is the one of its elements."""
    return f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name

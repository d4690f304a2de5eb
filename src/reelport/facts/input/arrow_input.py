"""Make a source of a load from Arrow rows; a row's line is its number."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import chain
from typing import TypeAlias

import pyarrow as pa

from reelport.errors import BadInput
from reelport.facts.data_files.duckdb_session import Workspace
from reelport.facts.input.load_query import FILE, LINE, RowSource
from reelport.facts.input.sources import make_arrow_source

ArrowRows: TypeAlias = pa.Table | pa.RecordBatchReader | Iterable[pa.RecordBatch]


def make_arrow_rows_source(space: Workspace, rows: ArrowRows, batch: str) -> RowSource:
    """Make a source of the rows for a batch; BadInput for an iterable without a batch."""
    if isinstance(rows, pa.Table):
        rows = rows.to_reader()
    elif not isinstance(rows, pa.RecordBatchReader):
        parts = iter(rows)
        first = next(parts, None)
        if first is None:
            raise BadInput(f"batch {batch} holds no rows")
        rows = pa.RecordBatchReader.from_batches(first.schema, chain([first], parts))
    described = space.session.from_arrow(pa.Table.from_batches([], rows.schema))
    types = dict(zip(described.columns, map(str, described.types), strict=True))
    places = pa.schema([*rows.schema, pa.field(FILE, pa.int32()), pa.field(LINE, pa.int64())])
    placed = pa.RecordBatchReader.from_batches(places, _add_places(rows, places))
    return make_arrow_source(space.session, placed, types, f"batch {batch}", 0)


def _add_places(rows: pa.RecordBatchReader, schema: pa.Schema) -> Iterable[pa.RecordBatch]:
    # Out of buffers: Arrow imports pandas, where it is installed, to make an array or a scalar of Python's values.
    line = 1
    for part in rows:
        size = part.num_rows
        file = pa.Array.from_buffers(pa.int32(), size, [None, pa.py_buffer(bytes(4 * size))])
        lines = pa.Array.from_buffers(pa.int64(), size, [None, pa.py_buffer(array("q", range(line, line + size)))])
        yield pa.RecordBatch.from_arrays([*part.columns, file, lines], schema=schema)
        line += size

"""Make a source of a load from Arrow rows; a row's line is its number."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import pyarrow as pa

from reelport.errors import BadInput
from reelport.facts.data_files.duckdb_session import Workspace
from reelport.facts.input.load_query import FILE, LINE, RowSource
from reelport.facts.input.sources import make_arrow_source

ArrowRows: TypeAlias = pa.Table | pa.RecordBatchReader | Iterable[pa.RecordBatch]


def make_arrow_rows_source(space: Workspace, rows: ArrowRows, batch: str) -> RowSource:
    """Make a source of the rows for this batch; BadInput when an iterable yields no record batch."""
    if isinstance(rows, pa.Table):
        rows = rows.to_reader()
    elif not isinstance(rows, pa.RecordBatchReader):
        parts = iter(rows)
        first = next(parts, None)
        if first is None:
            raise BadInput(f"batch {batch} holds no rows")
        rows = pa.RecordBatchReader.from_batches(first.schema, _chain(first, parts))
    described = space.session.from_arrow(rows.schema.empty_table())
    types = dict(zip(described.columns, map(str, described.types), strict=True))
    places = pa.schema([*rows.schema, pa.field(FILE, pa.int32()), pa.field(LINE, pa.int64())])
    placed = pa.RecordBatchReader.from_batches(places, _add_places(rows, places))
    return make_arrow_source(space.session, placed, types, f"batch {batch}", 0)


def _chain(first: pa.RecordBatch, rest: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    yield first
    yield from rest


def _add_places(rows: pa.RecordBatchReader, schema: pa.Schema) -> Iterable[pa.RecordBatch]:
    line = 1
    for part in rows:
        at = pa.array(range(line, line + part.num_rows), pa.int64())
        file = pa.repeat(pa.scalar(0, pa.int32()), part.num_rows)
        yield pa.RecordBatch.from_arrays([*part.columns, file, at], schema=schema)
        line += part.num_rows

"""The Parquet file of an aggregation: its columns and types, written as rows arrive."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from reelport.engine.aggregation import Aggregation
from reelport.engine.trees import WIDEST_DECIMAL

_KEYS = {"TEXT": pa.string(), "DATE": pa.date32(), "TIMESTAMP": pa.timestamp("us")}


class AggregatedFile:
    """Writes rows to a new file. It holds no more of them in memory than came at once."""

    def __init__(self, aggregation: Aggregation, path: Path) -> None:
        self._schema = _arrow_schema(aggregation)
        self._writer = pq.ParquetWriter(path, self._schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._writer.close()

    def write(self, rows: pa.Table) -> None:
        """Add rows.

        Raises OSError when the disk doesn't take them, pyarrow's error when a type isn't what was told.
        """
        self._writer.write_table(rows.cast(self._schema))


def _arrow_schema(aggregation: Aggregation) -> pa.Schema:
    fields = [(key.header, _KEYS[aggregation.columns[key.header]]) for key in aggregation.keys]
    for measure in aggregation.measures:
        type_ = pa.int64() if measure.is_distinct_count else pa.decimal128(WIDEST_DECIMAL, measure.digits)
        fields.append((measure.name, type_))
    return pa.schema(fields)

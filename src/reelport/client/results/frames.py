"""Convert a report to a pandas frame of plain NumPy types, to compute with, plot and merge.

Imports pandas and pyarrow, so `reelport.client.results.tables` loads this module only when it needs a frame.
"""

from __future__ import annotations

import re
from datetime import date, datetime

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from reelport.catalog import CellType
from reelport.cells import Column
from reelport.errors import SchemaDrift

_MOMENT = pa.timestamp("us")
_MONTH = re.compile(r"\s*(\d{4}-(?:0[1-9]|1[0-2]))(?:-01)?\s*", re.ASCII)


def build_frame(table: pa.Table, columns: tuple[Column, ...], *, exact: bool) -> pd.DataFrame:
    """Convert all rows. With `exact`, money and rates are Decimals, else the nearest floats.

    Raises SchemaDrift for an invalid month.
    """
    found = zip(columns, table.columns, strict=True)
    return pd.DataFrame({column.name: _convert_column(column, cells, exact=exact) for column, cells in found})


def _convert_column(column: Column, cells: pa.ChunkedArray, *, exact: bool) -> pd.Series:
    match column.type:
        case CellType.INTEGER | CellType.DECIMAL:
            return _convert_numbers(cells, exact=exact)
        case CellType.MONTH:
            return _convert_months(column.name, cells).to_pandas()
        case CellType.DAY | CellType.HOUR | CellType.MINUTE:
            return cells.cast(_MOMENT).to_pandas()
        case CellType.TEXT:
            return cells.to_pandas()


def _convert_numbers(cells: pa.ChunkedArray, *, exact: bool) -> pd.Series:
    """Convert integers to int64 or Int64 (empty cells), others to Decimals or floats."""
    if pa.types.is_integer(cells.type):
        return cells.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get if cells.null_count else None)
    if exact:
        return cells.to_pandas()
    # Arrow's cast from decimal to float often misses the nearest float; its cast from text doesn't.
    return cells.cast(pa.string()).cast(pa.float64()).to_pandas()


def _convert_months(name: str, cells: pa.ChunkedArray) -> pa.ChunkedArray:
    encoded = cells.dictionary_encode().combine_chunks()
    firsts = pa.array([_parse_month(name, text) for text in encoded.dictionary.to_pylist()], _MOMENT)
    return pa.chunked_array([pc.take(firsts, encoded.indices)])


def _parse_month(name: str, text: str) -> datetime | None:
    if not text:
        return None
    if not (month := _MONTH.fullmatch(text)):
        raise SchemaDrift(
            f"Column {name}: {text[:80]!r} is no month such as 2026-01. To have the column as it is: "
            f"table.as_text({name!r})."
        )
    return datetime.combine(date.fromisoformat(f"{month[1]}-01"), datetime.min.time())

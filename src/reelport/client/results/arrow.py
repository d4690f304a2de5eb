"""Read a report as Arrow, by its CSV reader or else row by row, and as a pandas frame.

A frame has plain NumPy types, to compute with, plot and merge. Imports pyarrow, so `reelport.client.results.tables`
loads this module only when it needs a table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from reelport.catalog import CellType
from reelport.cells import PRECISION, Cell, Column
from reelport.client.files.locks import replace_whole
from reelport.client.results.typed_rows import read_typed_rows
from reelport.errors import SchemaDrift

if TYPE_CHECKING:
    import pandas as pd


# Bytes per read of Arrow's reader. It reads ahead of the writer: blocks eight times as large would take 400 MB.
_BLOCK = 1 << 20

_ROWS = 65_536

# Rows or bytes after which a Parquet row group ends, whichever comes first.
_GROUP_ROWS, _GROUP_BYTES = 131_072, 32 << 20

_INT64 = range(-(2**63), 2**63)


def read_table(path: Path, columns: tuple[Column, ...]) -> pa.Table:
    """Read all rows into memory."""
    if _is_empty(path):
        return build_schema(columns).empty_table()
    try:
        return csv.read_csv(path, *_build_options(columns))
    except pa.ArrowInvalid:
        wide = _widen_types(path, columns)
        return pa.Table.from_batches(_read_batches(path, columns, wide), wide)


def write_parquet(path: Path, columns: tuple[Column, ...], to: Path) -> None:
    """Write all rows to Parquet, block by block; the file gets its name only when whole."""
    with replace_whole(to) as part:
        try:
            blocks = iter(()) if _is_empty(path) else csv.open_csv(path, *_build_options(columns))
            _write_groups(part, build_schema(columns), blocks)
        except pa.ArrowInvalid:
            wide = _widen_types(path, columns)
            _write_groups(part, wide, _read_batches(path, columns, wide))


def build_schema(columns: tuple[Column, ...]) -> pa.Schema:
    """Return the columns' Arrow types, according to the catalog."""
    return pa.schema([(column.name, _find_type(column.type, column.digits)) for column in columns])


def _find_type(kind: CellType, digits: int) -> pa.DataType:
    match kind:
        case CellType.TEXT | CellType.MONTH:
            return pa.string()
        case CellType.INTEGER:
            return pa.int64()
        case CellType.DECIMAL:
            return pa.decimal128(PRECISION, digits)
        case CellType.DAY:
            return pa.date32()
        case CellType.HOUR | CellType.MINUTE:
            return pa.timestamp("us", "UTC")


def _build_options(columns: tuple[Column, ...]) -> tuple[csv.ReadOptions, csv.ParseOptions, csv.ConvertOptions]:
    """Return reader options that guess no type; only an empty cell without quotes is null."""
    types = build_schema(columns)
    read = csv.ReadOptions(column_names=types.names, skip_rows=1, block_size=_BLOCK)
    # In a report of one column a blank line is a row whose cell is empty.
    parse = csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=len(columns) > 1)
    convert = csv.ConvertOptions(
        column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
    )
    return read, parse, convert


def _is_empty(path: Path) -> bool:
    """Whether the file has only a header, which Arrow's reader treats as an error."""
    with path.open("rb") as file:
        file.readline()
        return not file.read(1)


def _widen_types(path: Path, columns: tuple[Column, ...]) -> pa.Schema:
    """Find types that hold every cell where the catalog's don't; reads all. Raises SchemaDrift."""
    widths = [_Width(column) for column in columns]
    for row in read_typed_rows(path, columns):
        for width, cell in zip(widths, row, strict=True):
            width.add(cell)
    return pa.schema([(width.column.name, width.type()) for width in widths])


class _Width:
    def __init__(self, column: Column) -> None:
        self.column = column
        self._whole = column.type is CellType.INTEGER
        self._before, self._after = 1, column.digits

    def add(self, cell: Cell) -> None:
        if isinstance(cell, Decimal):
            _, digits, exponent = cell.as_tuple()
            assert isinstance(exponent, int)  # noqa: S101 - no NaN gets here; told to the type checker
            self._after = max(self._after, -exponent)
            self._before = max(self._before, len(digits) + exponent)
            self._whole = False
        elif isinstance(cell, int) and cell not in _INT64:
            self._before = max(self._before, len(str(abs(cell))))
            self._whole = False
        elif isinstance(cell, int):
            self._before = max(self._before, 19)

    def type(self) -> pa.DataType:
        if self.column.type not in {CellType.INTEGER, CellType.DECIMAL} or self._whole:
            return _find_type(self.column.type, self.column.digits)
        if self._before + self._after > PRECISION:
            raise SchemaDrift(f"The numbers of {self.column.name} have more than {PRECISION} digits.")
        return pa.decimal128(PRECISION, self._after)


def _read_batches(path: Path, columns: tuple[Column, ...], types: pa.Schema) -> Iterator[pa.RecordBatch]:
    rows = read_typed_rows(path, columns)
    while block := list(islice(rows, _ROWS)):
        arrays = [pa.array(cells, type=kind) for cells, kind in zip(zip(*block, strict=True), types.types, strict=True)]
        yield pa.record_batch(arrays, schema=types)


def _write_groups(part: Path, types: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    with parquet.ParquetWriter(part, types, compression="zstd") as writer:
        for group in _group_batches(batches):
            writer.write_table(pa.Table.from_batches(group, types))


def _group_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    group: list[pa.RecordBatch] = []
    for batch in batches:
        group.append(batch)
        if sum(map(len, group)) >= _GROUP_ROWS or sum(each.nbytes for each in group) >= _GROUP_BYTES:
            yield group
            group = []
    if group:
        yield group


_MOMENT = pa.timestamp("us")
_MONTH = re.compile(r"\s*(\d{4}-(?:0[1-9]|1[0-2]))(?:-01)?\s*", re.ASCII)


def build_frame(table: pa.Table, columns: tuple[Column, ...], *, exact: bool) -> pd.DataFrame:
    """Convert all rows. With `exact`, money and rates are Decimals, else the nearest floats.

    Raises SchemaDrift for an invalid month.
    """
    import pandas as pd  # noqa: PLC0415 - loaded when a frame is asked for

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
    import pandas as pd  # noqa: PLC0415 - the same

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

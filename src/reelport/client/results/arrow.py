"""A report's file as Arrow: by Arrow's CSV reader with the types said beforehand, or row by row where that gives up.

Imports pyarrow: `reelport.client.results.tables` loads this module when a table is asked for.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, parquet

from reelport.catalog import CellType
from reelport.client.files.locks import put_in_place
from reelport.client.results.cells import Cell, typed
from reelport.client.results.columns import PRECISION, Column
from reelport.errors import SchemaDrift

_BLOCK = 1 << 20
"""Bytes that Arrow's reader takes at a time: it reads ahead of who writes, so that eight times as many cost 400 MB."""

_ROWS = 65_536
_GROUP_ROWS, _GROUP_BYTES = 131_072, 32 << 20
"""What makes a row group of a Parquet file, whichever comes first."""

_INT64 = range(-(2**63), 2**63)


def table(path: Path, columns: tuple[Column, ...]) -> pa.Table:
    """All rows, in memory."""
    if _rowless(path):
        return schema(columns).empty_table()
    try:
        return csv.read_csv(path, *_options(columns))
    except pa.ArrowInvalid:
        wide = _wide(path, columns)
        return pa.Table.from_batches(_batches(path, columns, wide), wide)


def write_parquet(path: Path, columns: tuple[Column, ...], to: Path) -> None:
    """All rows into a file that has its name only when it is whole; a block of rows at a time."""
    part = to.with_name(f"{to.name}.{secrets.token_hex(4)}.part")
    try:
        try:
            _write(part, schema(columns), _blocks(path, columns))
        except pa.ArrowInvalid:
            wide = _wide(path, columns)
            _write(part, wide, _batches(path, columns, wide))
        with part.open("r+b") as file:  # Windows syncs no file that is only read.
            os.fsync(file.fileno())
        put_in_place(part, to)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


def schema(columns: tuple[Column, ...]) -> pa.Schema:
    """The Arrow types of the columns, as the catalog says."""
    return pa.schema([(column.name, _type(column.type, column.digits)) for column in columns])


def _type(kind: CellType, digits: int) -> pa.DataType:
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


def _options(columns: tuple[Column, ...]) -> tuple[csv.ReadOptions, csv.ParseOptions, csv.ConvertOptions]:
    """Every type is said, nothing is sniffed, and only an empty cell without quotes is null."""
    types = schema(columns)
    read = csv.ReadOptions(column_names=types.names, skip_rows=1, block_size=_BLOCK)
    # In a report of one column a blank line is a row whose cell is empty.
    parse = csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=len(columns) > 1)
    convert = csv.ConvertOptions(
        column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
    )
    return read, parse, convert


def _blocks(path: Path, columns: tuple[Column, ...]) -> Iterator[pa.RecordBatch]:
    if not _rowless(path):
        yield from csv.open_csv(path, *_options(columns))


def _rowless(path: Path) -> bool:
    """Whether there is nothing below the header, which Arrow's reader takes for an error."""
    with path.open("rb") as file:
        file.readline()
        return not file.read(1)


def _wide(path: Path, columns: tuple[Column, ...]) -> pa.Schema:
    """Types that hold every cell of a file that the catalog's types don't: reads all of it. Raises SchemaDrift."""
    widths = [_Width(column) for column in columns]
    for row in typed(path, columns):
        for width, cell in zip(widths, row, strict=True):
            width.take(cell)
    return pa.schema([(width.column.name, width.type()) for width in widths])


class _Width:
    """How many digits the numbers of one column have, before and after the point."""

    def __init__(self, column: Column) -> None:
        self.column = column
        self._whole = column.type is CellType.INTEGER
        self._before, self._after = 1, column.digits

    def take(self, cell: Cell) -> None:
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
            return _type(self.column.type, self.column.digits)
        if self._before + self._after > PRECISION:
            raise SchemaDrift(f"The numbers of {self.column.name} have more than {PRECISION} digits.")
        return pa.decimal128(PRECISION, self._after)


def _batches(path: Path, columns: tuple[Column, ...], types: pa.Schema) -> Iterator[pa.RecordBatch]:
    rows = typed(path, columns)
    while block := list(islice(rows, _ROWS)):
        arrays = [pa.array(cells, type=kind) for cells, kind in zip(zip(*block, strict=True), types.types, strict=True)]
        yield pa.record_batch(arrays, schema=types)


def _write(part: Path, types: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    with parquet.ParquetWriter(part, types, compression="zstd") as writer:
        for group in _groups(batches):
            writer.write_table(pa.Table.from_batches(group, types))


def _groups(batches: Iterator[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """The batches, as many at a time as make a row group."""
    group: list[pa.RecordBatch] = []
    for batch in batches:
        group.append(batch)
        if sum(map(len, group)) >= _GROUP_ROWS or sum(each.nbytes for each in group) >= _GROUP_BYTES:
            yield group
            group = []
    if group:
        yield group

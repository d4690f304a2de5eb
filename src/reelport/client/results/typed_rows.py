"""Read a CSV's rows, cells typed by the catalog; an empty cell isn't an empty text.

Python's own reader can't tell those two apart, and refuses cells above 128 kB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from reelport.cells import Cell, Column, find_parser
from reelport.client.files.csv_checks import Lines, join_lines, split_cells, unquote
from reelport.errors import IncompleteDownload, SchemaDrift

_AT_ONCE = 1 << 20
_BLANK_LINE = re.compile(rb"\n\r?\n")


def read_typed_rows(path: Path, columns: Sequence[Column]) -> Iterator[tuple[Cell, ...]]:
    """Yield rows below the header, cells as their columns' types. Raises SchemaDrift."""
    reads = [find_parser(column.type) for column in columns]
    for number, row in enumerate(read_records(path), start=1):
        try:
            yield tuple(None if cell is None else read(cell) for read, cell in zip(reads, row, strict=True))
        except ValueError:
            raise _build_drift(number, row, columns) from None


def read_records(path: Path) -> Iterator[list[str | None]]:
    """Yield rows below the header, one at a time: None is an empty cell, "" one in quotes.

    Raises IncompleteDownload for a row of another width than the header.
    """
    with path.open("rb") as file:
        rows = _read_cells(file)
        width = len(next(rows, []))
        for number, row in enumerate(rows, start=1):
            if len(row) == width:
                yield row
            elif row != [None]:  # A blank line is a row only where a row is one cell.
                raise IncompleteDownload(
                    f"Row {number} has {len(row)} cells where the header has {width}: {path} isn't whole."
                )


def count_rows(path: Path, width: int) -> int:
    """Count the rows of `width` cells below the header, as `read_records` yields them."""
    lines, before = Lines(), b""
    with path.open("rb") as file:
        while data := file.read(_AT_ONCE):
            # A blank line is a row only where a row is one cell; inside of quotes it may be a part of one.
            if width > 1 and _BLANK_LINE.search(before + data):
                return sum(1 for _ in read_records(path))
            lines.feed(data)
            before = data[-2:]
    return lines.rows


def _build_drift(number: int, row: list[str | None], columns: Sequence[Column]) -> SchemaDrift:
    for column, cell in zip(columns, row, strict=True):
        try:
            find_parser(column.type)(cell or "")
        except ValueError:
            return SchemaDrift(
                f"Row {number}, column {column.name}: {(cell or '')[:80]!r} is not of the kind that the catalog says "
                f"({column.type}). To have the column as it is: table.as_text({column.name!r})."
            )
    raise AssertionError("a cell of this row could not be read")


def _read_cells(file: BinaryIO) -> Iterator[list[str | None]]:
    try:
        for line in join_lines(file):
            if b'"' in line:
                cells = split_cells(line)
                yield [(unquote(cell) if cell.startswith(b'"') else cell).decode() if cell else None for cell in cells]
            else:
                yield [cell or None for cell in line.decode().removesuffix("\n").removesuffix("\r").split(",")]
    except UnicodeDecodeError as error:
        raise SchemaDrift(f"The report isn't UTF-8 throughout: {error.reason}.") from error

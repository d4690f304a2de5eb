"""What a whole CSV looks like: the header that was asked for, as many cells in every row, days inside the range.

Cells are counted, not parsed: that is several times faster, and enough to see a cut.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import BinaryIO

from reelport.catalog import CellType, Dimension
from reelport.errors import IncompleteDownload, ServiceError
from reelport.query import ReportQuery

_HEADER_BYTES = 1 << 16
_BOM = b"\xef\xbb\xbf"
_DAY_LENGTH = 10


def header_of(line: bytes) -> tuple[str, ...]:
    """The column names in a header line, in lower case. Raises ServiceError when it is no text."""
    try:
        text = line.removeprefix(_BOM).decode().rstrip("\r\n")
        cells = next(csv.reader(io.StringIO(text), strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        raise ServiceError("What the service sent is no CSV: its first line can't be read.") from None
    return tuple(cell.strip().lower() for cell in cells)


def check_header(line: bytes, query: ReportQuery | None) -> tuple[str, ...]:
    """The columns of a header line. Raises ServiceError for an HTML page, or for columns that were not asked for."""
    if not line.strip():
        raise IncompleteDownload("The file is empty, where there should be a header at least. Nothing was kept.")
    if line.removeprefix(_BOM).lstrip()[:1] == b"<":
        raise ServiceError("The service sent an HTML page instead of the report.")
    columns = header_of(line)
    if query is None:
        return columns
    asked = tuple(name.lower() for name in (*query.dimensions, *query.metrics))
    if columns != asked and not line.endswith(b"\n") and ",".join(asked).startswith(",".join(columns)):
        raise IncompleteDownload(f"The header stops before its end: {_CUT}")
    if columns != asked:
        raise ServiceError(f"The report has the columns {_listed(columns)} but {_listed(asked)} were asked for.")
    return columns


def check_rows(path: Path, query: ReportQuery | None) -> int:
    """The number of rows below the header of a file. Raises IncompleteDownload where it can't be whole."""
    with path.open("rb") as file:
        width = len(check_header(file.readline(_HEADER_BYTES), query))
        days = _Days(query)
        rows = 0
        for rows, (cells, line) in enumerate(_rows(file), start=1):
            if cells != width:
                raise IncompleteDownload(f"Row {rows} has {cells} cells where the header has {width}: {_CUT}")
            days.check(line, rows)
    return rows


def count_rows(path: Path) -> int:
    """The number of rows below the header."""
    with path.open("rb") as file:
        return max(sum(1 for _ in _rows(file)) - 1, 0)


_CUT = "the file was cut on its way. Nothing was kept; download it again."


class _Days:
    """Whether the first cell of each row, where it is a day or begins with one, lies inside the asked range."""

    def __init__(self, query: ReportQuery | None) -> None:
        first = query.dimensions[0] if query and query.dimensions else None
        row = Dimension.__members__.get(first or "")
        self._watch = query is not None and row is not None and row.type is CellType.DAY
        self._range = (query.start, query.end) if query else (date.min, date.max)
        self._good: set[bytes] = set()

    def check(self, line: bytes, row: int) -> None:
        if not self._watch or (cell := line[:_DAY_LENGTH]) in self._good:
            return
        try:
            good = self._range[0] <= date.fromisoformat(cell.decode()) <= self._range[1]
        except ValueError:
            good = True  # Another vendor may write a day in a way that we don't know.
        if not good:
            raise ServiceError(f"Row {row} is of {cell.decode()}, outside of the range that was asked for.")
        self._good.add(cell)


def _rows(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Each row's number of cells and its first line. Raises IncompleteDownload where a quote never closes."""
    commas, inside, first = 0, False, b""
    for line in file:
        if not inside:
            commas, first = 0, line
        if b'"' not in line:
            commas += 0 if inside else line.count(b",")
        else:
            pieces = line.split(b'"')
            commas += sum(piece.count(b",") for piece in pieces[inside::2])
            inside ^= len(pieces) % 2 == 0
        if not inside:
            yield commas + 1, first
    if inside:
        raise IncompleteDownload(f"A quote never closes: {_CUT}")


def _listed(columns: tuple[str, ...]) -> str:
    shown = ", ".join(columns)
    return shown if len(shown) <= 300 else shown[:300] + " …"  # noqa: PLR2004 - what a terminal can show

"""What a whole CSV looks like: the header that was asked for, as many cells in every row, days inside the range.

Cells are counted, not parsed, while the bytes pass: that is many times faster, and enough to see a cut.
"""

from __future__ import annotations

import csv
import io
import re
from datetime import date

from reelport.catalog import CellType, Dimension
from reelport.errors import IncompleteDownload, SchemaDrift, ServiceError, Unreachable
from reelport.query import ReportQuery

_BOM = b"\xef\xbb\xbf"
_PAGES = {b"<": "an HTML page", b"{": "a message", b"[": "a message"}
_NOT_LINES = bytes(set(range(256)) - set(b'"\n'))
_NOT_CELLS = bytes(set(range(256)) - set(b'",\n'))
_QUOTED = re.compile(rb'"[^"]*"')
_DAYS = re.compile(rb"^(\d{4}-\d\d-\d\d)(?=[,\r\n])", re.MULTILINE)
_ROW_START, _DAY_LENGTH = 16, 10
_CUT = "the file was cut on its way."


def header_of(line: bytes) -> tuple[str, ...]:
    """The column names in a header line, in lower case. Raises ServiceError when it is no text."""
    return tuple(name.lower() for name in names_of(line))


def names_of(line: bytes) -> tuple[str, ...]:
    """The column names in a header line as they are written there. Raises ServiceError when it is no text."""
    try:
        text = line.removeprefix(_BOM).decode().rstrip("\r\n")
        cells = next(csv.reader(io.StringIO(text), strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        raise ServiceError("What the service sent is no CSV: its first line can't be read.") from None
    return tuple(cell.strip() for cell in cells)


def check_header(line: bytes, query: ReportQuery | None) -> tuple[str, ...]:
    """The columns of a header line.

    Raises Unreachable for a page or a message in its place, SchemaDrift for columns that were not asked for.
    """
    if not line.strip():
        raise IncompleteDownload("The file is empty, where there should be a header at least.")
    if page := _PAGES.get(line.removeprefix(_BOM).lstrip()[:1]):
        raise Unreachable(f"The service sent {page} instead of the report.")
    columns = header_of(line)
    if query is None:
        return columns
    asked = tuple(name.lower() for name in (*query.dimensions, *query.metrics))
    if columns != asked and not line.endswith(b"\n") and ",".join(asked).startswith(",".join(columns)):
        raise IncompleteDownload(f"The header stops before its end: {_CUT}")
    if columns != asked:
        raise SchemaDrift(f"The report has the columns {_listed(columns)} but {_listed(asked)} were asked for. To take "
                          "it as it is: --any-columns (client.with_options(any_columns=True)).")  # fmt: skip
    return columns


class Lines:
    """Counts the lines that pass; a line end inside of quotes ends none."""

    def __init__(self) -> None:
        self._ends = 0
        self._inside = False
        self._last = b"\n"

    def feed(self, data: bytes) -> None:
        """The next bytes, in pieces of any size."""
        if not data:
            return
        self._last = data[-1:]
        if not self._inside and b'"' not in data:
            self._ends += data.count(b"\n")
            return
        marks = data.translate(None, _NOT_LINES)
        marks = (b'"' + marks if self._inside else marks).replace(b'""', b"")
        pieces = marks.split(b'"')
        self._ends += sum(map(len, pieces[::2]))
        self._inside = len(pieces) % 2 == 0

    def copy(self) -> Lines:
        """The same count, which goes on by itself."""
        twin = Lines()
        twin._ends, twin._inside, twin._last = self._ends, self._inside, self._last
        return twin

    @property
    def closed(self) -> bool:
        """Whether the last byte is a line end."""
        return self._last == b"\n"

    @property
    def rows(self) -> int:
        """The lines so far but for the header; a last line without an end is one."""
        return max(self._ends + (not self.closed) - 1, 0)


class Rows:
    """Holds the rows that pass against a header of so many columns, and their days against the asked range.

    What is fed begins after the header's line end. A report of one column has a blank line for an empty cell.
    """

    def __init__(self, width: int, query: ReportQuery | None) -> None:
        self._row = b"," * (width - 1) + b"\n"
        self._days = _Days(query)
        self._rows = 0
        self._begun = b""
        self._inside = False
        self._last = b"\n"

    def feed(self, data: bytes) -> None:
        """The next bytes. Raises IncompleteDownload for a row of another width, ServiceError for a day outside."""
        if not data:
            return
        self._last = data[-1:]
        self._days.feed(data)
        marks = data.translate(None, _NOT_CELLS)
        if self._inside:
            marks = b'"' + marks
        if b'"' in marks:
            marks, opened, _ = _QUOTED.sub(b"", marks).partition(b'"')
            self._inside = bool(opened)
        text = self._begun + marks
        end = text.rfind(b"\n") + 1
        self._whole(text[:end])
        self._begun = text[end:]
        if len(self._begun) >= len(self._row):
            self._refuse(self._rows + 1, len(self._begun) + 1)

    def end(self) -> None:
        """The body is over. Raises IncompleteDownload for a last row that isn't whole."""
        if self._inside:
            raise IncompleteDownload(f"A quote never closes: {_CUT}")
        if self._last != b"\n" and len(self._begun) + 1 != len(self._row):
            self._refuse(self._rows + 1, len(self._begun) + 1)

    def _whole(self, lines: bytes) -> None:
        count = len(lines) // len(self._row)
        if lines != self._row * count:
            widths = [len(line) for line in lines.split(b"\n")]
            wrong = next(at for at, width in enumerate(widths) if width + 1 != len(self._row))
            self._refuse(self._rows + wrong + 1, widths[wrong] + 1)
        self._rows += count

    def _refuse(self, row: int, cells: int) -> None:
        width = len(self._row)
        raise IncompleteDownload(f"Row {row} has {cells} cells where the header has {width}: {_CUT}")


class _Days:
    """Whether the first cell of each row, where it is a day, lies inside the asked range."""

    def __init__(self, query: ReportQuery | None) -> None:
        first = query.dimensions[0] if query and query.dimensions else None
        row = Dimension.__members__.get(first or "")
        self._watch = query is not None and row is not None and row.type is CellType.DAY
        self._range = (query.start, query.end) if query else (date.min, date.max)
        self._good: set[bytes] = set()
        self._begun = b""
        self._inside = False

    def feed(self, data: bytes) -> None:
        if not self._watch:
            return
        if self._inside or b'"' in data:
            data, opened, _ = _QUOTED.sub(b"", b'"' + data if self._inside else data).partition(b'"')
            self._inside = bool(opened)
        text = self._begun + data
        end = text.rfind(b"\n") + 1
        # Of a row that isn't over only the beginning is of interest, however long it gets.
        self._begun = text[end : end + _ROW_START]
        # Most often all rows of a piece are of the day of its first: counting that day is much faster than finding all.
        usual = text[:_DAY_LENGTH]
        if usual in self._good and text.count(b"\n" + usual, 0, end) + 1 == text.count(b"\n", 0, end):
            return
        for day in set(_DAYS.findall(text, 0, end)) - self._good:
            self._check(day.decode())
            self._good.add(day)

    def _check(self, text: str) -> None:
        try:
            good = self._range[0] <= date.fromisoformat(text) <= self._range[1]
        except ValueError:
            good = True  # Another vendor may write a day in a way that we don't know.
        if not good:
            raise ServiceError(f"A row is of {text}, outside of the range that was asked for.")


def _listed(columns: tuple[str, ...]) -> str:
    shown = ", ".join(columns)
    return shown if len(shown) <= 300 else shown[:300] + " …"  # noqa: PLR2004 - what a terminal can show

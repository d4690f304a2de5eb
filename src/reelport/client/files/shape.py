"""Check a CSV's shape: the header asked for, equally many cells, days inside the range.

Counts cells without parsing them while the bytes arrive: that is many times faster, and enough to detect a cut.
"""

from __future__ import annotations

import csv
import io

from reelport.client.files.row_cells import RowCells
from reelport.client.files.row_days import RowDays
from reelport.errors import IncompleteDownload, SchemaDrift, ServiceError, Unreachable
from reelport.query import ReportQuery

_BOM = b"\xef\xbb\xbf"
_PAGES = {b"<": "an HTML page", b"{": "a message", b"[": "a message"}
_NOT_LINES = bytes(set(range(256)) - set(b'"\n'))
_NOT_CELLS = bytes(set(range(256)) - set(b'",\n'))
_CUT = "the file was cut on its way."


def parse_columns(line: bytes) -> tuple[str, ...]:
    """Parse a header into names in lower case. Raises ServiceError when it isn't text."""
    return tuple(name.lower() for name in parse_names(line))


def parse_names(line: bytes) -> tuple[str, ...]:
    """Parse a header line into column names as written. Raises ServiceError when it isn't text."""
    try:
        text = line.removeprefix(_BOM).decode().rstrip("\r\n")
        cells = next(csv.reader(io.StringIO(text), strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        raise ServiceError("What the service sent is no CSV: its first line can't be read.") from None
    return tuple(cell.strip() for cell in cells)


def check_header(line: bytes, query: ReportQuery | None) -> tuple[str, ...]:
    """Check a header line against the query and return its columns.

    Raises Unreachable for an HTML page or a JSON message instead, SchemaDrift for other columns than asked for.
    """
    if not line.strip():
        raise IncompleteDownload("The file is empty, where there should be a header at least.")
    if page := _PAGES.get(line.removeprefix(_BOM).lstrip()[:1]):
        raise Unreachable(f"The service sent {page} instead of the report.")
    columns = parse_columns(line)
    if query is None:
        return columns
    asked = tuple(name.lower() for name in (*query.dimensions, *query.metrics))
    if columns != asked and not line.endswith(b"\n") and ",".join(asked).startswith(",".join(columns)):
        raise IncompleteDownload(f"The header stops before its end: {_CUT}")
    if columns != asked:
        found, wanted = _format_columns(columns), _format_columns(asked)
        raise SchemaDrift(f"The report has the columns {found} but {wanted} were asked for. To take "
                          "it as it is: --any-columns (client.with_options(any_columns=True)).")  # fmt: skip
    return columns


class Lines:
    """Counts lines in a stream of bytes; a line end inside of quotes doesn't count."""

    def __init__(self) -> None:
        self._ends = 0
        self._inside = False
        self._last = b"\n"

    def feed(self, data: bytes) -> None:
        """Count the next bytes, in pieces of any size."""
        if not data:
            return
        self._last = data[-1:]
        if not self._inside and b'"' not in data:
            self._ends += data.count(b"\n")
            return
        outside, self._inside = _remove_quoted(data.translate(None, _NOT_LINES), inside=self._inside)
        self._ends += len(outside)

    def add(self, ends: int, last: bytes) -> None:
        """Add bytes counted elsewhere: `ends` lines end in them, and `last` is the last."""
        self._ends += ends
        self._last = last

    def copy(self) -> Lines:
        """Return an independent copy of the count."""
        copy = Lines()
        copy._ends, copy._inside, copy._last = self._ends, self._inside, self._last
        return copy

    @property
    def closed(self) -> bool:
        """Whether the last byte is a line end."""
        return self._last == b"\n"

    @property
    def rows(self) -> int:
        """The lines so far without the header; a last line without an end counts too."""
        return max(self._ends + (not self.closed) - 1, 0)


class Rows:
    """Checks rows against a header of `width` columns, and their days, numbers and keys against the query.

    The bytes begin after the header line. In a report of one column, a blank line is an empty cell.
    """

    def __init__(self, width: int, query: ReportQuery | None) -> None:
        self._row = b"," * (width - 1) + b"\n"
        self._days = RowDays(query)
        self._cells = RowCells(query)
        self._rows = 0
        self._begun = b""
        self._inside = False
        self._last = b"\n"

    def feed(self, data: bytes) -> int:
        """Check the next bytes and return how many rows end in them.

        Raises IncompleteDownload for a row of another width, ServiceError for a day outside of the range.
        """
        if not data:
            return 0
        self._last = data[-1:]
        marks, inside = data.translate(None, _NOT_CELLS), self._inside
        outside, self._inside = _remove_quoted(marks, inside=inside)
        text = self._begun + outside
        end = text.rfind(b"\n") + 1
        ends = self._count_rows(text[:end])
        self._begun = text[end:]
        if len(self._begun) >= len(self._row):
            self._refuse(self._rows + 1, len(self._begun) + 1)
        if self._days.watched or self._cells.watched:
            plain = outside is marks or ends == marks.count(b"\n")
            lines = data if plain else _remove_inner_ends(data, inside=inside)
            if self._days.watched:
                self._days.feed(lines, ends)
            if self._cells.watched:
                self._cells.feed(lines)
        return ends

    def end(self) -> None:
        """End the body.

        Raises IncompleteDownload for an incomplete last row, SchemaDrift for a metric that is no number, RepeatedRows
        for a key that comes twice.
        """
        if self._inside:
            raise IncompleteDownload(f"A quote never closes: {_CUT}")
        if self._last != b"\n" and len(self._begun) + 1 != len(self._row):
            self._refuse(self._rows + 1, len(self._begun) + 1)
        self._cells.end()

    def _count_rows(self, lines: bytes) -> int:
        """Check the widths of complete rows and count them."""
        count = len(lines) // len(self._row)
        if lines != self._row * count:
            widths = [len(line) for line in lines.split(b"\n")]
            wrong = next(at for at, width in enumerate(widths) if width + 1 != len(self._row))
            self._refuse(self._rows + wrong + 1, widths[wrong] + 1)
        self._rows += count
        return count

    def _refuse(self, row: int, cells: int) -> None:
        width = len(self._row)
        raise IncompleteDownload(f"Row {row} has {cells} cells where the header has {width}: {_CUT}")


def _remove_quoted(marks: bytes, *, inside: bool) -> tuple[bytes, bool]:
    """Return the bytes outside quotes, and whether they end inside; `inside`: begin so."""
    if not inside and b'"' not in marks:
        return marks, False
    # Two adjacent quotes enclose nothing, whether they are a cell's two ends or a doubled quote.
    pieces = (b'"' + marks if inside else marks).replace(b'""', b"").split(b'"')
    return b"".join(pieces[::2]), len(pieces) % 2 == 0


def _remove_inner_ends(data: bytes, *, inside: bool) -> bytes:
    """Remove line ends inside of quotes; `inside` says whether the bytes begin there."""
    pieces = data.split(b'"')
    inner = slice(0 if inside else 1, None, 2)
    pieces[inner] = [piece.replace(b"\n", b"") for piece in pieces[inner]]
    return b'"'.join(pieces)


def _format_columns(columns: tuple[str, ...]) -> str:
    shown = ", ".join(columns)
    return shown if len(shown) <= 300 else shown[:300] + " …"  # noqa: PLR2004 - what a terminal can show

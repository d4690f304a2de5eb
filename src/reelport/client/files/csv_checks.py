"""Check a CSV's shape: its header, equally many cells, days in the range, numeric metrics.

Counts cells without parsing them: that is many times faster, and enough to detect a cut.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date
from itertools import pairwise
from operator import eq
from typing import BinaryIO

from reelport.catalog import CellType, Dimension, Grain, Metric
from reelport.errors import IncompleteDownload, RepeatedRows, SchemaDrift, ServiceError, Unreachable
from reelport.query import ReportQuery
from reelport.wording import format_count, format_size

_BOM = b"\xef\xbb\xbf"
_PAGES = {b"<": "an HTML page", b"{": "a message", b"[": "a message"}
_NOT_LINES = bytes(set(range(256)) - set(b'"\n'))
_NOT_CELLS = bytes(set(range(256)) - set(b'",\n'))
_CUT = "the file was cut on its way."

_DAY = re.compile(rb'"?(\d{4}-\d\d-\d\d)"?')
_CELL = rb'[^,"\n]*+(?:"[^"\n]*+"[^,"\n]*+)*+'
_ANY_NUMBER = rb'"?+[ \t]*+(?:[+-]?+(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?+\d{1,2}+)?+)?+[ \t]*+"?+'
# Counts, which most metrics are, first. Atomic: two ways to read each would make 2**n of n metrics.
_NUMBER = rb"(?>\d++(?=[,\n])|" + _ANY_NUMBER + rb")"
_CELLS = re.compile(rb"(?:^|,)(" + _CELL + rb")")
_NUMBERS = frozenset({CellType.INTEGER, CellType.DECIMAL})
_LONGEST_ROW = 1 << 20
"""Bytes of a row that are held in memory until its end comes."""
_A_DAY = {Grain.MINUTE: 24 * 60, Grain.HOUR: 24, Grain.DAY: 1}
# Advice that holds for a window of a range or a sync too, whose files can't be taken as they are.
_AS_IT_IS = (
    "`reelport report download TOKEN --any-columns` saves the file as it is "
    "(client.reports.attach(TOKEN).download(FILE, any_columns=True))."
)
_REPORT_IT = f"Tell the service: the same command asks for the report anew. {_AS_IT_IS}"


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
        raise SchemaDrift(f"The report has the columns {found} but {wanted} were asked for. {_AS_IT_IS}")
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

    @property
    def closed(self) -> bool:
        """Whether the last byte is a line end."""
        return self._last == b"\n"

    @property
    def rows(self) -> int:
        """The lines so far without the header; a last line without an end counts too."""
        return max(self._ends + (not self.closed) - 1, 0)


class Rows:
    """Checks rows below a header of `width` cells; days, numbers and keys by the query.

    In a report of one column, a blank line is an empty cell.
    """

    def __init__(self, width: int, query: ReportQuery | None) -> None:
        self._row = b"," * (width - 1) + b"\n"
        self._cells = _RowCells(query)
        self._rows = 0
        self._begun = b""
        self._inside = False
        self._last = b"\n"

    def feed(self, data: bytes) -> None:
        """Check the next bytes. Raises IncompleteDownload, ServiceError."""
        if not data:
            return
        self._last = data[-1:]
        marks, inside = data.translate(None, _NOT_CELLS), self._inside
        outside, self._inside = _remove_quoted(marks, inside=inside)
        text = self._begun + outside
        end = text.rfind(b"\n") + 1
        ends = self._count_rows(text[:end])
        self._begun = text[end:]
        if len(self._begun) >= len(self._row):
            self._refuse(self._rows + 1, len(self._begun) + 1)
        if self._cells.watched:
            plain = outside is marks or ends == marks.count(b"\n")
            self._cells.feed(data if plain else _remove_inner_ends(data, inside=inside))

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
    pieces = data.split(b'"')
    inner = slice(0 if inside else 1, None, 2)
    pieces[inner] = [piece.replace(b"\n", b"") for piece in pieces[inner]]
    return b'"'.join(pieces)


def _format_columns(columns: tuple[str, ...]) -> str:
    shown = ", ".join(columns)
    return shown if len(shown) <= 300 else shown[:300] + " …"  # noqa: PLR2004 - what a terminal can show


class _RowCells:
    """Checks rows that no checksum proves: days, numbers, no key twice, not too many.

    A key that comes twice would count twice in sums. It is seen in neighbours, which repeats are in a sorted file, and
    where the first row comes again, as it does in a file that is there twice.
    """

    def __init__(self, query: ReportQuery | None) -> None:
        self._query = query
        self._pattern = _compile_row(query) if query else re.compile(b"")
        self._most = count_keys(query) if query else None
        first = Dimension.__members__.get(query.dimensions[0]) if query and query.dimensions else None
        self._has_days = first is not None and first.type is CellType.DAY
        self._good: set[bytes] = set()  # first cells that are days of the range
        self._problem: SchemaDrift | RepeatedRows | None = None
        self._rows = 0
        self._first = self._last = b""
        self._begun = b""

    @property
    def watched(self) -> bool:
        return self._query is not None and self._problem is None

    def feed(self, data: bytes) -> None:
        """Check the next bytes, which must have no line end inside a cell."""
        end = data.rfind(b"\n") + 1
        if not end:
            self._begun += data
            if len(self._begun) > _LONGEST_ROW:
                size = format_size(_LONGEST_ROW)
                self._problem = SchemaDrift(f"Row {self._rows + 1} is longer than {size}. {_AS_IT_IS}")
            return
        rows, self._begun = self._begun + data[:end], data[end:]
        keys: list[bytes] = self._pattern.findall(rows)
        if self._has_days:
            self._check_days({key.partition(b",")[0] for key in keys} - self._good)
        if len(keys) != rows.count(b"\n"):
            self._problem = self._build_drift(rows)
        elif self._most is not None and self._rows + len(keys) > self._most:
            self._problem = build_too_many(self._most)
        elif (key := self._find_repeat(keys)) is not None:
            self._problem = build_repeated(key.decode(errors="replace").rstrip(","))
        self._rows += len(keys)

    def end(self) -> None:
        """Raise the problem, only now: a damaged body is told of first, and fetched again."""
        if self._begun and self.watched:
            self.feed(b"\n")
        if self._problem is not None:
            raise self._problem

    def _check_days(self, cells: Iterable[bytes]) -> None:
        assert self._query is not None  # noqa: S101 - without a query nothing is checked
        for cell in cells:
            with suppress(ValueError):  # another vendor may write days in a way that we don't know
                if not (found := _DAY.fullmatch(cell)):
                    continue
                text = found[1].decode()
                if not self._query.start <= date.fromisoformat(text) <= self._query.end:
                    raise ServiceError(f"A row is of {text}, outside of the range that was asked for.")
                self._good.add(cell)

    def _find_repeat(self, keys: list[bytes]) -> bytes | None:
        """Return a key that its neighbour has too, or the first row's where that comes again."""
        if not self._rows:
            self._first = keys[0]
        beside = [self._last, *keys] if self._rows else keys
        has_twins = any(map(eq, beside, beside[1:]))  # many times as fast as the search
        repeated = [one for one, following in pairwise(beside) if one == following] if has_twins else []
        if keys.count(self._first) > (not self._rows):
            repeated.append(self._first)
        self._last = keys[-1]
        # An empty cell may stand for several things that the sender tells apart.
        return next((key for key in repeated if b",," not in b"," + key), None)

    def _build_drift(self, rows: bytes) -> SchemaDrift:
        assert self._query is not None  # noqa: S101 - without a query nothing is checked
        lines = rows.split(b"\n")
        at = next(at for at, line in enumerate(lines) if not self._pattern.match(line + b"\n"))
        cells = [found[1] for found in _CELLS.finditer(lines[at].removesuffix(b"\r"))][len(self._query.dimensions) :]
        pairs = zip(self._query.metrics, cells, strict=False)
        name, cell = next((name, cell) for name, cell in pairs if not re.fullmatch(_metric_pattern(name), cell))
        shown = cell.decode(errors="replace")[:80]
        return SchemaDrift(f"Row {self._rows + at + 1}, column {name.lower()}: {shown!r} is no number. {_AS_IT_IS}")


def _compile_row(query: ReportQuery) -> re.Pattern[bytes]:
    """Compile the pattern of a row and its line end; its one group is the key."""
    key = b"(" + (_CELL + b",") * len(query.dimensions) + b")"
    return re.compile(b"(?m)^" + key + b",".join(map(_metric_pattern, query.metrics)) + rb"\r?\n")


def _metric_pattern(name: str) -> bytes:
    row = Metric.__members__.get(name)
    return _NUMBER if row is not None and row.type in _NUMBERS else _CELL


def build_repeated(key: str) -> RepeatedRows:
    """Build the error for two rows that have the same dimensions."""
    return RepeatedRows(f"Two rows of the report are of {key[:200]}: they would count twice. {_REPORT_IT}")


def build_too_many(most: int) -> RepeatedRows:
    """Build the error for a report with more rows than its dimensions allow."""
    return RepeatedRows(
        f"The report has more than {format_count(most, 'row')}, and its dimensions allow no more in these days: some "
        f"would count twice. {_REPORT_IT}"
    )


def count_keys(query: ReportQuery) -> int | None:
    """Return how many rows the query's dimensions allow; None unless only days tell them apart."""
    grains = [Dimension[name].grain if name in Dimension.__members__ else None for name in query.dimensions]
    known = [grain for grain in grains if grain is not None]
    if len(known) < len(grains):
        return None
    match min(known, default=None):
        case None:
            return 1
        case Grain.MONTH:
            return 12 * (query.end.year - query.start.year) + query.end.month - query.start.month + 1
        case grain:
            return query.days * _A_DAY[grain]


_ANY_CELL = re.compile(rb'"((?:[^"]|"")*+)"[^,]*+|[^,]*+')
_LONGEST_CELLS = 64 << 20  # most bytes of one row: a longer one means a quote that never closes


def unquote(cell: bytes) -> bytes:
    """Return the text of a cell, without its quotes."""
    found = _ANY_CELL.fullmatch(cell)
    return found[1].replace(b'""', b'"') if found and found[1] is not None else cell


def join_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield each row's bytes: as many lines as its quotes span. Raises IncompleteDownload."""
    for line in file:
        if line.count(b'"') % 2 == 0:
            yield line
            continue
        pieces, quotes, size = [line], line.count(b'"'), len(line)
        while quotes % 2:
            more = next(file, b"")
            size += len(more)
            if not more or size > _LONGEST_CELLS:
                raise IncompleteDownload("A quote never closes: the file isn't whole.")
            quotes += more.count(b'"')
            pieces.append(more)
        yield b"".join(pieces)


def split_cells(line: bytes) -> list[bytes]:
    """Split a row into its cells, as written."""
    line = line.removesuffix(b"\n").removesuffix(b"\r")
    if b'"' not in line:
        return line.split(b",")
    cells, place = [], 0
    while True:
        found = _ANY_CELL.match(line, place)
        assert found is not None  # noqa: S101 - the pattern matches the empty text
        cells.append(found[0])
        place = found.end() + 1
        if place > len(line):
            return cells

"""Check rows that no checksum proves: each metric a number, no key twice, no more rows than the keys allow.

A row is one combination of the asked dimensions. A key that comes twice is a mistake of the sender, and counts twice in
sums. It is seen in neighbours, which repeats are in a sorted file, and where the first row comes again, as it does in a
file that is there twice.
"""

from __future__ import annotations

import re
from itertools import pairwise
from operator import eq

from reelport.catalog import CellType, Dimension, Grain, Metric
from reelport.errors import RepeatedRows, SchemaDrift
from reelport.query import ReportQuery
from reelport.wording import format_count

_CELL = rb'(?:[^,"\n]++|"[^"\n]*+")*+'
_NUMBER = rb'"?+[ \t]*+(?:[+-]?+(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?+\d{1,2}+)?+)?+[ \t]*+"?+'
_CELLS = re.compile(rb"(?:^|,)(" + _CELL + rb")")
_NUMBERS = frozenset({CellType.INTEGER, CellType.DECIMAL})
_A_DAY = {Grain.MINUTE: 24 * 60, Grain.HOUR: 24, Grain.DAY: 1}
_AS_IT_IS = "To take it as it is: --any-columns (client.with_options(any_columns=True))."
_REPORT_IT = (
    "Tell the service: the same command asks for the report anew. `reelport report download TOKEN --any-columns` saves "
    "the file as it is (client.with_options(any_columns=True))."
)
"""Advice that holds for a window of a range or a sync too, whose files can't be taken as they are."""


class RowCells:
    """Checks the rows of a query's report, in pieces of any size. Without a query it checks nothing."""

    def __init__(self, query: ReportQuery | None) -> None:
        self._query = query
        self._pattern = _compile_row(query) if query else re.compile(b"")
        self._most = count_keys(query) if query else None
        self._problem: SchemaDrift | RepeatedRows | None = None
        self._rows = 0
        self._first = self._last = b""
        self._begun = b""

    @property
    def watched(self) -> bool:
        """Whether further bytes need to be fed."""
        return self._query is not None and self._problem is None

    def feed(self, data: bytes) -> None:
        """Check the next bytes, which must have no line end inside a cell."""
        end = data.rfind(b"\n") + 1
        if not end:
            self._begun += data
            return
        rows, self._begun = self._begun + data[:end], data[end:]
        keys: list[bytes] = self._pattern.findall(rows)
        if len(keys) != rows.count(b"\n"):
            self._problem = self._build_drift(rows)
        elif self._most is not None and self._rows + len(keys) > self._most:
            self._problem = build_too_many(self._most)
        elif (key := self._find_repeat(keys)) is not None:
            shown = key.decode(errors="replace").rstrip(",")[:200]
            self._problem = RepeatedRows(f"Two rows of the report are of {shown}: they would count twice. {_REPORT_IT}")
        self._rows += len(keys)

    def end(self) -> None:
        """End the body. Raises SchemaDrift for a metric that is no number, RepeatedRows for rows that repeat a key.

        Not before the end: of a damaged body its damage is to be told, for which it is fetched again.
        """
        if self._begun and self.watched:
            self.feed(b"\n")
        if self._problem is not None:
            raise self._problem

    def _find_repeat(self, keys: list[bytes]) -> bytes | None:
        """Return a key that its neighbour has too, or the first row's where that comes again."""
        if not self._rows:
            self._first = keys[0]
        beside = [self._last, *keys] if self._rows else keys
        repeated = [one for one, following in pairwise(beside) if one == following] if _has_twins(beside) else []
        if keys.count(self._first) > (not self._rows):
            repeated.append(self._first)
        self._last = keys[-1]
        # An empty cell may stand for several things that the sender tells apart.
        return next((key for key in repeated if b",," not in b"," + key), None)

    def _build_drift(self, rows: bytes) -> SchemaDrift:
        """Build the error for the first row in which a metric is no number."""
        assert self._query is not None  # noqa: S101 - without a query nothing is checked
        lines = rows.split(b"\n")
        at = next(at for at, line in enumerate(lines) if not self._pattern.match(line + b"\n"))
        cells = [found[1] for found in _CELLS.finditer(lines[at].removesuffix(b"\r"))][len(self._query.dimensions) :]
        pairs = zip(self._query.metrics, cells, strict=False)
        name, cell = next((name, cell) for name, cell in pairs if not re.fullmatch(_metric_pattern(name), cell))
        shown = cell.decode(errors="replace")[:80]
        return SchemaDrift(f"Row {self._rows + at + 1}, column {name.lower()}: {shown!r} is no number. {_AS_IT_IS}")


def _has_twins(keys: list[bytes]) -> bool:
    return any(map(eq, keys, keys[1:]))


def _compile_row(query: ReportQuery) -> re.Pattern[bytes]:
    """Compile the pattern of a row and its line end; its one group is the key."""
    key = b"(" + (_CELL + b",") * len(query.dimensions) + b")"
    return re.compile(b"(?m)^" + key + b",".join(map(_metric_pattern, query.metrics)) + rb"\r?\n")


def _metric_pattern(name: str) -> bytes:
    """Return the pattern of a metric's cells; any text for one that the catalog lacks."""
    row = Metric.__members__.get(name)
    return _NUMBER if row is not None and row.type in _NUMBERS else _CELL


def build_too_many(most: int) -> RepeatedRows:
    """Build the error for a report with more rows than its dimensions allow."""
    return RepeatedRows(
        f"The report has more than {format_count(most, 'row')}, and its dimensions allow no more in these days: some "
        f"would count twice. {_REPORT_IT}"
    )


def count_keys(query: ReportQuery) -> int | None:
    """Return how many rows the query's dimensions allow; None where more than days tells them apart."""
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

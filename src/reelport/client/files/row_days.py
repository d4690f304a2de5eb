"""Check that the days of a report's rows lie in the query's range, while the bytes arrive.

Counts days instead of reading each row: usually all rows of a piece have a few days that were checked before.
"""

from __future__ import annotations

import re
from datetime import date

from reelport.catalog import CellType, Dimension
from reelport.errors import ServiceError
from reelport.query import ReportQuery

_DAY = re.compile(rb'"?(\d{4}-\d\d-\d\d)(?=[",\r\n])')
_START = 12
"""Bytes at the beginning of a row that hold a day, its quotes and the next character."""
_USUAL = 4
"""Most days to count; with more, reading each row is faster."""


class RowDays:
    """Checks the first cell of each row, where it is a day, against the query's range."""

    def __init__(self, query: ReportQuery | None) -> None:
        first = query.dimensions[0] if query and query.dimensions else None
        row = Dimension.__members__.get(first or "")
        self.watched = query is not None and row is not None and row.type is CellType.DAY
        self._range = (query.start, query.end) if query else (date.min, date.max)
        self._good: set[bytes] = set()
        self._usual: list[bytes] = []
        self._many = False
        self._begun = b""

    def feed(self, data: bytes, rows: int) -> None:
        """Check the next bytes, in which `rows` rows end; they must have no line end inside a cell.

        Raises ServiceError for a day outside of the range.
        """
        end = data.rfind(b"\n") + 1
        first = self._begun + data[:_START]
        # Of an unfinished row, only the beginning matters.
        self._begun = data[end : end + _START] if end else first[:_START]
        if end and (self._many or not self._are_usual(first, data, end, rows)):
            self._look_at_each(first, data, end)

    def _are_usual(self, first: bytes, data: bytes, end: int, rows: int) -> bool:
        """Whether all `rows` rows have the first row's day, the last one's, or a usual one."""
        last = data.rfind(b"\n", 0, end - 1) + 1
        for found in (_DAY.match(data, last) if last else None, _DAY.match(first)):
            if found:
                self._check(found[1])
                self._usual = [found[0], *(day for day in self._usual if day != found[0])][:_USUAL]
        for day in self._usual:
            rows -= data.count(b"\n" + day, 0, end) + first.startswith(day)
            if not rows:
                return True
        return False

    def _look_at_each(self, first: bytes, data: bytes, end: int) -> None:
        starts = {line[:_START] for line in data[data.find(b"\n") + 1 : end].split(b"\n")}
        found = {match[0]: match[1] for start in (first, *starts) if (match := _DAY.match(start + b"\n"))}
        for day in found.values():
            self._check(day)
        self._many = not 0 < len(found) <= _USUAL
        self._usual = [] if self._many else list(found)

    def _check(self, day: bytes) -> None:
        if day in self._good:
            return
        text = day.decode()
        try:
            good = self._range[0] <= date.fromisoformat(text) <= self._range[1]
        except ValueError:
            good = True  # Another vendor may write days in a way that we don't know.
        if not good:
            raise ServiceError(f"A row is of {text}, outside of the range that was asked for.")
        self._good.add(day)

"""A data file of a table, as the Delta log records it, and the days that its name tells."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

MONTH_FILE = "month-"
"""Prefix of the names of compacted files; the name of a day file begins with its day."""
_MARKED = re.compile(r"(?:.*/)?month-([0-9a-f]{8})-[0-9a-f]+\.parquet")


def name_month(days: Iterable[date]) -> str:
    """Name a month file by its days: one bit each, lowest for the first of the month."""
    return f"{MONTH_FILE}{sum(1 << (day - 1) for day in {one.day for one in days}):08x}"


def parse_days(path: str) -> frozenset[int] | None:
    """Parse the days of the month that a month file's name tells; None for any other name.

    Month files of earlier versions don't tell them.
    """
    found = _MARKED.fullmatch(path)
    if found is None:
        return None
    bits = int(found[1], 16)
    return frozenset(day for day in range(1, 32) if bits >> (day - 1) & 1)


@dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file of a table, as the Delta log records it.

    `path` is relative to the table's folder. Files of fact tables have a month, the first
    and last moment (or day) of their rows, and the lowest and highest owner channel. Files of objects that are counted
    by their days have the moment at which the `newest` came into being.
    """

    path: str
    size: int
    rows: int
    month: str | None = None
    first: datetime | date | None = None
    last: datetime | date | None = None
    low_owner: str | None = None
    high_owner: str | None = None
    newest: datetime | None = None
    digest: str | None = field(default=None, compare=False)
    """What a file that was just written has; of those in the log `delta_log` reads it."""

    @property
    def first_day(self) -> date:
        """The day of the first row; `date.min` for files of object tables, whose rows have no day."""
        return _to_day(self.first) or date.min

    @property
    def last_day(self) -> date:
        """The day of the last row; `date.max` for files of object tables, whose rows have no day."""
        return _to_day(self.last) or date.max

    @property
    def tells_days(self) -> bool:
        """Whether it is known which days have rows: not of month files of earlier versions."""
        return self.first_day == self.last_day or parse_days(self.path) is not None

    def list_days(self) -> list[date]:
        """List the days with rows of a file of facts.

        Where they aren't known, these are all from the first to the last.
        """
        days = [self.first_day + timedelta(days=place) for place in range((self.last_day - self.first_day).days + 1)]
        known = parse_days(self.path) if len(days) > 1 else None
        return days if known is None else [day for day in days if day.day in known]

    def touches(self, start: date | None, end: date | None) -> bool:
        """Whether the file may hold a row between the two days, both included."""
        return (end is None or self.first_day <= end) and (start is None or self.last_day >= start)


def _to_day(moment: datetime | date | None) -> date | None:
    return moment.astimezone(UTC).date() if isinstance(moment, datetime) else moment

"""A data file of a table, as the Delta log records it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime


@dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file of a table, as the Delta log records it.

    `path` is relative to the table's folder. Files of fact tables have a month, the first
    and last moment (or day) of their rows, and the lowest and highest owner channel.
    """

    path: str
    size: int
    rows: int
    month: str | None = None
    first: datetime | date | None = None
    last: datetime | date | None = None
    low_owner: str | None = None
    high_owner: str | None = None
    digest: str | None = field(default=None, compare=False)
    """What a file that was just written has; of those in the log `log.file_digests` tells it."""

    @property
    def first_day(self) -> date:
        """The day of the first row; `date.min` for files of object tables, whose rows have no day."""
        return _to_day(self.first) or date.min

    @property
    def last_day(self) -> date:
        """The day of the last row; `date.max` for files of object tables, whose rows have no day."""
        return _to_day(self.last) or date.max

    def touches(self, start: date | None, end: date | None) -> bool:
        """Whether the file may hold a row between the two days, both included."""
        return (end is None or self.first_day <= end) and (start is None or self.last_day >= start)


def _to_day(moment: datetime | date | None) -> date | None:
    return moment.astimezone(UTC).date() if isinstance(moment, datetime) else moment

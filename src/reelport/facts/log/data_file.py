"""A data file of a table, as the Delta log records it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from reelport.facts.log.month_names import parse_days


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
    """What a file that was just written has; of those in the log `log.file_digests` tells it."""

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

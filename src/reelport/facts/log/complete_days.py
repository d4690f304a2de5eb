"""Which days of a table's facts are complete, by what its log tells of its files."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from reelport.facts.log.data_file import DataFile
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.tables import TABLES

_LAST_HOUR = 23


def complete_days(files: tuple[DataFile, ...]) -> tuple[date | None, date | None]:
    """Find the first and the last complete day that the files hold.

    In daily facts every day is complete. In hourly facts the last day is complete when it has its
    last hour, and the first day when it has its first; otherwise the next day inwards counts.
    """
    firsts = [file.first for file in files if file.first is not None]
    lasts = [file.last for file in files if file.last is not None]
    if not firsts or not lasts:
        return None, None
    first, last = min(firsts, key=_moment), max(lasts, key=_moment)
    low = first.date() if isinstance(first, datetime) else first
    high = last.date() if isinstance(last, datetime) else last
    if isinstance(first, datetime) and first.astimezone(UTC).hour:
        low += timedelta(days=1)
    if isinstance(last, datetime) and last.astimezone(UTC).hour < _LAST_HOUR:
        high -= timedelta(days=1)
    return (low, high) if low <= high else (None, None)


def last_complete_day(snapshot: Snapshot) -> date | None:
    """Find the last day complete in all of a snapshot's fact tables; None without one."""
    lasts = [complete_days(files)[1] for name, files in snapshot.listing.items() if TABLES[name].is_fact]
    known = [last for last in lasts if last is not None]
    return min(known, default=None) if len(known) == len(lasts) else None


def _moment(value: datetime | date) -> str:
    return value.isoformat()

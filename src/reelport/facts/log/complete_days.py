"""Which days of a table's facts are complete, by what its log tells of its files."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path

from reelport.errors import ReelportError
from reelport.facts.log.data_file import DataFile
from reelport.facts.log.newest_commits import find_emptied_days
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.tables import TABLES

_LAST_HOUR = 23
_DAY = timedelta(days=1)
LOOKED_AT = 60
"""The days, up to the last with rows, among which one without rows may be a load that failed."""
_MOST_MISSING = 10
"""One in so many of these days may lack rows in a table whose days all have some."""
_MOST_GAPS = 2
"""Runs of days without rows in such a table: an outage is one, while many lone days are how a table is."""


@dataclass(frozen=True, slots=True)
class Completeness:
    """The complete days of a table's facts, None without one, and the days that are `missing`."""

    first: date | None
    last: date | None
    missing: tuple[date, ...] = ()


def read_completeness(root: Path, table: str, version: int, files: tuple[DataFile, ...], today: date) -> Completeness:
    """Find which days of a table's version are complete as of this day (UTC), by its files.

    Of the days without rows, those that a replacement emptied aren't missing. The log is read only to find those.
    While it can't be read, all of them are: nothing shows then that one was emptied on purpose.
    """
    try:
        return _read_completeness(root, table, version, files, today)
    except (OSError, ValueError, LookupError, TypeError, ReelportError):
        missing = find_missing_days(files, today)
        return Completeness(*complete_days(files, today, missing), missing)


# Each report asks for it, of the same version mostly: that takes longer than to look the files up.
# What is found without the log must not stay, so that its errors go through here.
@lru_cache(maxsize=2 * len(TABLES))
def _read_completeness(root: Path, table: str, version: int, files: tuple[DataFile, ...], today: date) -> Completeness:
    missing = find_missing_days(files, today)
    emptied = find_emptied_days(root / table, version, missing) if missing else frozenset[date]()
    missing = tuple(day for day in missing if day not in emptied)
    return Completeness(*complete_days(files, today, missing), missing)


def complete_days(
    files: Iterable[DataFile], today: date, missing: Collection[date] = ()
) -> tuple[date | None, date | None]:
    """Find the first and the last complete day that the files hold, as of this day (UTC).

    Rows of later days don't count, and no day is complete before it is over. In daily facts each other day is. In
    hourly facts the last day is complete when it has its last hour, and the first day when it has its first; otherwise
    the next day inwards counts. The last complete day is before the first `missing` one.
    """
    dated = _find_dated(files, today)
    if not dated:
        return None, None
    first = min((file.first for file in dated if file.first is not None), key=_moment)
    last = max((_find_last(file, today) for file in dated), key=_moment)
    low, high = _to_day(first), _to_day(last)
    if isinstance(first, datetime) and first.astimezone(UTC).hour:
        low += _DAY
    if isinstance(last, datetime) and last.astimezone(UTC).hour < _LAST_HOUR:
        high -= _DAY
    high = min(high, today - _DAY, *(day - _DAY for day in missing))
    return (low, high) if low <= high else (None, None)


def find_missing_days(files: Iterable[DataFile], today: date) -> tuple[date, ...]:
    """Find days without a row that should have some: their load failed, it seems.

    They lie among the last `LOOKED_AT` days up to the last with rows, today at the latest. A table where more than a
    tenth of these days have no rows, or in more than two places, just has such days: none of them is missing.
    """
    dated = _find_dated(files, today)
    if not dated:
        return ()
    end = max(_to_day(_find_last(file, today)) for file in dated)
    start = end - timedelta(days=LOOKED_AT - 1)
    filled = {day for file in dated if file.last_day >= start for day in file.list_days() if start <= day <= end}
    first = min(filled, default=end)
    span = [first + timedelta(days=place) for place in range((end - first).days + 1)]
    missing = tuple(day for day in span if day not in filled)
    gaps = sum(day - _DAY in filled for day in missing)
    return missing if len(missing) * _MOST_MISSING <= len(span) and gaps <= _MOST_GAPS else ()


def last_complete_day(snapshot: Snapshot, today: date) -> date | None:
    """Find the last day complete in all fact tables of a snapshot as of this day, if any."""
    lasts = [
        read_completeness(snapshot.root, name, snapshot.versions[name], files, today).last
        for name, files in snapshot.listing.items()
        if TABLES[name].is_fact
    ]
    known = [last for last in lasts if last is not None]
    return min(known, default=None) if len(known) == len(lasts) else None


def _find_dated(files: Iterable[DataFile], today: date) -> list[DataFile]:
    """Find the files that have rows of this day or an earlier one."""
    return [file for file in files if file.first is not None and file.last is not None and file.first_day <= today]


def _find_last(file: DataFile, today: date) -> datetime | date:
    """Find the file's last moment or day up to today.

    Where its hour isn't known, it is the first moment of the day.
    """
    assert file.last is not None  # noqa: S101 - the file is dated
    if file.last_day <= today:
        return file.last
    day = max((day for day in file.list_days() if day <= today), default=file.first_day)
    # An older month file doesn't tell its days: nothing says that those before today have rows.
    day = day if file.tells_days else file.first_day
    return datetime.combine(day, time(), UTC) if isinstance(file.last, datetime) else day


def _to_day(value: datetime | date) -> date:
    return value.astimezone(UTC).date() if isinstance(value, datetime) else value


def _moment(value: datetime | date) -> str:
    return value.isoformat()

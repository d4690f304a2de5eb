"""How fresh each table is: which days are complete, its last load, and what it holds.

A day is told once it has facts, or once a replacement restates it after it is over, even with no row. After two weeks
of told days without a gap, each day is expected. An expected day that isn't told, though a later one is, is missing:
its load failed, it seems. The last complete day is the day before the first missing one; without a missing day it is
the last told day, once it is over. In hourly facts that day counts once its last hour is there, or once it is restated.
A missing day holds back all later days until it is loaded, or restated with no row. Later days, other gaps and time
release nothing. A table that rests each week has no missing day.

Objects that are counted by their days, such as uploads, come with loads of all objects. Their last complete day is the
day before the newest object's, or that day itself if its last hour has an object. No day of theirs is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum, auto
from functools import lru_cache
from itertools import islice, pairwise, takewhile
from pathlib import Path

from reelport.errors import ReelportError
from reelport.facts.log.log_entry import DataFile, Span, intersect, is_within, merge_spans
from reelport.facts.log.snapshot import ABSENT, Snapshot, pin
from reelport.facts.tables import TABLES

_LAST_HOUR = 23
_DAY = timedelta(days=1)
_MOST_RECENT = 100  # loads that are searched for days that were restated lately
_EXPECTED_AFTER = 14
"""Days told in a row after which each day is expected. A table that rests each week has no such row, even if it once
worked through."""


@dataclass(frozen=True, slots=True)
class Completeness:
    """The complete days of a table's facts, None without one, and the days that are `missing`."""

    first: date | None
    last: date | None
    missing: tuple[date, ...] = ()


def read_completeness(root: Path, table: str, version: int, files: tuple[DataFile, ...], today: date) -> Completeness:
    """Find which days of a table's version are complete as of this day (UTC).

    While the log can't be read, no replacement counts: a day that it emptied is missing then.
    """
    if not TABLES[table].is_fact:
        return _find_completeness_of_objects(files, today)
    try:
        return _read_completeness(root, table, version, files, today)
    except (OSError, ValueError, LookupError, TypeError, ReelportError):
        return find_completeness(files, (), today)


# Each report asks for it, of the same version mostly: that takes longer than to look the files up.
# What is found without the log must not stay, so that its errors go through here.
@lru_cache(maxsize=2 * len(TABLES))
def _read_completeness(root: Path, table: str, version: int, files: tuple[DataFile, ...], today: date) -> Completeness:
    found, filled = find_completeness(files, (), today), _find_filled(_find_dated(files, today), today)
    is_all_told = len(filled) == 1 and (filled[0][0], today - _DAY) == (found.first, found.last)
    if is_all_told or version == ABSENT:
        return found  # as mostly: no replacement could change it
    from reelport.facts.log.history import read_restated  # noqa: PLC0415 - loads the Delta library

    return find_completeness(files, read_restated(root / table, TABLES[table], version), today)


def find_completeness(files: Iterable[DataFile], restated: Iterable[Span], today: date) -> Completeness:
    """Find which days are complete as of this day (UTC), by files and restated days.

    Rows of later days don't count, and no day is complete before it is over. The first complete day is the first with
    facts, or the next where hourly facts lack its first hour.
    """
    dated, over = _find_dated(files, today), today - _DAY
    filled, restated = _find_filled(dated, today), intersect((date.min, over), restated)
    told = merge_spans([*filled, *restated])
    if not told:
        return Completeness(None, None)
    low, high, missing = (filled or told)[0][0], told[-1][1], tuple(_list_missing(told))
    if dated and not _has_first_hour(dated) and not is_within(low, restated):
        low += _DAY
    if dated and high == filled[-1][1] and not _has_last_hour(dated, today) and not is_within(high, restated):
        high -= _DAY
    high = min(high, over, *(day - _DAY for day in missing[:1]))
    return Completeness(low, high, missing) if low <= high else Completeness(None, None, missing)


def last_complete_day(snapshot: Snapshot, tables: Iterable[str], today: date) -> date | None:
    """Find the last day complete in all of these tables of a snapshot as of this day, if any."""
    lasts = [
        read_completeness(snapshot.root, name, snapshot.versions[name], snapshot.listing[name], today).last
        for name in tables
    ]
    known = [last for last in lasts if last is not None]
    return min(known, default=None) if len(known) == len(lasts) else None


def _find_completeness_of_objects(files: Iterable[DataFile], today: date) -> Completeness:
    """Find the complete days of objects.

    None where a file doesn't tell its newest object, or that one is to come.
    """
    moments = [file.newest for file in files]
    known = [moment.astimezone(UTC) for moment in moments if moment is not None]
    newest = max(known, default=None)
    if newest is None or len(known) < len(moments) or newest.date() > today:
        return Completeness(None, None)
    last = newest.date() if newest.hour == _LAST_HOUR else newest.date() - _DAY
    return Completeness(None, min(last, today - _DAY))


def _list_missing(told: Sequence[Span]) -> Iterator[date]:
    is_expected = False
    for (first, last), (following, _) in pairwise(told):
        is_expected = is_expected or (last - first).days + 1 >= _EXPECTED_AFTER
        if is_expected:
            yield from (last + place * _DAY for place in range(1, (following - last).days))


def _find_dated(files: Iterable[DataFile], today: date) -> list[DataFile]:
    return [file for file in files if file.first is not None and file.last is not None and file.first_day <= today]


def _find_filled(dated: Iterable[DataFile], today: date) -> tuple[Span, ...]:
    return merge_spans((day, day) for file in dated for day in _list_days(file, today))


def _list_days(file: DataFile, today: date) -> list[date]:
    return [day for day in file.list_days() if day <= today]


def _has_first_hour(dated: Iterable[DataFile]) -> bool:
    first = min((file.first for file in dated if file.first is not None), key=str)
    return not (isinstance(first, datetime) and first.astimezone(UTC).hour)


def _has_last_hour(dated: Iterable[DataFile], today: date) -> bool:
    last = max((_find_last_moment(file, today) for file in dated), key=str)
    return not (isinstance(last, datetime) and last.astimezone(UTC).hour < _LAST_HOUR)


def _find_last_moment(file: DataFile, today: date) -> datetime | date:
    """Find the file's last moment or day up to today.

    Where its hour isn't known, it is the first moment of the day.
    """
    assert file.last is not None  # noqa: S101 - the file is dated
    if file.last_day <= today:
        return file.last
    day = _list_days(file, today)[-1]
    return datetime.combine(day, time(), UTC) if isinstance(file.last, datetime) else day


class DayState(Enum):
    """What is known of a day of a table.

    A restated one is complete, and was replaced a day or more after its end.
    """

    COMPLETE = auto()
    RESTATED = auto()
    MOVING = auto()
    MISSING = auto()


def read_day_states(
    root: Path, table: str, days: Iterable[date], restated: Iterable[Span], today: date
) -> tuple[DayState | None, ...]:
    """Find the state of each of these days of a counted table as of today (UTC).

    None stands for a day without facts. `restated` are the days that loads which stand have restated.
    """
    snapshot = pin(root, [table])
    files, restated = snapshot.listing[table], tuple(restated)
    known = read_completeness(root, table, snapshot.versions[table], files, today)
    born = {file.newest.astimezone(UTC).date() for file in files if file.newest is not None}
    told = {day for file in _find_dated(files, today) for day in _list_days(file, today)} | born

    def find_state(day: date) -> DayState | None:
        if day in known.missing:
            return DayState.MISSING
        if known.last is not None and (known.first or date.min) <= day <= known.last:
            return DayState.RESTATED if is_within(day, restated) else DayState.COMPLETE
        return DayState.MOVING if day <= today and (day in told or is_within(day, restated)) else None

    return tuple(map(find_state, days))


def find_restated_days(snapshot: Snapshot, table: str, since: datetime) -> tuple[Span, ...]:
    """Find the days that a replacement restated since then, a day or more after they were over.

    Whoever looked at these days before may remember other numbers. The 100 newest loads are read at most. Raises what
    `read_loads` does.
    """
    day = since.replace(hour=0, minute=0, second=0, microsecond=0)  # as often as the log changes, or once a day
    return _find_restated_days(snapshot.root / table, snapshot.versions[table], snapshot.listing[table], day)


# Once for these files, whose names no other table has.
@lru_cache(maxsize=2 * len(TABLES))
def _find_restated_days(folder: Path, version: int, _files: tuple[DataFile, ...], since: datetime) -> tuple[Span, ...]:
    from reelport.facts.log.history import read_loads  # noqa: PLC0415 - loads the Delta library

    newest = islice(read_loads(folder, version), _MOST_RECENT)
    recent = takewhile(lambda load: load.at is not None and load.at >= since, newest)
    return merge_spans(load.restated for load in recent if load.restated and not load.undone)


COUNTED = tuple(name for name, table in TABLES.items() if table.is_fact or table.born)
"""The tables whose rows are counted by days: facts, and objects by the day that they came into being."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """How fresh one table is whose rows are counted by days.

    `complete` is its last complete day, None where it has none: later days may still move. `loaded` is the time of the
    last load that stands, None before the first. `first` is its first complete day, before which there is no data: None
    for objects, of whose days none lacks data before the last.
    """

    table: str
    complete: date | None
    loaded: datetime | None
    first: date | None = None


def read_freshness(root: Path, today: date) -> Mapping[str, Freshness]:
    """Read the freshness of the counted tables, by name, as of this day (UTC)."""
    return find_freshness(pin(root, COUNTED), today)


def find_freshness(snapshot: Snapshot, today: date) -> Mapping[str, Freshness]:
    """Find the freshness of a snapshot's counted tables as of this day (UTC), by name."""
    found = {}
    for table in (name for name in snapshot.listing if name in COUNTED):
        version, files = snapshot.versions[table], snapshot.listing[table]
        days = read_completeness(snapshot.root, table, version, files, today)
        loaded = _find_load_time(snapshot.root, table, version, files)
        found[table] = Freshness(table, days.last, loaded, days.first)
    return found


# Once for these files, whose names no other table has.
@lru_cache(maxsize=2 * len(COUNTED))
def _find_load_time(root: Path, table: str, version: int, _files: tuple[DataFile, ...]) -> datetime | None:
    from reelport.facts.log.history import find_last_load  # noqa: PLC0415 - the same

    last = find_last_load(root / table, version)
    return None if last is None else last.at


@dataclass(frozen=True, slots=True)
class TableReport:
    """What one table holds. A table that nothing was loaded into has no rows, days or load.

    `complete_to` is the day up to which it is complete. `missing_days` have no rows though they should have some.
    """

    table: str
    rows: int
    files: int
    bytes: int
    complete_from: date | None
    complete_to: date | None
    last_load: datetime | None
    last_batch: str | None
    missing_days: tuple[date, ...] = ()


def tables_report(root: Path, today: date) -> tuple[TableReport, ...]:
    """Report on every table, as declared, with its complete days as of this one (UTC)."""
    from reelport.facts.log.delta_log import read_newest  # noqa: PLC0415 - the same
    from reelport.facts.log.history import find_last_load  # noqa: PLC0415 - the same

    reports = []
    for table in TABLES.values():
        now = read_newest(root, table)
        last, days = find_last_load(now.folder, now.version), Completeness(None, None)
        if table.name in COUNTED:
            days = read_completeness(root, table.name, now.version, now.files, today)
        reports.append(
            TableReport(
                table.name,
                sum(file.rows for file in now.files),
                len(now.files),
                sum(file.size for file in now.files),
                days.first,
                days.last,
                last.at if last else None,
                last.batch if last else None,
                days.missing,
            )
        )
    return tuple(reports)

"""Chooses the rollup that one source of a report reads, and the days of it.

A day is read from a rollup only if that day was built from exactly the pinned version's files; all of its other days
are read from the facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path

from reelport.engine.aggregation import Aggregation
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.duckdb.row_groups import RowGroupIndex
from reelport.engine.resolved_query import SourceQuery
from reelport.engine.rollups.needs import find_needs
from reelport.engine.rollups.shape import identity_of
from reelport.engine.scan_estimate import Scan
from reelport.errors import InternalError
from reelport.facts.log.data_file import DataFile
from reelport.facts.log.role_copies import ROLES
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.rollups import Files, Rollup, Segment, list_files_by_day, list_rollups, list_segments
from reelport.wording import format_count

_FOOTERS_MEMORY = "256MB"
"""What the engine may take that reads the descriptions of copies."""
Parts = tuple[tuple[Segment, frozenset[date]], ...]
"""Segments, each with the days that are read from it. No day is in two of them."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of a rollup: its parts for their days, and facts for all other days.

    `rows` are those that are read at most, of both; `all_days` are the days of the report that have facts.
    """

    rollup: Rollup
    parts: Parts
    all_days: frozenset[date]
    rows: int

    @property
    def days(self) -> frozenset[date]:
        """The days that are read from the rollup."""
        return frozenset().union(*(days for _, days in self.parts))

    @property
    def other_days(self) -> frozenset[date]:
        """The days that are read from the facts."""
        return self.all_days - self.days


@dataclass(frozen=True, slots=True)
class Choice:
    """What is read for one source of a report: a rollup's days, or facts alone.

    `refused` tells why each other rollup of the table is not used, by its name. `fact_rows` are the rows that are read
    at most without any rollup.
    """

    source: str
    table: str
    reading: Reading | None
    refused: Mapping[str, str]
    fact_rows: int

    @property
    def rows(self) -> int:
        """The rows that are read at most."""
        return self.fact_rows if self.reading is None else self.reading.rows


@dataclass(frozen=True, slots=True)
class RollupList:
    """The rollups of some tables with their segments, as they were found at one moment."""

    segments: Mapping[Rollup, tuple[Segment, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path) -> RollupList:
        """Read which rollups and segments there are. No folder of rollups, none."""
        return cls({rollup: list_segments(root, rollup, identity_of(rollup)) for rollup in list_rollups(root)})

    def __bool__(self) -> bool:
        return bool(self.segments)

    def of_table(self, table: str) -> Mapping[Rollup, tuple[Segment, ...]]:
        """The rollups of one table."""
        return {rollup: segments for rollup, segments in self.segments.items() if rollup.table == table}


def choose(source_query: SourceQuery, snapshot: Snapshot, rollups: RollupList) -> Choice:
    """Choose the rollup that makes the fewest rows be read, if any makes it no more."""
    source = source_query.source
    file_rows = _count_rows(_list_fact_files(source_query, snapshot))
    refused: dict[str, str] = {}
    readings: list[Reading] = []
    needs = find_needs(source_query)
    for rollup, segments in rollups.of_table(source.table).items():
        problem = needs if isinstance(needs, str) else needs.find_lack(rollup)
        reading = problem or _read_days(source_query, snapshot, rollup, segments)
        if isinstance(reading, Reading):
            readings.append(reading)
        else:
            refused[rollup.name] = reading
    best = min(readings, key=lambda each: (each.rows, each.rollup.name), default=None)
    # Descriptions of copies are read only where there is something to compare them with.
    copied = None if best is None else _count_copied_rows(source_query, snapshot)
    fact_rows = file_rows if copied is None else copied
    if best is not None and best.rows > fact_rows:
        best = None
    for each in readings:
        if each is not best:
            other = "the facts" if best is None else best.rollup.name
            refused[each.rollup.name] = f"{format_count(each.rows, 'row')} to read: {other} needs no more"
    return Choice(source.name, source.table, best, refused, fact_rows)


def count_rows_read(aggregation: Aggregation, snapshot: Snapshot, rollups: RollupList) -> int:
    """Count the rows that a report reads at most, of rollups or of facts."""
    return sum(choose(source_query, snapshot, rollups).rows for source_query in aggregation.sources)


def _count_copied_rows(source_query: SourceQuery, snapshot: Snapshot) -> int | None:
    """Count the rows read of copies by the one role that counts; None without copies.

    Rollups are sorted by owner, so a report by another role reads all rows of theirs: how many copies save is told by
    their row groups alone. A copy that can't be read is for the report to tell, and
    one whose description is too large is counted by its file.
    """
    resolved, source, role = source_query.resolved, source_query.source, source_query.only_role
    asked = resolved.start, resolved.end, resolved.tenant.channels
    if role not in ROLES or not snapshot.has_copies(source.table, *asked, role):
        return None
    paths = snapshot.files(source.table, *asked, role)
    with suppress(InternalError):
        return _find_row_groups().count_rows([Scan(source.table, paths, 0, source.time, *asked, role)])
    return None


@cache
def _find_row_groups() -> RowGroupIndex:
    """The index of the row groups of copies, one a process: what it has read of a file stays."""
    return RowGroupIndex(QueryEngine(_FOOTERS_MEMORY, 1, None))


def _list_fact_files(source_query: SourceQuery, snapshot: Snapshot) -> tuple[DataFile, ...]:
    resolved, table = source_query.resolved, source_query.source.table
    channels = resolved.tenant.channels if source_query.owner_only else None
    return snapshot.data_files(table, resolved.start, resolved.end, channels)


def _count_rows(files: Iterable[DataFile]) -> int:
    return sum(file.rows for file in files)


def _read_days(
    source_query: SourceQuery, snapshot: Snapshot, rollup: Rollup, segments: tuple[Segment, ...]
) -> Reading | str:
    """Find what can be read of the rollup; a sentence where that is no day."""
    resolved, by_day = source_query.resolved, list_files_by_day(snapshot.listing[source_query.source.table])
    asked = {day: files for day, files in by_day.items() if resolved.start <= day <= resolved.end}
    if not asked:
        return "there are no facts of these days"
    parts = choose_parts(segments, asked)
    if not parts:
        stale = any(day in segment.days for segment in segments for day in asked)
        return "its days were built from other files: build it" if stale else "none of these days is built: build it"
    built = frozenset().union(*(days for _, days in parts))
    others = frozenset(asked) - built
    rest = list_files_of_days(_list_fact_files(source_query, snapshot), by_day, others)
    found = [segment.days[day] for segment, days in parts for day in days]
    rows = sum(day.rows for day in found) + _count_rows(rest)
    return Reading(rollup, parts, frozenset(asked), rows)


def choose_parts(segments: Iterable[Segment], asked: Mapping[date, Files]) -> Parts:
    """Choose the segment that each day is read from; the one with the most valid days first."""
    valid = [(segment, segment.valid_days(asked)) for segment in segments]
    taken: set[date] = set()
    parts = []
    for segment, days in sorted(valid, key=lambda each: (-len(each[1]), each[0].manifest.name)):
        if fresh := days - taken:
            parts.append((segment, fresh))
            taken |= fresh
    return tuple(parts)


def list_files_of_days(
    files: Iterable[DataFile], by_day: Mapping[date, Files], days: Iterable[date]
) -> tuple[DataFile, ...]:
    """List those of the files that may hold rows of any of the days.

    `by_day` has the names of each day's files.
    """
    names = frozenset[str]().union(*(by_day[day] for day in days))
    return tuple(file for file in files if file.path in names)

"""Estimates how many rows of facts a report reads, before any of them is read."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.mapping import find_sources
from reelport.engine.plan import Plan
from reelport.engine.resolved_query import make_source_query, resolve_query
from reelport.engine.tenant import Tenant
from reelport.facts.data_files.duckdb_session import path_list_sql
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.tables import OWNER
from reelport.query import ReportQuery

_KEPT = 10_000
"""Files whose row groups are kept: a few hundred bytes each."""
_DAY = len("2026-01-01")


@dataclass(frozen=True, slots=True)
class Scan:
    """The files that a report reads of one source, and the rows in them.

    DuckDB scans so many at most: within a file it skips row groups by the days in the column `time` and, where
    `channels` is given, by the channels in the column `role`.
    """

    table: str
    paths: tuple[str, ...]
    rows: int
    time: str
    start: date
    end: date
    channels: frozenset[str] | None
    role: str = OWNER


def list_scans(query: ReportQuery, tenant: Tenant, snapshot: Snapshot) -> Iterator[Scan]:
    """List the scans of a checked query, one for each of its sources."""
    resolved = resolve_query(query, tenant)
    for source in find_sources(resolved.metrics):
        if source_query := make_source_query(resolved, source):
            role = source_query.only_role or OWNER
            channels = tenant.listed_channels if source_query.only_role else None
            owners = channels if role == OWNER else None
            rows = sum(file.rows for file in snapshot.data_files(source.table, query.start, query.end, owners))
            paths = snapshot.files(source.table, query.start, query.end, channels, role)
            yield Scan(source.table, paths, rows, source.time, query.start, query.end, channels, role)


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group: its rows, its least and highest channel (in a scan's role) and day, if told."""

    rows: int
    low_channel: str | None
    high_channel: str | None
    first: str | None
    last: str | None

    def may_hold(self, scan: Scan, channels: Sequence[str]) -> bool:
        """Whether a row of the scan may be in it."""
        begins, ends = self.first or "", self.last or "9999-12-31"
        days = begins <= str(scan.end) and ends >= str(scan.start)
        if scan.channels is None or self.low_channel is None or self.high_channel is None:
            return days
        return days and any(self.low_channel <= channel <= self.high_channel for channel in channels)


class RowGroupIndex:
    """The row groups of files, read once: files never change. Any thread may use it."""

    def __init__(self, engine: QueryEngine) -> None:
        self._engine = engine
        self._groups: OrderedDict[tuple[str, str], tuple[RowGroup, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def count_rows(self, scans: Iterable[Scan]) -> int:
        """Count the rows that scans can't skip by row groups. Raises what `Session.fetch` does."""
        return sum(self._count(scan) for scan in scans)

    def _count(self, scan: Scan) -> int:
        channels = sorted(scan.channels or ())
        with self._lock:
            self._read([path for path in scan.paths if (path, scan.role) not in self._groups], scan)
            found = [group for path in scan.paths for group in self._groups[path, scan.role]]
            while len(self._groups) > _KEPT:
                self._groups.popitem(last=False)
        return sum(group.rows for group in found if group.may_hold(scan, channels))

    def _read(self, paths: list[str], scan: Scan) -> None:
        if not paths:
            return
        session = self._engine.session()
        try:
            rows = session.fetch(Plan(_select_groups(paths, scan.time, scan.role), ()), "this page")
        finally:
            session.close()
        groups: dict[str, list[RowGroup]] = {path: [] for path in paths}
        for path, *values in rows:
            groups[path].append(RowGroup(*values))
        self._groups |= {(path, scan.role): tuple(found) for path, found in groups.items()}


def _select_groups(paths: list[str], time: str, role: str) -> str:
    return f"""
        SELECT
            file_name, ANY_VALUE(row_group_num_rows),
            MAX(stats_min_value) FILTER (path_in_schema = '{role}'),
            MAX(stats_max_value) FILTER (path_in_schema = '{role}'),
            MAX(stats_min_value[:{_DAY}]) FILTER (path_in_schema = '{time}'),
            MAX(stats_max_value[:{_DAY}]) FILTER (path_in_schema = '{time}')
        FROM parquet_metadata({path_list_sql(paths)})
        GROUP BY file_name, row_group_id
    """  # noqa: S608 - names of columns, and paths that are written as literals

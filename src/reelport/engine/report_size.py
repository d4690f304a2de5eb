"""Estimates how many rows of facts a report reads, and how large it is."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

from reelport.catalog import Dimension, Grain
from reelport.engine.aggregation import select_source_rows
from reelport.engine.duckdb.engine import QueryEngine, Session
from reelport.engine.plan import Plan
from reelport.engine.relations import Relations
from reelport.engine.resolved_query import ResolvedQuery, SourceQuery, resolve_query
from reelport.engine.tenant import Tenant
from reelport.facts.data_files.duckdb_session import path_list_sql
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.tables import OWNER
from reelport.query import ReportQuery

_KEPT = 10_000
"""Files whose row groups are kept: a few hundred bytes each."""
_DAY = len("2026-01-01")


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group: its rows, its least and highest channel (in one role) and day, if told."""

    rows: int
    low_channel: str | None
    high_channel: str | None
    first: str | None
    last: str | None

    def may_hold(self, start: date, end: date, channels: frozenset[str] | None) -> bool:
        """Whether a row of these days, and of one of the channels, may be in it."""
        begins, ends = self.first or "", self.last or "9999-12-31"
        days = begins <= str(end) and ends >= str(start)
        if channels is None or self.low_channel is None or self.high_channel is None:
            return days
        return days and any(self.low_channel <= channel <= self.high_channel for channel in channels)


class RowGroupIndex:
    """The row groups of files, read once: files never change. Any thread may use it.

    DuckDB skips row groups by days and, where one role counts, by the channels in that role.
    """

    def __init__(self, engine: QueryEngine) -> None:
        self._engine = engine
        self._groups: OrderedDict[tuple[str, str], tuple[RowGroup, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def count_rows(self, source_query: SourceQuery, snapshot: Snapshot) -> int:
        """Count the rows of facts that can't be skipped. Raises what `Session.fetch` does."""
        paths, role, time = source_query.list_paths(snapshot), source_query.only_role or OWNER, source_query.source.time
        asked = source_query.resolved.start, source_query.resolved.end, source_query.listed_channels
        with self._lock:
            self._read([path for path in paths if (path, role) not in self._groups], time, role)
            found = [group for path in paths for group in self._groups[path, role]]
            while len(self._groups) > _KEPT:
                self._groups.popitem(last=False)
        return sum(group.rows for group in found if group.may_hold(*asked))

    def _read(self, paths: list[str], time: str, role: str) -> None:
        if not paths:
            return
        session = self._engine.session()
        try:
            rows = session.fetch(Plan(_select_groups(paths, time, role), ()), "this page")
        finally:
            session.close()
        groups: dict[str, list[RowGroup]] = {path: [] for path in paths}
        for path, *values in rows:
            groups[path].append(RowGroup(*values))
        self._groups |= {(path, role): tuple(found) for path, found in groups.items()}


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


_DAYS = 5
"""Days that are looked at."""
_ROWS = 400_000
"""Rows of each of them that are looked at, at most."""
_NUMBER_BYTES, _NAME_BYTES = 3, 32
"""What a metric's cell takes in a CSV, most of which are small, and a title or name that is looked up for an id."""
_GROUP_BYTES, _CELL_BYTES, _MEASURE_BYTES = 48, 16, 24
"""What DuckDB takes in memory for a group, beside its texts."""


@dataclass(frozen=True, slots=True)
class ReportSize:
    """About how many rows a report has, and how many bytes of CSV and of memory.

    `widest` is the dimension with the most values, apart from times; None without one. It has about `values` in the
    `days` that were looked at, of `all_days`. The rows are at least so many where `is_least`.
    """

    rows: int
    bytes: int
    memory: int
    widest: Dimension | None
    values: int
    days: int
    all_days: int
    is_least: bool


def estimate_size(session: Session, query: ReportQuery, tenant: Tenant, snapshot: Snapshot) -> ReportSize | None:
    """Estimate a checked query's size; None without dimensions or rows.

    Errors are those of `fetch`.
    """
    resolved = resolve_query(query, tenant)
    if not resolved.keys or not resolved.sources:
        return None
    source_query = max(resolved.sources, key=lambda each: each.count_rows(snapshot))
    days = list(_choose_days(query.start, query.end))
    keys = [key.header for key in resolved.keys]
    sql = " UNION ALL ".join(_select_day(source_query, day, snapshot) for day in days)
    ((rows, groups, text_bytes, most, *values),) = session.fetch(Plan(_write_counts(keys, sql), ()), "the size")
    if not rows:
        return None
    all_days = (query.end - query.start).days + 1
    has_days = any(key.grain is not None and key.grain <= Grain.DAY for key in resolved.keys)
    # Each day has groups of its own. Without days, rows of other days fall into the same groups, but for single ones.
    growth = 1 if has_days else groups / rows
    estimate = round(groups * (all_days / len(days)) ** growth)
    counted = {key: count for key, count in zip(resolved.keys, values, strict=True) if key.grain is None}
    widest = max(counted, key=lambda key: counted[key], default=None)
    names = len(query.dimensions) - len(keys)
    # Each cell ends with a comma or a line end.
    line = text_bytes + len(keys) + (_NAME_BYTES + 1) * names + (_NUMBER_BYTES + 1) * len(query.metrics)
    group = _GROUP_BYTES + _CELL_BYTES * len(keys) + _MEASURE_BYTES * len(resolved.measures) + text_bytes
    return ReportSize(
        rows=estimate,
        bytes=round(estimate * line),
        memory=round(estimate * group),
        widest=widest,
        values=counted[widest] if widest else 0,
        days=len(days),
        all_days=all_days,
        is_least=most >= _ROWS,
    )


def _choose_days(start: date, end: date) -> Iterator[date]:
    """Choose a few days, spread evenly over the range."""
    days = (end - start).days + 1
    chosen = min(days, _DAYS)
    for number in range(chosen):
        yield start + timedelta(days=(2 * number + 1) * days // (2 * chosen))


def _select_day(source_query: SourceQuery, day: date, snapshot: Snapshot) -> str:
    resolved: ResolvedQuery = replace(source_query.resolved, start=day, end=day)
    rows = select_source_rows(replace(source_query, resolved=resolved), Relations(snapshot), summed=False)
    return f"(SELECT '{day}' AS sampled_day, * FROM ({rows}) LIMIT {_ROWS})"  # noqa: S608 - SQL of ours


def _write_counts(keys: list[str], rows: str) -> str:
    """Write the counts: rows, groups, mean bytes of texts, most rows of a day, values by key."""
    columns = [f'"{key}"' for key in keys]
    texts = " + ".join(f"COALESCE(STRLEN({column}::VARCHAR), 0)" for column in columns)
    values = ", ".join(f"APPROX_COUNT_DISTINCT({column})" for column in columns)
    return f"""
        WITH sampled AS ({rows}), a_day AS (SELECT COUNT(*) AS rows FROM sampled GROUP BY sampled_day)
        SELECT COUNT(*), APPROX_COUNT_DISTINCT(HASH({", ".join(columns)})), AVG({texts}),
            (SELECT MAX(rows) FROM a_day), {values}
        FROM sampled
    """  # noqa: S608 - names of columns, and SQL of ours

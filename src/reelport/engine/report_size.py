"""Estimates how large a report is, from the rows of a few of its days."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

from reelport.catalog import Dimension, Grain
from reelport.engine.aggregation import plan_aggregation
from reelport.engine.duckdb.engine import Session
from reelport.engine.grouping import select_source_rows
from reelport.engine.plan import Plan
from reelport.engine.relations import Relations
from reelport.engine.resolved_query import ResolvedQuery, SourceQuery, resolve_query
from reelport.engine.tenant import Tenant
from reelport.engine.trees import DIALECT
from reelport.facts.log.snapshot import Snapshot
from reelport.query import ReportQuery

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
    aggregation = plan_aggregation(resolve_query(query, tenant))
    if not aggregation.keys or not aggregation.sources:
        return None
    source_query = max(aggregation.sources, key=lambda each: _count_rows(each, snapshot))
    days = list(_choose_days(query.start, query.end))
    keys = [key.header for key in aggregation.keys]
    sql = " UNION ALL ".join(_select_day(source_query, day, snapshot) for day in days)
    ((rows, groups, text_bytes, most, *values),) = session.fetch(Plan(_write_counts(keys, sql), ()), "the size")
    if not rows:
        return None
    all_days = (query.end - query.start).days + 1
    has_days = any(key.grain is not None and key.grain <= Grain.DAY for key in aggregation.keys)
    # Each day has groups of its own. Without days, rows of other days fall into the same groups, but for single ones.
    growth = 1 if has_days else groups / rows
    estimate = round(groups * (all_days / len(days)) ** growth)
    counted = {key: count for key, count in zip(aggregation.keys, values, strict=True) if key.grain is None}
    widest = max(counted, key=lambda key: counted[key], default=None)
    names = len(query.dimensions) - len(keys)
    # Each cell ends with a comma or a line end.
    line = text_bytes + len(keys) + (_NAME_BYTES + 1) * names + (_NUMBER_BYTES + 1) * len(query.metrics)
    group = _GROUP_BYTES + _CELL_BYTES * len(keys) + _MEASURE_BYTES * len(aggregation.measures) + text_bytes
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


def _count_rows(source_query: SourceQuery, snapshot: Snapshot) -> int:
    resolved = source_query.resolved
    files = snapshot.data_files(source_query.source.table, resolved.start, resolved.end)
    return sum(file.rows for file in files)


def _choose_days(start: date, end: date) -> Iterator[date]:
    """Choose a few days, spread evenly over the range."""
    days = (end - start).days + 1
    chosen = min(days, _DAYS)
    for number in range(chosen):
        yield start + timedelta(days=(2 * number + 1) * days // (2 * chosen))


def _select_day(source_query: SourceQuery, day: date, snapshot: Snapshot) -> str:
    resolved: ResolvedQuery = replace(source_query.resolved, start=day, end=day)
    rows = select_source_rows(replace(source_query, resolved=resolved), Relations.of(snapshot, resolved), summed=False)
    return f"(SELECT '{day}' AS sampled_day, * FROM ({rows.sql(dialect=DIALECT, copy=False)}) LIMIT {_ROWS})"  # noqa: S608 - SQL of ours


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

"""Compiles a query for a tenant and a snapshot to SQL, in pieces if it is long.

A piece is a few months of a long report, and needs a fraction of its memory; its rows are written to the disk while the
next piece is computed. The bytes of the report don't depend on where it is split.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta

from reelport.catalog import Dimension, Filter, Metric
from reelport.engine.aggregation import DUCKDB, Aggregator
from reelport.engine.mapping import CELLS, LOOKUPS, PICTURE, LookupCell, find_sources
from reelport.engine.plan import Pieces, Plan, StoredObjects
from reelport.engine.relations import Relations
from reelport.engine.report_rows import select_report_rows
from reelport.engine.resolved_query import PLAIN, Refinement, resolve_query
from reelport.engine.tenant import Tenant
from reelport.facts.data_files.file_columns import read_files_sql
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.tables import TABLES
from reelport.query import ReportQuery

_SPLIT_FROM_ROWS = 1_000_000
"""Rows below which a report isn't split: of the facts of its days, of all tenants, or of what is read with rollups.

Each piece costs about 4 ms, and 14 for a platform of 400 channels.
"""
_PIECE_ROWS = 500_000
"""Rows of the report that a piece should have."""
_DAYS_PER_MONTH = 30
"""Days of a month, roughly."""
_MOST_MONTHS = 120
"""Most months of a piece, however few rows they give."""


def plan_pieces(
    query: ReportQuery,
    tenant: Tenant,
    snapshot: Snapshot,
    *,
    aggregator: Aggregator = DUCKDB,
    worth: int = _SPLIT_FROM_ROWS,
    size: int = _PIECE_ROWS,
) -> Pieces:
    """Yield the plans of a checked query.

    A query is split by months where its rows are in order of time and at least `worth` rows are read for it: first one
    month, then as many as should give `size` rows, estimated from the previous piece. After a piece without rows, which
    gives no estimate, comes one month again.
    """
    if not _is_worth_splitting(query, tenant, snapshot, aggregator, worth):
        yield compile_query(query, tenant, snapshot, aggregator)
        return
    start, months = query.start, 1
    while start <= query.end:
        end = min(_find_last_day(start, months), query.end)
        plan = compile_query(replace(query, start=start, end=end), tenant, snapshot, aggregator)
        rows = yield replace(plan, share=(start - query.start).days / query.days)
        after = end + timedelta(days=1)
        # Estimate by days, not months: the report may begin on the last day of a month.
        months = min(max(1, size * (after - start).days // (_DAYS_PER_MONTH * rows)), _MOST_MONTHS) if rows else 1
        start = after


def _is_worth_splitting(
    query: ReportQuery, tenant: Tenant, snapshot: Snapshot, aggregator: Aggregator, worth: int
) -> bool:
    # Rows are in order of time, and none spans two months, if time comes first.
    is_in_time_order = bool(query.dimensions) and Dimension[query.dimensions[0]].grain is not None
    if not is_in_time_order or query.end <= _find_last_day(query.start, 1):
        return False
    tables = (name for name in tables_of(query) if TABLES[name].is_fact)
    files = (file for name in tables for file in snapshot.listing[name] if file.touches(query.start, query.end))
    if sum(file.rows for file in files) < worth:
        return False
    # Of rollups far fewer rows may be read. They are asked last: to choose them takes longer than to count the facts.
    rows = aggregator.count_rows_read(resolve_query(query, tenant), snapshot)
    return rows is None or rows >= worth


def _find_last_day(start: date, months: int) -> date:
    passed = start.year * 12 + start.month - 1 + months
    return date(passed // 12, passed % 12 + 1, 1) - timedelta(days=1)


def compile_query(
    query: ReportQuery,
    tenant: Tenant,
    snapshot: Snapshot,
    aggregator: Aggregator = DUCKDB,
    *,
    ordered: bool = True,
    refinement: Refinement = PLAIN,
) -> Plan:
    """Compile a checked query to a plan. Its rows are in no order unless `ordered`.

    The tables of the dimensions of a refinement must be pinned, too.

    It reads only pinned files and gives only the tenant's rows. With DuckDB as the aggregator the same arguments give
    the same SQL. InternalError when the query was not checked.
    """
    resolved = resolve_query(query, tenant, refinement)
    if not resolved.sources:
        types = ["TEXT"] * len(resolved.dimensions) + ["HUGEINT"] * len(resolved.metrics)
        columns = (f"CAST(NULL AS {type_}) AS {name}" for type_, name in zip(types, resolved.headers, strict=True))
        return Plan(f"SELECT {', '.join(columns)} WHERE false", resolved.headers)
    aggregated = aggregator.aggregate(resolved, snapshot)
    rows = select_report_rows(resolved, aggregated, Relations(snapshot), ordered=ordered)
    return Plan(rows, resolved.headers, tuple(_list_objects(query, snapshot)))


def tables_of(query: ReportQuery) -> frozenset[str]:
    """The tables that a checked query reads: those to pin."""
    metrics = tuple(Metric[name] for name in query.metrics)
    looked_at = [Dimension[name] for name in query.dimensions] + [Filter[name].dimension for name, _ in query.filters]
    found = [cell for cell in (CELLS[dimension] for dimension in looked_at) if isinstance(cell, LookupCell)]
    objects = {table for cell in found for table in LOOKUPS[cell.lookup].tables}
    return frozenset({source.table for source in find_sources(metrics)} | objects)


def _list_objects(query: ReportQuery, snapshot: Snapshot) -> Iterator[StoredObjects]:
    for name in sorted(tables_of(query)):
        if not TABLES[name].is_fact and (files := snapshot.files(name)):
            sql = read_files_sql(TABLES[name], list(files))
            left_out = tuple(column.name for column in TABLES[name].columns if column.name == PICTURE)
            yield StoredObjects(sql, sum(file.rows for file in snapshot.listing[name]), left_out)

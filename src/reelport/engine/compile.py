"""Compiles a query for a tenant and a snapshot to SQL, by pure steps over sqlglot trees.

A report is aggregated, then its rows are written. Columns and rows of the SQL are those of the CSV, in that order.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from reelport.catalog import Dimension, Filter, Metric
from reelport.engine.aggregation import Aggregator, plan_aggregation
from reelport.engine.duckdb.aggregator import DUCKDB
from reelport.engine.mapping import CELLS, LOOKUPS, LookupCell, find_sources
from reelport.engine.plan import Plan, StoredObjects
from reelport.engine.relations import Relations
from reelport.engine.report_rows import select_report_rows
from reelport.engine.resolved_query import ResolvedQuery, resolve_query
from reelport.engine.tenant import Tenant
from reelport.engine.trees import DIALECT, alias, cast
from reelport.facts.data_files.file_columns import read_files_sql
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.tables import TABLES
from reelport.query import ReportQuery


def compile_query(
    query: ReportQuery,
    tenant: Tenant,
    snapshot: Snapshot,
    aggregator: Aggregator = DUCKDB,
    *,
    ordered: bool = True,
) -> Plan:
    """Compile a checked query to a plan. Its rows are in no order unless `ordered`.

    It reads only pinned files and gives only the tenant's rows. With DuckDB as the aggregator the same arguments give
    the same SQL. InternalError when the query was not checked.
    """
    resolved = resolve_query(query, tenant)
    aggregation = plan_aggregation(resolved)
    if not aggregation.sources:
        return Plan(_select_nothing(resolved).sql(dialect=DIALECT, copy=False), resolved.headers)
    relation = aggregator.aggregate(aggregation, snapshot)
    tree = select_report_rows(aggregation, relation.select, Relations.of(snapshot, resolved), ordered=ordered)
    objects = tuple(_list_objects(query, snapshot))
    return Plan(tree.sql(dialect=DIALECT, copy=False), resolved.headers, relation.arrow, objects)


def tables_of(query: ReportQuery) -> frozenset[str]:
    """The tables that a checked query reads: those to pin."""
    metrics = tuple(Metric[name] for name in query.metrics)
    looked_at = [Dimension[name] for name in query.dimensions] + [Filter[name].dimension for name, _ in query.filters]
    found = [cell for cell in (CELLS[dimension] for dimension in looked_at) if isinstance(cell, LookupCell)]
    objects = {table for cell in found for table in LOOKUPS[cell.lookup].tables}
    return frozenset({source.table for source in find_sources(metrics)} | objects)


def _list_objects(query: ReportQuery, snapshot: Snapshot) -> Iterator[StoredObjects]:
    """List the object tables that the query reads, as its SQL reads them."""
    for name in sorted(tables_of(query)):
        if not TABLES[name].is_fact and (files := snapshot.files(name)):
            sql = read_files_sql(TABLES[name], list(files))
            yield StoredObjects(sql, sum(file.rows for file in snapshot.listing[name]))


def _select_nothing(resolved: ResolvedQuery) -> exp.Select:
    """Select no row, with the report's columns."""
    types = ["TEXT"] * len(resolved.dimensions) + ["HUGEINT"] * len(resolved.metrics)
    columns = (alias(cast(exp.null(), type_), header) for type_, header in zip(types, resolved.headers, strict=True))
    return exp.select(*columns).where(exp.false())

"""Compiles a query for a tenant and a snapshot to DuckDB SQL, by pure steps over sqlglot trees.

Select rows of each source, UNION ALL them, group once, join late lookups, format the cells and sort. Columns and rows
of the SQL are those of the CSV, in that order.
"""

from __future__ import annotations

from sqlglot import exp

from reelport.catalog import CellType, Dimension, Filter, Metric
from reelport.engine import numbers
from reelport.engine.lookups import join_lookups, late_lookups, lookup_column
from reelport.engine.mapping import CELLS, LOOKUPS, LookupCell, find_sources
from reelport.engine.plan import Plan
from reelport.engine.relations import Relations
from reelport.engine.resolved_query import ResolvedQuery, make_source_query, resolve_query
from reelport.engine.rows import select_rows
from reelport.engine.tenant import Tenant
from reelport.engine.trees import DIALECT, alias, call, cast, number, subquery
from reelport.facts.log.snapshot import Snapshot
from reelport.query import ReportQuery

_STACKED, _GROUPED = "facts", "report"
_TIME_FORMATS = {
    CellType.MINUTE: "%Y-%m-%dT%H:%M:%SZ",
    CellType.HOUR: "%Y-%m-%dT%H:%M:%SZ",
    CellType.MONTH: "%Y-%m",
}


def compile_query(query: ReportQuery, tenant: Tenant, snapshot: Snapshot) -> Plan:
    """Compile a checked query to a plan that reads only pinned files and gives only the tenant's rows.

    The same arguments give the same SQL. InternalError when the query was not checked.
    """
    resolved = resolve_query(query, tenant)
    relations = Relations(snapshot, query.start, query.end, tenant.channels)
    source_queries = (make_source_query(resolved, source) for source in find_sources(resolved.metrics))
    selects = [select_rows(source_query, relations) for source_query in source_queries if source_query]
    if not selects:
        return Plan(_select_nothing(resolved).sql(dialect=DIALECT, copy=False), resolved.headers)
    tree = _format_rows(resolved, _group(resolved, selects), relations)
    return Plan(tree.sql(dialect=DIALECT, copy=False), resolved.headers)


def tables_of(query: ReportQuery) -> frozenset[str]:
    """The tables that a checked query reads: those to pin."""
    metrics = tuple(Metric[name] for name in query.metrics)
    looked_at = [Dimension[name] for name in query.dimensions] + [Filter[name].dimension for name, _ in query.filters]
    found = [cell for cell in (CELLS[dimension] for dimension in looked_at) if isinstance(cell, LookupCell)]
    objects = {table for cell in found for table in LOOKUPS[cell.lookup].tables}
    return frozenset({source.table for source in find_sources(metrics)} | objects)


def _group(resolved: ResolvedQuery, selects: list[exp.Select]) -> exp.Select:
    """Group the stacked rows to one per combination of cells, with the aggregates that the metrics need."""
    kept: dict[str, exp.Expr] = {}
    for metric in resolved.metrics:
        kept |= numbers.aggregate_measures(metric.rule, _STACKED)
    late = late_lookups(resolved)
    cells = [exp.column(dimension.header, _STACKED) for dimension in resolved.dimensions if dimension not in late]
    tree = exp.select(*cells, *(alias(value, name) for name, value in kept.items()))
    tree = tree.from_(subquery(_stack(selects), _STACKED), copy=False)
    if cells:
        return tree.group_by(*(cell.copy() for cell in cells), copy=False)
    # Without dimensions SQL gives one row even over no facts: leave that row out.
    return tree.having(exp.GT(this=exp.Count(this=exp.Star()), expression=number(0)), copy=False)


def _stack(selects: list[exp.Select]) -> exp.Query:
    first, *others = selects
    tree: exp.Query = first
    for other in others:
        tree = exp.Union(this=tree, expression=other, distinct=False)
    return tree


def _format_rows(resolved: ResolvedQuery, grouped: exp.Select, relations: Relations) -> exp.Select:
    """Format the cells as text, and sort by the dimensions in the query's order, empty cells last."""
    cells = _build_cells(resolved)
    written = [alias(_format_cell(dimension, cell), dimension.header) for dimension, cell in cells.items()]
    tree = exp.select(*written, *(alias(numbers.metric_value(row, _GROUPED), row.header) for row in resolved.metrics))
    tree = tree.from_(subquery(grouped, _GROUPED), copy=False)
    tree = join_lookups(tree, late_lookups(resolved).values(), _GROUPED, relations)
    order = [exp.Ordered(this=cell.copy(), desc=False, nulls_first=False) for cell in cells.values()]
    return tree.order_by(*order, copy=False) if order else tree


def _build_cells(resolved: ResolvedQuery) -> dict[Dimension, exp.Expr]:
    """Build the cell of each dimension: a grouped column, or a late lookup by one."""
    cells: dict[Dimension, exp.Expr] = {row: exp.column(row.header, _GROUPED) for row in resolved.dimensions}
    return cells | {dimension: lookup_column(found) for dimension, found in late_lookups(resolved).items()}


def _format_cell(dimension: Dimension, cell: exp.Expr) -> exp.Expr:
    """Format a time as the CSV writes it; leave any other cell as it is."""
    if dimension.type not in _TIME_FORMATS:
        return cell
    return call("STRFTIME", cell, exp.Literal.string(_TIME_FORMATS[dimension.type]))


def _select_nothing(resolved: ResolvedQuery) -> exp.Select:
    """Select no row, with the report's columns."""
    columns = (alias(cast(exp.null(), "TEXT"), header) for header in resolved.headers)
    return exp.select(*columns).where(exp.false())

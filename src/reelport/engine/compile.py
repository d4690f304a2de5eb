"""From a query, its reader and a snapshot to SQL: a list of pure steps over trees.

rows of each source -> stacked -> grouped once -> the last cells looked up -> written, in order. The SQL is
DuckDB's; its columns and their order are the CSV's.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from reelport.catalog import CellType, Dimension, Filter, Metric
from reelport.engine import numbers
from reelport.engine.lookups import join_lookups, late_lookups, lookup_column
from reelport.engine.mapping import CELLS, LOOKUPS, LookupCell, find_sources
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


@dataclass(frozen=True, slots=True)
class Plan:
    """What the engine runs: one SELECT whose rows, in their order, are the CSV's; and the CSV's header."""

    sql: str
    columns: tuple[str, ...]


def compile_query(query: ReportQuery, tenant: Tenant, snapshot: Snapshot) -> Plan:
    """The plan of a checked query: it reads only pinned files, and gives only the reader's rows.

    The same arguments give the same SQL. InternalError when the query was not checked.
    """
    resolved = resolve_query(query, tenant)
    relations = Relations(snapshot, query.start, query.end, tenant.channels)
    parts = [
        source_query
        for source in find_sources(resolved.metrics)
        if (source_query := make_source_query(resolved, source))
    ]
    if not parts:
        return Plan(_select_nothing(resolved).sql(dialect=DIALECT, copy=False), resolved.headers)
    tree = _format_rows(
        resolved, _group(resolved, [select_rows(source_query, relations) for source_query in parts]), relations
    )
    return Plan(tree.sql(dialect=DIALECT, copy=False), resolved.headers)


def tables_of(query: ReportQuery) -> frozenset[str]:
    """The tables that the report of a checked query reads: what to pin."""
    metrics = tuple(Metric[name] for name in query.metrics)
    looked_at = [Dimension[name] for name in query.dimensions] + [Filter[name].dimension for name, _ in query.filters]
    found = [cell for cell in (CELLS[dimension] for dimension in looked_at) if isinstance(cell, LookupCell)]
    objects = {table for cell in found for table in LOOKUPS[cell.lookup].tables}
    return frozenset({source.table for source in find_sources(metrics)} | objects)


def _group(resolved: ResolvedQuery, parts: list[exp.Select]) -> exp.Select:
    """One row a combination of cells, with what the metrics need of it."""
    kept: dict[str, exp.Expr] = {}
    for metric in resolved.metrics:
        kept |= numbers.aggregate_measures(metric.rule, _STACKED)
    late = late_lookups(resolved)
    cells = [exp.column(dimension.header, _STACKED) for dimension in resolved.dimensions if dimension not in late]
    tree = exp.select(*cells, *(alias(value, name) for name, value in kept.items()))
    tree = tree.from_(subquery(_stack(parts), _STACKED), copy=False)
    if cells:
        return tree.group_by(*(cell.copy() for cell in cells), copy=False)
    # Totals over no facts at all would be a row: none is invented.
    return tree.having(exp.GT(this=exp.Count(this=exp.Star()), expression=number(0)), copy=False)


def _stack(parts: list[exp.Select]) -> exp.Query:
    first, *others = parts
    tree: exp.Query = first
    for other in others:
        tree = exp.Union(this=tree, expression=other, distinct=False)
    return tree


def _format_rows(resolved: ResolvedQuery, grouped: exp.Select, relations: Relations) -> exp.Select:
    """The rows as their cells are written, sorted by the asked cells in the asked order, empty ones last."""
    cells = _build_cells(resolved)
    written = [alias(_format_cell(dimension, cell), dimension.header) for dimension, cell in cells.items()]
    tree = exp.select(*written, *(alias(numbers.metric_value(row, _GROUPED), row.header) for row in resolved.metrics))
    tree = tree.from_(subquery(grouped, _GROUPED), copy=False)
    tree = join_lookups(tree, late_lookups(resolved).values(), _GROUPED, relations)
    order = [exp.Ordered(this=cell.copy(), desc=False, nulls_first=False) for cell in cells.values()]
    return tree.order_by(*order, copy=False) if order else tree


def _build_cells(resolved: ResolvedQuery) -> dict[Dimension, exp.Expr]:
    """The asked cells: of the group, or looked up by what is of the group."""
    cells: dict[Dimension, exp.Expr] = {row: exp.column(row.header, _GROUPED) for row in resolved.dimensions}
    return cells | {dimension: lookup_column(found) for dimension, found in late_lookups(resolved).items()}


def _format_cell(dimension: Dimension, cell: exp.Expr) -> exp.Expr:
    """The cell as the file has it."""
    if dimension.type not in _TIME_FORMATS:
        return cell
    return call("STRFTIME", cell, exp.Literal.string(_TIME_FORMATS[dimension.type]))


def _select_nothing(resolved: ResolvedQuery) -> exp.Select:
    """No row, under the report's header."""
    columns = (alias(cast(exp.null(), "TEXT"), header) for header in resolved.headers)
    return exp.select(*columns).where(exp.false())

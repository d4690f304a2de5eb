"""The statements of a view: of its totals, lines and leaderboards, and how rows are read.

Each wraps the compiled SQL of a report, so that its numbers are cells of that report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from reelport.catalog import Dimension, Grain, Metric
from reelport.engine.aggregation import Aggregator
from reelport.engine.compile import compile_query, tables_of
from reelport.engine.duckdb.aggregator import DUCKDB
from reelport.engine.leaderboard import Ranking, compile_leaderboard, keep_cells
from reelport.engine.mapping import title_tables
from reelport.engine.plan import Plan
from reelport.engine.tenant import Tenant
from reelport.facts.log.snapshot import Snapshot
from reelport.query import ReportQuery
from reelport.server.explore.numbers import (
    Entry,
    Figure,
    Leaderboard,
    Lines,
    Number,
    Point,
    Totals,
    explain_missing_share,
)
from reelport.server.explore.view import Sort, View

ENTRIES, MORE_ENTRIES = 10, 100
"""Entries of a leaderboard, and of the one that is longer."""

Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a view: its plan, and the queries of the reports whose facts it reads."""

    plan: Plan
    queries: tuple[ReportQuery, ...]


def tables_of_view(view: View) -> frozenset[str]:
    """The tables to pin for a view."""
    titles = (table for dimension in view.dimensions for table in title_tables(dimension))
    return tables_of(view.report_query()) | frozenset(titles)


def compile_totals(view: View, tenant: Tenant, snapshot: Snapshot, aggregator: Aggregator = DUCKDB) -> Statement:
    """Compile the totals: a row of the view's days and one of the compared days."""
    return _stack(view, (), _queries(view, ()), tenant, snapshot, aggregator)


def compile_lines(view: View, tenant: Tenant, snapshot: Snapshot, aggregator: Aggregator = DUCKDB) -> Statement:
    """Compile the lines: a row for each time with facts, of the view's and the compared days."""
    queries = _queries(view, (view.time,))
    queries = queries if view.compares_lines else queries[:1]
    return _stack(view, (view.time,), queries, tenant, snapshot, aggregator)


def compile_board(
    view: View, dimension: Dimension, tenant: Tenant, snapshot: Snapshot, aggregator: Aggregator = DUCKDB
) -> Statement:
    """Compile the leaderboard of a dimension."""
    queries = _queries(view, (dimension,))
    rows = MORE_ENTRIES if view.longer is dimension else ENTRIES
    ranking = Ranking(view.ranked_by, rows, by_change=view.sort is Sort.CHANGE, lowest_first=view.reverse)
    plan = compile_leaderboard(queries[0], view.compared_days, ranking, tenant, snapshot, aggregator, view.kept)
    return Statement(plan, queries)


def _queries(view: View, dimensions: tuple[Dimension, ...]) -> tuple[ReportQuery, ...]:
    """The query of the view's days, and that of the compared days if there is a comparison."""
    compared = view.compared_days
    return (view.query(dimensions), *([view.query(dimensions, compared)] if compared else []))


def _stack(
    view: View,
    shown: tuple[Dimension, ...],
    queries: tuple[ReportQuery, ...],
    tenant: Tenant,
    snapshot: Snapshot,
    aggregator: Aggregator,
) -> Statement:
    """Stack the rows of reports, each behind the number of its query."""
    compiled = (compile_query(query, tenant, snapshot, aggregator, ordered=False).sql for query in queries)
    selects = (keep_cells(sql, view.kept, shown) for sql in compiled)
    sql = "\nUNION ALL\n".join(f"SELECT {side}, * FROM ({select})" for side, select in enumerate(selects))  # noqa: S608 - SQL that was compiled
    return Statement(Plan(sql, ()), queries)


def read_totals(view: View, rows: Rows) -> Totals:
    """Read the rows of `compile_totals`."""
    sides = {row[0]: row[1:] for row in rows}
    return Totals(tuple(_pair(view.metrics, sides.get(0), sides.get(1))))


def is_total_of_lines(view: View) -> bool:
    """Whether the lines add up to the totals, so that no statement is needed for these."""
    return all(metric.additive for metric in view.metrics) and (view.compares_lines or view.compared_days is None)


def add_up_lines(view: View, rows: Rows) -> Totals:
    """Add the rows of `compile_lines` up to the totals, where `is_total_of_lines` says so."""
    sides: dict[int, list[tuple[Number, ...]]] = {}
    for side, _, *values in rows:
        sides.setdefault(side, []).append(tuple(values))
    sums = {
        side: [sum(value or 0 for value in column) for column in zip(*found, strict=True)]
        for side, found in sides.items()
    }
    return Totals(tuple(_pair(view.metrics, sums.get(0), sums.get(1))))


def read_lines(view: View, rows: Rows) -> Lines:
    """Read the rows of `compile_lines`."""
    sides: dict[int, dict[date, tuple[Number, ...]]] = {0: {}, 1: {}}
    for side, time, *values in rows:
        sides[side][_read_time(time)] = tuple(values)
    back = timedelta(0) if view.compared_days is None else view.start - view.compared_days[0]
    points = (
        Point(day, tuple(_pair(view.metrics, sides[0].get(day), sides[1].get(day - back)))) for day in _list_times(view)
    )
    return Lines(tuple(points))


def read_leaderboard(view: View, dimension: Dimension, rows: Rows, totals: Totals | None) -> Leaderboard:
    """Read the rows of `compile_board`. Without the totals there are no shares and no rest."""
    reasons = {
        metric: reason for metric in view.metrics if (reason := explain_missing_share(metric, dimension)) is not None
    }
    wholes = tuple(
        None if totals is None or metric in reasons else figure.value
        for metric, figure in zip(
            view.metrics, totals.figures if totals else [Figure(None)] * len(view.metrics), strict=True
        )
    )
    entries = tuple(_read_entry(view, wholes, row) for row in rows)
    shown = [entry for entry in entries if entry.is_shown]
    count, compared = (rows[0][2], rows[0][3]) if rows else (0, 0)
    return Leaderboard(dimension, entries, count, compared, tuple(_rest(wholes, shown)), reasons)


def _read_entry(view: View, wholes: Sequence[Number], row: tuple[Any, ...]) -> Entry:
    cell, title, _, compared, is_shown, *values = row
    now, before = values[: len(view.metrics)], values[len(view.metrics) :]
    figures = _pair(view.metrics, now, before if compared else None)
    shares = tuple(_share(value, whole) for value, whole in zip(now, wholes, strict=True))
    return Entry(cell, title, tuple(figures), shares, is_shown)


def _pair(metrics: Iterable[Metric], now: Sequence[Number] | None, before: Sequence[Number] | None) -> Iterator[Figure]:
    """Pair the numbers of two rows. A row that is None isn't there, and gives no number."""
    for place, metric in enumerate(metrics):
        yield Figure(*(None if row is None else _fill(metric, row[place]) for row in (now, before)))


def _fill(metric: Metric, value: Number) -> Number:
    return 0 if value is None and metric.additive else value


def _share(value: Number, whole: Number) -> Decimal | None:
    return None if not whole or whole < 0 else Decimal(value or 0) / Decimal(whole)


def _rest(wholes: Sequence[Number], entries: Sequence[Entry]) -> Iterator[Number]:
    """What all entries that are not among these come to, per metric."""
    for place, whole in enumerate(wholes):
        yield None if whole is None else whole - sum(entry.figures[place].value or 0 for entry in entries)


def _read_time(cell: date | str) -> date:
    """Read the cell of a day, or of a month by its first day."""
    return cell if isinstance(cell, date) else date.fromisoformat(f"{cell}-01")


def _list_times(view: View) -> Iterator[date]:
    days = (view.start + timedelta(number) for number in range(view.days))
    if view.grain is Grain.MONTH:
        return iter(dict.fromkeys(day.replace(day=1) for day in days))
    return days

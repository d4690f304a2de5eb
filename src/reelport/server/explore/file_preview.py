"""What a finished report's file shows: first rows, columns with types and totals, a chart."""

from __future__ import annotations

import csv
import io
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from reelport.additivity import plan_cell
from reelport.catalog import Dimension, Distinct, Metric, Stock
from reelport.catalog.labels import capitalize, label_dimension, label_metric
from reelport.charts import Chart, ChartPlan, Group, Groups, NoChart, plan_report_chart
from reelport.charts.report_chart import Formula, list_places
from reelport.engine.plan import Plan
from reelport.query import ReportQuery
from reelport.server.explore.numbers import OverBudget
from reelport.storage.file_store import FileStore

_ENOUGH = 256 << 10
"""Bytes that are read of a file: hundreds of rows."""


def read_first_rows(store: FileStore, name: str, most: int) -> list[list[str]]:
    """Read at most `most` rows after the header. FileNotFoundError without the file.

    Fewer are read where rows are longer than anybody reads.
    """
    with closing(store.open(name)) as file:
        content = file.read(0, _ENOUGH)
        whole = len(content) == file.size
    text = content.decode("utf-8", "ignore")  # The end may cut a letter.
    rows: list[list[str]] = []
    with suppress(csv.Error):  # A cell is longer than the parser takes: the rows before it are shown.
        rows.extend(csv.reader(io.StringIO(text, newline="")))
    return rows[1 : most + 1] if whole else rows[1:-1][:most]


Rows = Sequence[tuple[Any, ...]]
Fetch = Callable[[Plan], Awaitable[Rows | OverBudget]]
"""Runs a plan within what a page may take."""


@dataclass(frozen=True, slots=True)
class PreviewColumn:
    """A column of a report: its name in the file, in words, and what its cells are.

    `look` is `text`, `time` or `number`.

    `total` is what all rows come to; None for a dimension, and where `reason` says why there is none.
    """

    header: str
    label: str
    kind: str
    look: str = "text"
    total: Decimal | None = None
    reason: str | None = None


async def draw_chart(file: Path, query: ReportQuery, last_complete: date | None, fetch: Fetch) -> Chart | NoChart:
    """Draw the chart that suits a report, of its file; or say why there is none.

    Times after the last complete day are marked as such whose numbers may have changed since.
    """
    plan = plan_report_chart(query)
    if isinstance(plan, NoChart):
        return plan
    groups = await _sum_file(file, plan, fetch)
    if isinstance(groups, OverBudget):
        return NoChart(f"There is no chart: {groups.sentence[:1].lower()}{groups.sentence[1:]}")
    return plan.draw(groups, last_complete, moving=True)


async def total_columns(file: Path, query: ReportQuery, fetch: Fetch) -> tuple[PreviewColumn, ...]:
    """Total the columns of a report, each where its rows add up."""
    from reelport.server.explore.file_statements import compile_totals  # noqa: PLC0415 - loads DuckDB

    dimensions = [Dimension[name] for name in query.dimensions]
    many = next((row for row in dimensions if row.many_valued), None)
    formulas: list[Formula] = [None if many else plan_cell(query, name) for name in query.metrics]
    rows = await fetch(compile_totals(file, query, formulas))
    return (*map(_make_column, dimensions), *_list_totals(query, many, formulas, rows))


async def _sum_file(file: Path, plan: ChartPlan, fetch: Fetch) -> Groups | OverBudget:
    """Sum a report's rows by the keys of its chart: of categories the largest alone."""
    from reelport.server.explore.file_statements import (  # noqa: PLC0415 - loads DuckDB
        compile_largest,
        compile_panels,
        compile_times,
    )

    if plan.category is None:
        rows = await fetch(compile_times(file, plan))
        return rows if isinstance(rows, OverBudget) else Groups.of_sums(rows, 1, plan.formula)
    largest = await fetch(compile_largest(file, plan))
    if isinstance(largest, OverBudget):
        return largest
    many = largest[0][-1] if largest else 0
    if plan.time is None or not largest:
        return Groups.of_sums([row[:-1] for row in largest], len(plan.keys), plan.formula, many)
    rows = await fetch(compile_panels(file, plan, [row[0] for row in largest]))
    return rows if isinstance(rows, OverBudget) else Groups.of_sums(rows, len(plan.keys), plan.formula, many)


def _list_totals(
    query: ReportQuery, many: Dimension | None, formulas: Sequence[Formula], rows: Rows | OverBudget
) -> Iterator[PreviewColumn]:
    sums = [] if isinstance(rows, OverBudget) else list(rows[0][1:])
    place = 0
    for name, formula in zip(query.metrics, formulas, strict=True):
        metric = Metric[name]
        column = PreviewColumn(metric.header, capitalize(label_metric(metric)), metric.unit.value, "number")
        width = len(list_places(formula))
        if isinstance(rows, OverBudget):
            yield replace(column, reason=rows.sentence)
        elif formula is None:
            yield replace(column, reason=_say_why(metric, many))
        else:
            yield replace(column, total=_total(formula, sums[place : place + width]))
        place += width


def _total(formula: Formula, sums: Sequence[Decimal | int | None]) -> Decimal | None:
    """Compute a metric's value over all rows, of the sums that its formula needs."""
    several = 2  # That of one row would be its own number, which sums give too.
    return Group(several, None, tuple(Decimal(each or 0) for each in sums)).value(formula)


def _say_why(metric: Metric, many: Dimension | None) -> str:
    """Say why a metric's rows have no total."""
    match metric.rule:
        case Distinct():
            return "One viewer may be counted in several rows."
        case Stock():
            return "What there is on a day doesn't add up over days."
        case _ if many is not None:
            return f"One fact may stand in several rows, one for each {label_dimension(many)}."
        case _:
            return "A rate doesn't add up, and the report lacks the numbers that it is made of."


def _make_column(dimension: Dimension) -> PreviewColumn:
    """Make the column of a dimension: a text, or a time of its grain."""
    label, grain = capitalize(label_dimension(dimension)), dimension.grain
    return PreviewColumn(dimension.header, label, *(("text",) if grain is None else (grain.name.lower(), "time")))

"""What a finished report's file shows: first rows, columns with types and totals, a chart."""

from __future__ import annotations

import csv
import io
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from reelport.additivity import Added, Rate, plan_group
from reelport.catalog import Dimension, Metric
from reelport.catalog.labels import capitalize, label_dimension, label_metric
from reelport.charts.chart_types import MOST_LINES, Chart
from reelport.charts.report_chart import (
    MOST_BARS,
    ChartPlan,
    Group,
    NoChart,
    list_places,
    plan_report_chart,
    read_groups,
)
from reelport.charts.time_axis import GRAIN_WORDS
from reelport.engine.mapping import find_title_dimension
from reelport.engine.plan import Plan
from reelport.language import _
from reelport.query import ReportQuery
from reelport.server.explore.numbers import OverBudget
from reelport.sql_quoting import quote_name, quote_text
from reelport.storage.file_store import FileStore

_ENOUGH = 256 << 10  # bytes that are read of a file: hundreds of rows


def read_first_rows(store: FileStore, name: str, most: int) -> list[list[str]]:
    """Read the first rows, fewer if they are huge. FileNotFoundError without the file."""
    with closing(store.open(name)) as file:
        content = file.read(0, _ENOUGH)
        whole = len(content) == file.size
    text = content.decode("utf-8", "ignore")  # The end may cut a letter.
    rows: list[list[str]] = []
    with suppress(csv.Error):  # A cell is longer than the parser takes: the rows before it are shown.
        rows.extend(csv.reader(io.StringIO(text, newline="")))
    return rows[1 : most + 1] if whole else rows[1:-1][:most]


Rows = Sequence[tuple[Any, ...]]
Fetch = Callable[[Plan], Awaitable[Rows | OverBudget]]  # runs a plan within what a page may take


@dataclass(frozen=True, slots=True)
class PreviewColumn:
    """A column of a report; `look` is `text`, `time` or `number`.

    `total` is what all rows come to; None for a dimension, and where `reason` says why there is none.
    """

    header: str
    label: str
    kind: str
    look: str = "text"
    total: Decimal | None = None
    reason: str | None = None


async def draw_chart(file: Path, query: ReportQuery, last_complete: date | None, fetch: Fetch) -> Chart | NoChart:
    """Draw the chart that suits a report, with times that may still change, or say why not."""
    plan = plan_report_chart(query)
    if isinstance(plan, NoChart):
        return plan
    rows = await fetch(_compile_groups(file, plan))
    if isinstance(rows, OverBudget):
        return NoChart(_("There is no chart. %(why)s", why=rows.sentence))
    width, many = len(plan.keys), rows[0][-1] if rows else None
    titles = {row[width - 1] or "": row[-2] for row in rows if row[-2]}
    groups = read_groups([row[:-2] for row in rows], width)
    return replace(plan, titles=titles).draw(groups, last_complete, moving=True, many=many)


async def total_columns(file: Path, query: ReportQuery, fetch: Fetch) -> tuple[PreviewColumn, ...]:
    """Total the columns of a report, each where its rows add up."""
    sums = ", ".join(["count(*)", *(f"sum({_number(name)})" for name in query.metrics)])
    rows = await fetch(Plan(f"SELECT {sums} FROM {_read(file, query)}", ()))  # noqa: S608 - names are quoted
    columns = [_make_column(Dimension[name]) for name in query.dimensions]
    return (*columns, *(_total_column(query, name, rows) for name in query.metrics))


def _total_column(query: ReportQuery, name: str, rows: Rows | OverBudget) -> PreviewColumn:
    metric = Metric[name]
    column = PreviewColumn(metric.header, capitalize(label_metric(metric)), _(metric.unit.value), "number")
    formula = plan_group(query, name, ())
    if isinstance(rows, OverBudget):
        return replace(column, reason=rows.sentence)
    if isinstance(formula, str):
        return replace(column, reason=formula)
    # Of several rows: the value of one would be its own number, which sums give too.
    needed = tuple(Decimal(rows[0][1 + place] or 0) for place in list_places(formula))
    return replace(column, total=Group(2, None, needed).value(formula))


def _make_column(dimension: Dimension) -> PreviewColumn:
    label, grain = capitalize(label_dimension(dimension)), dimension.grain
    return PreviewColumn(
        dimension.header, label, *((_("text"), "text") if grain is None else (_(GRAIN_WORDS[grain]), "time"))
    )


def _compile_groups(file: Path, plan: ChartPlan) -> Plan:
    """Compile the sums of all times, or of the largest categories, their titles and count."""
    if plan.category is None:
        return Plan(_compile_sums(file, plan, plan.keys, "NULL, NULL"), ())
    titled = find_title_dimension(Dimension[plan.category])
    title = f"max({quote_name(titled.name.lower())})" if titled and titled.name in plan.query.dimensions else "NULL"
    key, value = quote_name(plan.keys[-1]), _compile_order(plan)
    if plan.time is None:
        names, most = ", ".join(f"#{place}" for place in range(1, 5 + len(plan.sums))), MOST_BARS
    else:  # lines without a number are chosen as with 0
        names, most, value = key, MOST_LINES, f"coalesce({value}, 0)"
    sums = _compile_sums(file, plan, plan.keys[-1:], f"{title}, {value} AS value")
    order = f"ORDER BY value DESC NULLS LAST, {key} LIMIT {most:d}"
    largest = f"SELECT {names}, count(*) OVER () FROM ({sums}) {order}"  # noqa: S608 - names are quoted
    if plan.time is None:
        return Plan(largest, ())
    of_largest = f"JOIN ({largest}) AS largest(category, many) ON coalesce({key}, '') = largest.category"
    return Plan(_compile_sums(file, plan, plan.keys, f"{title}, any_value(largest.many)", of_largest), ())


def _compile_sums(file: Path, plan: ChartPlan, keys: Sequence[str], more: str, joined: str = "") -> str:
    cells = [f"coalesce({quote_name(key)}, '') AS {quote_name(key)}" for key in keys]
    sums = [f"sum({_number(name)})" for name in plan.sums]
    shown = [*cells, "count(*)", f"any_value({_number(plan.metric)})", *sums, more]
    places = ", ".join(str(place + 1) for place in range(len(keys)))
    rows = f"{_read(file, plan.query)} {joined} GROUP BY {places}"
    return f"SELECT {', '.join(shown)} FROM {rows}"  # noqa: S608 - names and texts are quoted


def _compile_order(plan: ChartPlan) -> str:
    sums = [f"sum({_number(name)})" for name in plan.sums]
    match plan.formula:
        case None:
            return f"max({_number(plan.metric)})"
        case Added():
            return sums[0]
        case Rate(scale=scale, digits=digits):
            ratio = f"round({scale}::DOUBLE * {sums[0]} / nullif({' + '.join(sums[1:])}, 0), {digits})"
            return f"CASE WHEN count(*) = 1 THEN any_value({_number(plan.metric)}) ELSE {ratio} END"


def _read(file: Path, query: ReportQuery) -> str:
    from reelport.facts.data_files.duckdb_session import escape_glob  # noqa: PLC0415 - loads DuckDB

    names = [name.lower() for name in (*query.dimensions, *query.metrics)]
    columns = ", ".join(f"{quote_text(name)}: 'VARCHAR'" for name in names)
    options = "auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', nullstr = ''"
    # A folder's name, as `views=12`, would stand in place of the file's column.
    path = quote_text(escape_glob(str(file.absolute())))
    return f"read_csv({path}, {options}, hive_partitioning = false, columns = {{{columns}}})"


def _number(metric: str) -> str:
    digits = Metric[metric.upper()].digits
    return f"CAST({quote_name(metric.lower())} AS DECIMAL(38, {digits:d}))"

"""What the page of a view shows, as values for its template."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date

from markupsafe import Markup

from reelport.catalog import Metric
from reelport.catalog.labels import capitalize, label_dimension, label_filter, label_metric
from reelport.charts import embed_chart
from reelport.charts.time_axis import format_time
from reelport.facts.log.freshness import Freshness
from reelport.server.explore.numbers import Figure, Lines, Numbers, OverBudget, Totals
from reelport.server.explore.options import Options
from reelport.server.explore.view import Comparison, View
from reelport.server.explore.view_parameters import Defaults, fact_tables
from reelport.server.studio.chart_files import list_kinds
from reelport.server.studio.number_text import write_change, write_full, write_number
from reelport.server.studio.pages import format_day, format_moment
from reelport.server.studio.view_boards import EMPTY, Board, Cell, make_board
from reelport.server.studio.view_charts import COMPARISONS, make_line_chart
from reelport.wording import format_days, format_list


@dataclass(frozen=True, slots=True)
class Total:
    """The total of a metric: its name, unit, number, and how it changed.

    `unit` is empty where the name says it, `change` None without a comparison.
    """

    label: str
    unit: str
    sentence: str
    number: Cell
    change: str | None


@dataclass(frozen=True, slots=True)
class LinePicture:
    """The chart of a metric over time, and the kinds of files that it can be had as."""

    metric: str
    heading: str
    picture: Markup
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Removable:
    """A filter of the view in words, and the view without it."""

    label: str
    value: str
    view: View


@dataclass(frozen=True, slots=True)
class TimeRow:
    """A row of the table of the lines: a time, its numbers, whether they may still move."""

    time: str
    cells: tuple[Cell, ...]
    is_moving: bool


@dataclass(frozen=True, slots=True)
class ViewPage:
    """A view and its numbers, in words and pictures."""

    view: View
    sentence: str
    metrics: str
    dimensions: str
    compared: str | None
    totals: tuple[Total, ...]
    charts: tuple[LinePicture, ...]
    columns: tuple[str, ...]
    times: tuple[TimeRow, ...]
    boards: tuple[Board, ...]
    filters: tuple[Removable, ...]
    freshness: str
    over_budget: OverBudget | None


def make_page(
    view: View, numbers: Numbers, defaults: Defaults, freshness: Mapping[str, Freshness], options: Options
) -> ViewPage:
    """Make the page of a view and its numbers."""
    lines = numbers.lines if isinstance(numbers.lines, Lines) else Lines(())
    return ViewPage(
        view,
        view.sentence(),
        format_list([label_metric(metric) for metric in view.metrics]),
        format_list([label_dimension(dimension) for dimension in view.dimensions]) or "none",
        describe_comparison(view),
        tuple(_make_totals(view, numbers.totals)),
        tuple(_draw_charts(view, lines, defaults)),
        tuple(_name_columns(view)),
        tuple(_make_times(view, lines, defaults.complete_day(view.metrics))),
        tuple(make_board(view, each, numbers.leaderboards[each], options) for each in view.dimensions),
        tuple(_list_filters(view)),
        describe_freshness(view.metrics, freshness),
        numbers.over_budget,
    )


def describe_comparison(view: View) -> str | None:
    """Say which days the view is compared with; None without a comparison."""
    return format_days(*view.compared_days) if view.compared_days else None


def describe_freshness(metrics: Iterable[Metric], freshness: Mapping[str, Freshness]) -> str:
    """Say up to which day each table of these metrics is complete, and when it was loaded last."""
    said = [_describe_table(freshness[table]) for table in fact_tables(metrics) if table in freshness]
    return f"{capitalize(format_list(said))}." if said else "These numbers are of objects, which have no last day."


def _describe_table(fresh: Freshness) -> str:
    if fresh.loaded is None:
        return f"{fresh.table}: nothing was loaded yet"
    loaded = f"last loaded {format_moment(fresh.loaded)}"
    if fresh.complete is None:
        return f"{fresh.table} have no complete day yet ({loaded})"
    return f"{fresh.table} are complete to {format_day(fresh.complete)} ({loaded})"


def _make_totals(view: View, totals: Totals | OverBudget) -> Iterator[Total]:
    if isinstance(totals, OverBudget):
        return
    for metric, figure in zip(view.metrics, totals.figures, strict=True):
        change = None if view.comparison is Comparison.NONE else write_change(metric, figure)
        label, unit = label_metric(metric), metric.unit.value
        said = "" if unit in label else unit
        yield Total(capitalize(label), said, metric.sentence, _make_cell(metric, figure), change)


def _draw_charts(view: View, lines: Lines, defaults: Defaults) -> Iterator[LinePicture]:
    if lines.points:
        for place, metric in enumerate(view.metrics):
            chart = make_line_chart(view, lines, place, defaults.complete_day([metric]))
            picture = Markup(embed_chart(chart))  # noqa: S704 - SVG whose texts are escaped by whoever draws it
            yield LinePicture(metric.name, chart.heading, picture, list_kinds())


def _name_columns(view: View) -> Iterator[str]:
    for metric in view.metrics:
        yield capitalize(label_metric(metric))
        if view.compares_lines:
            yield COMPARISONS[view.comparison]


def _make_times(view: View, lines: Lines, complete: date | None) -> Iterator[TimeRow]:
    for point in lines.points:
        cells: list[Cell] = []
        for metric, figure in zip(view.metrics, point.figures, strict=True):
            cells.append(_make_cell(metric, figure))
            if view.compares_lines:
                cells.append(Cell(write_number(metric, figure.before), write_full(figure.before)))
        yield TimeRow(format_time(point.day, view.grain), tuple(cells), complete is None or point.day > complete)


def _make_cell(metric: Metric, figure: Figure) -> Cell:
    return Cell(write_number(metric, figure.value), write_full(figure.value))


def _list_filters(view: View) -> Iterator[Removable]:
    for filter_, value in view.filters:
        rest = tuple(pair for pair in view.filters if pair[0] is not filter_)
        yield Removable(capitalize(label_filter(filter_)), value or EMPTY, replace(view, filters=rest))

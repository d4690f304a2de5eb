"""Charts of a view of the explorer: a line over time for each of its metrics."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from reelport.catalog.labels import capitalize, label_metric
from reelport.charts import LineChart, Series, count_settled
from reelport.charts.time_axis import GRAIN_WORDS, format_time, list_partial
from reelport.server.explore.numbers import Lines
from reelport.server.explore.view import Comparison, View
from reelport.wording import format_list

_COMPARED = {
    Comparison.NONE: "",
    Comparison.PREVIOUS: "Days before",
    Comparison.WEEKDAYS: "Same weekdays before",
}


def draw_lines(view: View, lines: Lines, last_complete: date | None) -> tuple[LineChart, ...]:
    """Return a chart of each of the view's metrics over time, in its order.

    Times after the last complete day are marked as such whose numbers may still change.
    """
    times = tuple(format_time(point.day, view.grain) for point in lines.points)
    settled = count_settled(times, view.grain, last_complete)
    chart = LineChart("", times, (), grain=view.grain, settled=settled, notes=note_partial(times, view))
    return tuple(_draw_line(chart, view, lines, place) for place in range(len(view.metrics)))


def note_partial(times: tuple[str, ...], view: View) -> tuple[str, ...]:
    """Say of which months the view has only a part."""
    partial = list_partial(times, view.grain, view.start, view.end)
    return (f"Of {format_list(partial)} only a part is shown.",) if partial else ()


def _draw_line(chart: LineChart, view: View, lines: Lines, place: int) -> LineChart:
    """Return the chart of one of the view's metrics, from one that has its times."""
    metric = view.metrics[place]
    figures = [point.figures[place] for point in lines.points]
    name = capitalize(label_metric(metric))
    heading = f"{name} by {GRAIN_WORDS[view.grain]}"
    line = Series(name, tuple(figure.value for figure in figures))
    drawn = replace(chart, heading=heading, series=(line,), unit=metric.unit)
    before = tuple(figure.before for figure in figures)
    if all(value is None for value in before):
        return drawn
    return replace(drawn, comparison=Series(_COMPARED[view.comparison], before), comparison_times=_list_compared(view))


def _list_compared(view: View) -> tuple[str, ...]:
    """List the compared days, as many as the view has."""
    start, _ = view.compared_days or (view.start, view.end)
    return tuple(str(start + timedelta(number)) for number in range(view.days))

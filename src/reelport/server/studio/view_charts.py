"""Charts of a view: a line for each metric over time, with its compared days."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from reelport.catalog import Metric
from reelport.charts import LineChart, Series, count_settled
from reelport.charts.time_axis import GRAIN_WORDS, format_time, list_partial
from reelport.server.explore.numbers import Lines, Number
from reelport.server.explore.view import Comparison, View
from reelport.server.studio.view_units import name_amount
from reelport.wording import format_list

DaySpan = tuple[date, date] | None
"""The first and the last complete day of a metric's tables; None where there is none."""
COMPARISONS = {Comparison.PREVIOUS: "Days before", Comparison.WEEKDAYS: "Same weekdays before"}
"""What the compared days are called."""


def make_line_chart(view: View, lines: Lines, place: int, complete: DaySpan) -> LineChart:
    """Make the chart of the metric at this place of the view.

    `complete` are the complete days of the metric's tables: what comes later may still change. Within them a time
    without facts is 0 where the metric adds up; elsewhere it is a gap.
    """
    metric = view.metrics[place]
    days = [point.day for point in lines.points]
    times = tuple(format_time(day, view.grain) for day in days)
    name = name_amount(metric)
    values = [point.figures[place].value for point in lines.points]
    chart = LineChart(
        f"{name} by {GRAIN_WORDS[view.grain]}",
        times,
        (Series(name, _fill(metric, days, values, complete)),),
        metric.unit,
        view.grain,
        count_settled(times, view.grain, complete and complete[1], view.end),
        note_partial(times, view),
    )
    return _compare(chart, view, lines, place, complete)


def note_partial(times: tuple[str, ...], view: View) -> tuple[str, ...]:
    """Say of which months the view has only a part."""
    partial = list_partial(times, view.grain, view.start, view.end)
    return (f"Of {format_list(partial)} only a part is shown.",) if partial else ()


def _compare(chart: LineChart, view: View, lines: Lines, place: int, complete: DaySpan) -> LineChart:
    """Add the line of the compared days, where the lines are compared."""
    if not view.compares_lines or view.compared_days is None:
        return chart
    back = view.start - view.compared_days[0]
    days = [point.day - back for point in lines.points]
    befores = [point.figures[place].before for point in lines.points]
    line = Series(COMPARISONS[view.comparison], _fill(view.metrics[place], days, befores, complete))
    return replace(chart, comparison=line, comparison_times=tuple(format_time(day, view.grain) for day in days))


def _fill(metric: Metric, days: list[date], values: list[Number], complete: DaySpan) -> tuple[Number, ...]:
    return tuple(
        0 if value is None and metric.additive and complete and complete[0] <= day <= complete[1] else value
        for day, value in zip(days, values, strict=True)
    )

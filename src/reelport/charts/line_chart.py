"""Draws lines over time in one plot, in a given width."""

from __future__ import annotations

from collections.abc import Iterator

from reelport.charts import legend, svg
from reelport.charts.amounts import Scale, choose_scale, list_numbers
from reelport.charts.chart_types import LineChart, Series
from reelport.charts.legend import Name
from reelport.charts.picture import Picture, draw_sentence
from reelport.charts.plot import (
    GAP,
    Plot,
    choose_ticks,
    draw_amounts,
    draw_line,
    draw_moving,
    draw_times,
    draw_tooltips,
)
from reelport.charts.sentences import NO_NUMBER, NO_ROWS, describe_lines, describe_moment
from reelport.charts.text_width import measure_text

_KINDS = 6
"""How many looks of lines there are, each a colour and a dash of its own."""

_NARROW = 560
_HEIGHTS = (190, 240)
_TICKS = (4, 5)
"""Of a narrow and of a wide chart: the plot's height, and ticks of amounts at most."""

_HEAD = 24
"""Room above a plot for its unit: also where there is none, so that charts side by side are alike."""

_AXIS = 26
"""Room below a plot for its times."""


def draw_line_chart(chart: LineChart, width: float, tooltips: int = 0) -> Picture:
    """Draw a chart in a width; where nothing has a number, a sentence says so.

    With more times than `tooltips` none of them has one.
    """
    values = [value for each in _list_series(chart) for value in each.values]
    if all(value is None for value in values):
        return draw_sentence(chart.heading, NO_NUMBER if chart.times else NO_ROWS, width)
    wide = width >= _NARROW
    scale = choose_scale(values, chart.unit, _TICKS[wide])
    plot, elements = _lay_out(chart, scale, width, _HEIGHTS[wide])
    elements += draw_moving(plot, chart.first_moving)
    elements += draw_amounts(plot)
    elements += draw_times(plot, choose_ticks(plot, chart.times, chart.grain), width)
    elements += _draw_lines(chart, plot)
    if len(chart.times) <= tooltips:
        elements += draw_tooltips(plot, [describe_moment(chart, place) for place in range(len(chart.times))])
    return Picture(width, plot.bottom + _AXIS, tuple(elements), chart.heading, describe_lines(chart))


def _lay_out(chart: LineChart, scale: Scale, width: float, height: float) -> tuple[Plot, list[str]]:
    """Place the plot in a chart; draw the names of the lines and of the unit around it."""
    names = _list_names(chart)
    beside = bool(names) and legend.is_beside(names, width, height)
    above = legend.arrange_above(names, width) if names and not beside else []
    unit = scale.unit_beside(chart.heading)
    top = (above[-1][1] + legend.LINE + GAP if above else 0) + _HEAD
    left = max(measure_text(scale.format(tick)) for tick in scale.ticks) + GAP
    right = legend.measure_beside(names, width) if beside else 8
    plot = Plot(left, top, width - left - right, height, len(chart.times), scale)
    elements = list(legend.draw_above(above))
    if unit:
        elements.append(svg.text(unit, 0, top - 12, class_="chart-tick"))
    if beside:
        elements += legend.draw_beside(names, plot, right)
    return plot, elements


def _draw_lines(chart: LineChart, plot: Plot) -> Iterator[str]:
    if chart.comparison is not None:
        yield from draw_line(plot, chart.comparison.values, "chart-line chart-earlier", plot.times)
    for place, each in reversed(list(enumerate(chart.series))):
        yield from draw_line(plot, each.values, _kind_of(place), chart.first_moving)


def _list_series(chart: LineChart) -> list[Series]:
    return [*chart.series, *([chart.comparison] if chart.comparison else [])]


def _list_names(chart: LineChart) -> list[Name]:
    """List the names of the lines; none where a line is alone, for the heading names it."""
    names = [_name(each, _kind_of(place)) for place, each in enumerate(chart.series)]
    if chart.comparison is not None:
        names.append(_name(chart.comparison, "chart-line chart-earlier"))
    return names if len(names) > 1 else []


def _name(series: Series, kind: str) -> Name:
    numbers = list_numbers(series.values)
    return Name(series.name, kind, (numbers[-1][0], float(numbers[-1][1])) if numbers else None)


def _kind_of(place: int) -> str:
    """Return the classes of a chart's line by its place."""
    return f"chart-line chart-s{place % _KINDS}"

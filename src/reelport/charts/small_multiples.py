"""Draws one small line chart for each category, and lines as small as a word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reelport.charts import svg
from reelport.charts.amounts import Scale, choose_scale, format_full, list_numbers
from reelport.charts.chart_types import Number, Series, SmallMultiples
from reelport.charts.picture import Picture, draw_sentence
from reelport.charts.plot import GAP, Plot, draw_amounts, draw_line, draw_moving, draw_times
from reelport.charts.sentences import NO_NUMBER, NO_ROWS, describe_lines
from reelport.charts.text_width import cut_to_room, measure_text
from reelport.charts.time_axis import describe_time, make_ticks

_PANEL = 150
"""The width that a panel has at least, where the chart has room for two."""

_HEIGHT = 84
_NAME, _AXIS, _BETWEEN = 26, 28, 20


def draw_small_multiples(chart: SmallMultiples, width: float, *, tooltips: bool = True) -> Picture:
    """Draw a chart in a width, with as many panels side by side as have room."""
    values = [value for each in chart.series for value in each.values]
    if all(value is None for value in values):
        return draw_sentence(chart.heading, NO_NUMBER if chart.times else NO_ROWS, width)
    scale = choose_scale(values, chart.unit, 3)
    unit = scale.unit_beside(chart.heading)
    columns = max(1, min(int((width + _BETWEEN) // (_PANEL + _BETWEEN)), len(chart.series)))
    across = (width + _BETWEEN) / columns
    top, down = 18.0 if unit else 0.0, _NAME + _HEIGHT + _AXIS
    elements = [svg.text(unit, 0, 12, class_="chart-tick")] if unit else []
    for place, series in enumerate(chart.series):
        row, column = divmod(place, columns)
        panel = _draw_panel(chart, series, scale, across - _BETWEEN, tooltips=tooltips)
        at = f"translate({svg.format_place(column * across)} {svg.format_place(top + row * down)})"
        elements.append(svg.element("g", *panel, transform=at))
    height = top + down * -(-len(chart.series) // columns)
    return Picture(width, height, tuple(elements), chart.heading, describe_lines(chart))


def draw_sparkline(values: Sequence[Number | None], first_moving: int | None = None, width: float = 120) -> str:
    """Draw a line as high as a line of text, from 0 up, without axes.

    It says nothing to a screen reader: its numbers stand beside it.
    """
    scale = choose_scale(values, None, 2)
    plot = Plot(4, 4, width - 8, 16, len(values), scale)
    line = draw_line(plot, values, "chart-line chart-s0", len(values) if first_moving is None else first_moving)
    box = {"view_box": f"0 0 {svg.format_place(width)} 24", "aria_hidden": "true", "focusable": "false"}
    return svg.element("svg", *line, class_="chart-sparkline", **box)


def _draw_panel(chart: SmallMultiples, series: Series, scale: Scale, width: float, *, tooltips: bool) -> Iterator[str]:
    left = max(measure_text(scale.format(tick)) for tick in scale.ticks) + GAP
    plot = Plot(left, _NAME, width - left - GAP, _HEIGHT, len(chart.times), scale)
    if tooltips:
        yield svg.tooltip(_describe_panel(series, chart))
    yield svg.text(cut_to_room(series.name, width), 0, 12, class_="chart-name")
    yield from draw_moving(plot, chart.first_moving)
    yield from draw_amounts(plot)
    yield from draw_times(plot, _pick_ends(make_ticks(chart.times, chart.grain, 3)), width)
    yield from draw_line(plot, series.values, "chart-line chart-s0", chart.first_moving)


def _pick_ends(ticks: dict[int, str]) -> dict[int, str]:
    """Return the first and the last of some ticks."""
    places = list(ticks)
    return {place: ticks[place] for place in dict.fromkeys([places[0], places[-1]])}


def _describe_panel(series: Series, chart: SmallMultiples) -> str:
    numbers = list_numbers(series.values)
    if not numbers:
        return f"{series.name}: no numbers"
    place, value = max(numbers, key=lambda each: each[1])
    return f"{series.name}: highest {format_full(value, chart.unit)} on {describe_time(chart.times[place])}"

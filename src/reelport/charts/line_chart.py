"""Draws lines over time: in one plot, a plot for each category, or as small as a word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reelport.charts import svg
from reelport.charts.amounts import Scale, choose_scale, format_full, list_numbers
from reelport.charts.chart_labels import cut_to_room, measure_text
from reelport.charts.chart_types import LineChart, Number, Series, SmallMultiples
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
from reelport.charts.svg import Picture, draw_sentence
from reelport.charts.time_axis import describe_time, make_ticks

_KINDS = 6  # how many looks of lines there are, each a colour and a dash of its own
_NARROW = 560
_HEIGHTS = (190, 240)
_TICKS = (4, 5)  # of a narrow and of a wide chart: the plot's height, and ticks of amounts at most
_HEAD = 24  # room above a plot for its unit: also where there is none, so that charts side by side are alike
_AXIS = 26  # room below a plot for its times
_NAME_HEIGHT = 16  # the height of a name
_SAMPLE = 16  # the width of the piece of line beside a name
_SHARE = 0.28  # the share of a chart's width that names at the ends of its lines may take
_LEAST_PANEL = 150  # the width that a panel has at least, where the chart has room for two
_PANEL_HEIGHT = 84
# Room above a panel's plot for its name, below it for its times, and between panels.
_PANEL_HEAD, _PANEL_AXIS, _BETWEEN = 26, 28, 20


@dataclass(frozen=True, slots=True)
class _Name:
    """A line's name, its classes, the place and number that it ends with, if it has any."""

    words: str
    kind: str
    end: tuple[int, float] | None


def draw_line_chart(chart: LineChart, width: float, tooltips: int = 0) -> Picture:
    """Draw a chart in a width; where nothing has a number, a sentence says so.

    With more times than `tooltips` none of them has one.
    """
    compared = [chart.comparison] if chart.comparison else []
    values = [value for each in (*chart.series, *compared) for value in each.values]
    if all(value is None for value in values):
        return draw_sentence(chart.heading, NO_NUMBER if chart.times else NO_ROWS, width)
    wide = width >= _NARROW
    scale = choose_scale(values, chart.unit, _TICKS[wide])
    plot, elements = _lay_out(chart, scale, width, _HEIGHTS[wide])
    elements += draw_moving(plot, chart.first_moving)
    elements += draw_amounts(plot)
    elements += draw_times(plot, choose_ticks(plot, chart.times, chart.grain), width)
    if chart.comparison is not None:
        elements += draw_line(plot, chart.comparison.values, "chart-line chart-earlier", plot.times)
    for place, each in reversed(list(enumerate(chart.series))):
        elements += draw_line(plot, each.values, _kind_of(place), chart.first_moving)
    if len(chart.times) <= tooltips:
        elements += draw_tooltips(plot, [describe_moment(chart, place) for place in range(len(chart.times))])
    return Picture(width, plot.bottom + _AXIS, tuple(elements), chart.heading, describe_lines(chart))


def _lay_out(chart: LineChart, scale: Scale, width: float, height: float) -> tuple[Plot, list[str]]:
    names = _list_names(chart)
    # Names go at the ends of lines if the chart is wide, and high enough for all.
    beside = bool(names) and width >= _NARROW and len(names) * _NAME_HEIGHT <= height
    above = _arrange_above(names, width) if names and not beside else []
    unit = scale.unit_beside(chart.heading)
    top = (above[-1][1] + _NAME_HEIGHT + GAP if above else 0) + _HEAD
    left = max(measure_text(scale.format(tick)) for tick in scale.ticks) + GAP
    right = 8.0
    if beside:
        right = min(max(measure_text(name.words) for name in names), width * _SHARE) + _SAMPLE + 2 * GAP
    plot = Plot(left, top, width - left - right, height, len(chart.times), scale)
    elements = list(_draw_above(above))
    if unit:
        elements.append(svg.text(unit, 0, top - 12, class_="chart-tick"))
    if beside:
        elements += _draw_beside(names, plot, right)
    return plot, elements


def _list_names(chart: LineChart) -> list[_Name]:
    names = [_name(each, _kind_of(place)) for place, each in enumerate(chart.series)]
    if chart.comparison is not None:
        names.append(_name(chart.comparison, "chart-line chart-earlier"))
    return names if len(names) > 1 else []


def _name(series: Series, kind: str) -> _Name:
    numbers = list_numbers(series.values)
    return _Name(series.name, kind, (numbers[-1][0], float(numbers[-1][1])) if numbers else None)


def _kind_of(place: int) -> str:
    return f"chart-line chart-s{place % _KINDS}"


def draw_small_multiples(chart: SmallMultiples, width: float, *, tooltips: bool = True) -> Picture:
    """Draw a chart in a width, with as many panels side by side as have room."""
    values = [value for each in chart.series for value in each.values]
    if all(value is None for value in values):
        return draw_sentence(chart.heading, NO_NUMBER if chart.times else NO_ROWS, width)
    scale = choose_scale(values, chart.unit, 3)
    unit = scale.unit_beside(chart.heading)
    columns = max(1, min(int((width + _BETWEEN) // (_LEAST_PANEL + _BETWEEN)), len(chart.series)))
    across = (width + _BETWEEN) / columns
    top, down = 18.0 if unit else 0.0, _PANEL_HEAD + _PANEL_HEIGHT + _PANEL_AXIS
    elements = [svg.text(unit, 0, 12, class_="chart-tick")] if unit else []
    for place, series in enumerate(chart.series):
        row, column = divmod(place, columns)
        panel = _draw_panel(chart, series, scale, across - _BETWEEN, tooltips=tooltips)
        at = f"translate({svg.format_place(column * across)} {svg.format_place(top + row * down)})"
        elements.append(svg.element("g", *panel, transform=at))
    height = top + down * -(-len(chart.series) // columns)
    return Picture(width, height, tuple(elements), chart.heading, describe_lines(chart))


def draw_sparkline(values: Sequence[Number | None], first_moving: int | None = None, width: float = 120) -> str:
    """Draw a line as high as a line of text, from 0 up, without axes; for eyes alone."""
    scale = choose_scale(values, None, 2)
    plot = Plot(4, 4, width - 8, 16, len(values), scale)
    line = draw_line(plot, values, "chart-line chart-s0", len(values) if first_moving is None else first_moving)
    box = {"view_box": f"0 0 {svg.format_place(width)} 24", "aria_hidden": "true", "focusable": "false"}
    return svg.element("svg", *line, class_="chart-sparkline", **box)


def _draw_panel(chart: SmallMultiples, series: Series, scale: Scale, width: float, *, tooltips: bool) -> Iterator[str]:
    left = max(measure_text(scale.format(tick)) for tick in scale.ticks) + GAP
    plot = Plot(left, _PANEL_HEAD, width - left - GAP, _PANEL_HEIGHT, len(chart.times), scale)
    if tooltips:
        yield svg.tooltip(_describe_panel(series, chart))
    yield svg.text(cut_to_room(series.name, width), 0, 12, class_="chart-name")
    yield from draw_moving(plot, chart.first_moving)
    yield from draw_amounts(plot)
    ticks = make_ticks(chart.times, chart.grain, 3)
    ends = dict.fromkeys((min(ticks), max(ticks)))
    yield from draw_times(plot, {place: ticks[place] for place in ends}, width)
    yield from draw_line(plot, series.values, "chart-line chart-s0", chart.first_moving)


def _describe_panel(series: Series, chart: SmallMultiples) -> str:
    numbers = list_numbers(series.values)
    if not numbers:
        return f"{series.name}: no numbers"
    place, value = max(numbers, key=lambda each: each[1])
    return f"{series.name}: highest {format_full(value, chart.unit)} on {describe_time(chart.times[place])}"


def _draw_beside(names: Sequence[_Name], plot: Plot, room: float) -> Iterator[str]:
    """Draw each name at its line's end, moved up or down where it would lie over another."""
    wanted = [plot.y(name.end[1]) if name.end else plot.bottom for name in names]
    placed = _spread_apart(wanted, plot.top, plot.bottom, _NAME_HEIGHT)
    for name, y in zip(names, placed, strict=True):
        x = plot.right + GAP
        yield _draw_sample(name.kind, x, y)
        yield svg.text(cut_to_room(name.words, room - _SAMPLE - 2 * GAP), x + _SAMPLE + GAP, y + 4, class_="chart-name")


def _arrange_above(names: Sequence[_Name], width: float) -> list[tuple[float, float, _Name]]:
    """Arrange names in rows of a width; returns each with its place, from the upper left."""
    placed: list[tuple[float, float, _Name]] = []
    x, y = 0.0, 0.0
    for name in names:
        words = cut_to_room(name.words, width - _SAMPLE - GAP)
        room = _SAMPLE + GAP + measure_text(words)
        if x and x + room > width:
            x, y = 0.0, y + _NAME_HEIGHT
        placed.append((x, y, _Name(words, name.kind, name.end)))
        x += room + 2 * GAP
    return placed


def _draw_above(placed: Sequence[tuple[float, float, _Name]]) -> Iterator[str]:
    for x, y, name in placed:
        yield _draw_sample(name.kind, x, y + _NAME_HEIGHT / 2)
        yield svg.text(name.words, x + _SAMPLE + GAP, y + _NAME_HEIGHT / 2 + 4, class_="chart-name")


def _spread_apart(wanted: Sequence[float], low: float, high: float, step: float) -> list[float]:
    """Move places to be a step apart or more, between low and high, in the same order."""
    order = sorted(range(len(wanted)), key=lambda place: (wanted[place], place))
    placed = dict.fromkeys(order, 0.0)
    least = low
    for place in order:
        placed[place] = max(wanted[place], least)
        least = placed[place] + step
    most = high
    for place in reversed(order):
        placed[place] = min(placed[place], most)
        most = placed[place] - step
    return [placed[place] for place in range(len(wanted))]


def _draw_sample(kind: str, x: float, y: float) -> str:
    return svg.element("path", class_=kind, d=svg.path([(x, y), (x + _SAMPLE, y)]))

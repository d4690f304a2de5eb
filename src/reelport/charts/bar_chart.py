"""Draws bars by category, each with its name and number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reelport.charts import svg
from reelport.charts.amounts import Scale, fit_scale, format_full
from reelport.charts.chart_labels import cut_to_room, measure_text
from reelport.charts.chart_types import Bar, BarChart
from reelport.charts.sentences import describe_bars, explain_empty
from reelport.charts.svg import GAP, Picture, draw_sentence

_NARROW = 480
_BAR = 14
_ROWS = (42, 24)  # the height of a narrow chart's row, whose name is above its bar, and of a wide one's
_NAME = 15  # room for a name above its bar
_NAMES = 0.4  # the share of a wide chart's width that names may take
_NONE = "-"


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where bars lie: left end, room, a row's height, scale, the first row's top.

    In a wide chart names are beside the bars, in a narrow one above them.
    """

    left: float
    room: float
    row: float
    scale: Scale
    top: float
    wide: bool

    def x(self, value: float) -> float:
        return self.left + self.room * self.scale.place(value)


def draw_bar_chart(chart: BarChart, width: float) -> Picture:
    """Draw a chart in a width; where nothing has a number, a sentence says so."""
    if all(bar.value is None for bar in chart.bars):
        return draw_sentence(chart.heading, explain_empty(chart.bars), width)
    layout = _lay_out(chart, width)
    unit = layout.scale.unit_beside(chart.heading)
    elements = [svg.text(cut_to_room(unit, layout.room), layout.left, 12, class_="chart-tick")] if unit else []
    for place, bar in enumerate(chart.bars):
        content = "".join(_draw_bar(bar, layout, layout.top + place * layout.row))
        elements.append(svg.element("g", svg.tooltip(f"{bar.label}: {format_full(bar.value, chart.unit)}"), content))
    height = layout.top + layout.row * len(chart.bars)
    return Picture(width, height, tuple(elements), chart.heading, describe_bars(chart))


def draw_inline_bar(value: float, largest: float) -> str:
    """Draw a bar for a cell of a table, as wide as its share of the largest; for eyes alone."""
    share = max(0.0, min(value / largest, 1.0)) if largest > 0 else 0.0
    bar = svg.element("rect", class_="chart-bar", width=share * 100, height=8)
    box = {"view_box": "0 0 100 8", "preserve_aspect_ratio": "none", "aria_hidden": "true"}
    return svg.element("svg", bar, class_="chart-inline-bar", **box)


def _lay_out(chart: BarChart, width: float) -> _Layout:
    scale = fit_scale([bar.value for bar in chart.bars], chart.unit)
    wide = width >= _NARROW
    numbers = max(measure_text(_format(bar, scale)) for bar in chart.bars) + GAP
    names = min(max(measure_text(bar.label) for bar in chart.bars), width * _NAMES) + GAP if wide else 0
    top = 22.0 if scale.unit_beside(chart.heading) else 4.0
    return _Layout(names, width - names - numbers, _ROWS[wide], scale, top, wide)


def _draw_bar(bar: Bar, layout: _Layout, y: float) -> Iterator[str]:
    name = cut_to_room(bar.label, layout.left - GAP if layout.wide else layout.room)
    if layout.wide:
        yield svg.text(name, layout.left - GAP, y + 16, class_="chart-name", text_anchor="end")
    else:
        yield svg.text(name, 0, y + 14, class_="chart-name")
        y += _NAME
    zero, end = layout.x(0), layout.x(float(bar.value or 0))
    if bar.value is not None:
        box = {"x": min(zero, end), "y": y + 5, "width": abs(end - zero), "height": _BAR}
        yield svg.element("rect", class_="chart-bar", **box)
    yield svg.text(_format(bar, layout.scale), max(zero, end) + GAP, y + 16, class_="chart-tick")


def _format(bar: Bar, scale: Scale) -> str:
    return _NONE if bar.value is None else scale.format(bar.value)

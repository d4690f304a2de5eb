"""Draws any chart, for a page or as a file that stands alone."""

from __future__ import annotations

from collections.abc import Sequence

from reelport.charts import svg
from reelport.charts.bar_chart import draw_bar_chart
from reelport.charts.chart_types import BarChart, Chart, LineChart, SmallMultiples
from reelport.charts.line_chart import draw_line_chart, draw_small_multiples
from reelport.charts.sentences import describe_moving
from reelport.charts.stylesheet import write_file_stylesheet
from reelport.charts.svg import Picture, embed_picture, write_file

NARROW, MEDIUM, WIDE, WIDEST = 340, 480, 680, 1000
"""The widths that a chart for a page is drawn in; its stylesheet shows the one that suits the room it has."""

_KINDS = {NARROW: "chart-narrow", MEDIUM: "chart-medium", WIDE: "chart-wide", WIDEST: "chart-widest"}
_TOOLTIPS = {NARROW: 0, MEDIUM: 31, WIDE: 62, WIDEST: 200}
"""How many times have tooltips at most: those of more would be most of a page's bytes, and too thin to point at."""

_FILE_WIDTH, _FILE_TOOLTIPS = 760, 400


def draw(chart: Chart, width: float, tooltips: int = 0) -> Picture:
    """Draw a chart in a width. With more times than `tooltips` none of them has one."""
    match chart:
        case LineChart():
            return draw_line_chart(chart, width, tooltips)
        case BarChart():
            return draw_bar_chart(chart, width, tooltips=bool(tooltips))
        case SmallMultiples():
            return draw_small_multiples(chart, width, tooltips=bool(tooltips))


def embed_chart(chart: Chart) -> str:
    """Write a chart as a figure of HTML, with its notes as caption.

    It holds the chart in four widths, of which the stylesheet (`write_page_stylesheet`) shows one. The narrow one, for
    screens that are touched, has no tooltips.
    """
    pictures = [embed_picture(draw(chart, width, _TOOLTIPS[width]), kind) for width, kind in _KINDS.items()]
    notes = "".join(svg.element("p", svg.escape_words(note)) for note in list_notes(chart))
    caption = svg.element("figcaption", notes) if notes else ""
    return svg.element("figure", *pictures, caption, class_="chart")


def draw_file(chart: Chart) -> str:
    """Write a chart as an SVG file, with its heading and notes."""
    return write_file(draw(chart, _FILE_WIDTH, _FILE_TOOLTIPS), list_notes(chart), write_file_stylesheet())


def list_notes(chart: Chart) -> Sequence[str]:
    """List a chart's notes, and which of its numbers may still change."""
    return chart.notes if isinstance(chart, BarChart) else [*chart.notes, *describe_moving(chart)]

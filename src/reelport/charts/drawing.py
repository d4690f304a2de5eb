"""Draws any chart: for a page, or as a file, SVG or PNG (extra `charts`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec

from reelport.charts import svg
from reelport.charts.bar_chart import draw_bar_chart
from reelport.charts.chart_types import (
    BarChart,
    Chart,
    ChartOverTime,
    LineChart,
    SmallMultiples,
    StackedShares,
    WorldMap,
)
from reelport.charts.crosshair import Write, write_readings
from reelport.charts.line_chart import draw_line_chart, draw_small_multiples, draw_stacked_shares
from reelport.charts.sentences import describe_countries, describe_moving
from reelport.charts.stylesheet import FONTS, write_file_stylesheet
from reelport.charts.svg import Picture, embed_picture, write_file
from reelport.charts.world_map import draw_world_map, embed_world_map, list_unplaced
from reelport.wording import advise_extra

# The widths that a chart for a page is drawn in; its stylesheet shows the one that suits the room it has.
NARROW, MEDIUM, WIDE, WIDEST = 340, 480, 680, 1000

_KINDS = {NARROW: "chart-narrow", MEDIUM: "chart-medium", WIDE: "chart-wide", WIDEST: "chart-widest"}
_FILE_WIDTH = 760
_SCALE = 2
_WORD = (
    f'<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"><text y="16" font-family="{FONTS}">A</text></svg>'
)


def draw(chart: Chart, width: float) -> Picture:
    """Draw a chart in a width."""
    match chart:
        case LineChart():
            return draw_line_chart(chart, width)
        case BarChart():
            return draw_bar_chart(chart, width)
        case SmallMultiples():
            return draw_small_multiples(chart, width)
        case StackedShares():
            return draw_stacked_shares(chart, width)
        case WorldMap():
            return draw_world_map(chart, width)


def embed_chart(chart: Chart, write: Write | None = None) -> str:
    """Write a chart as a figure of HTML, with its notes as caption.

    It holds the chart in four widths, of which the stylesheet (`write_page_stylesheet`) shows one. A map has one
    picture for all widths.

    A chart over time carries what the page's script shows of each time. Numbers are written by `write`, as the page's
    tables have them; without it in full, with their unit.
    """
    if isinstance(chart, WorldMap):
        description, pictures = describe_countries(chart), [embed_world_map(chart, write)]
    else:
        drawn = [draw(chart, width) for width in _KINDS]
        description, pictures = drawn[0].description, list(map(embed_picture, drawn, _KINDS.values()))
    said = svg.element("p", svg.escape_words(description), class_="chart-says")
    notes = "".join(svg.element("p", svg.escape_words(note)) for note in _list_notes(chart))
    caption = svg.element("figcaption", notes) if notes else ""
    readings = write_readings(chart, write) if isinstance(chart, ChartOverTime) else None
    inside = svg.element("div", *pictures, class_="chart-pictures")
    label = svg.clean_words(chart.heading)
    return svg.element("figure", said, inside, caption, class_="chart", aria_label=label, data_readings=readings)


def draw_file(chart: Chart) -> str:
    """Write a chart as an SVG file, with its heading and notes."""
    return write_file(draw(chart, _FILE_WIDTH), _list_notes(chart), write_file_stylesheet())


def _list_notes(chart: Chart) -> Sequence[str]:
    match chart:
        case BarChart():
            return chart.notes
        case WorldMap():
            return [*chart.notes, *list_unplaced(chart)]
        case LineChart() | SmallMultiples() | StackedShares():
            return [*chart.notes, *describe_moving(chart)]


@cache
def explain_absence() -> str | None:
    """Say why no PNG can be rendered here and what helps; None where one can be."""
    if find_spec("resvg_py") is None:
        return f"A chart as PNG needs an extra: {advise_extra('charts')}."
    if not draws_texts():
        return (
            "A chart as PNG needs a font, and this machine has none of DejaVu Sans, Liberation Sans, Arial and Noto "
            "Sans: install one, such as Debian's package fonts-dejavu-core."
        )
    return None


def draws_texts(*, without_fonts: bool = False) -> bool:
    """Whether the renderer draws a letter: without a font of a chart it leaves out all texts."""
    import resvg_py

    blank = _WORD.replace("A</text>", "</text>")
    drawn = (resvg_py.svg_to_bytes(svg_string=each, skip_system_fonts=without_fonts) for each in (_WORD, blank))
    return next(drawn) != next(drawn)


def render_png(chart: Chart) -> bytes:
    """Render a chart as PNG, twice as large as its SVG. Fetches nothing.

    A letter that the chart's fonts lack is taken from any other font of the machine; one that none has is a box.
    """
    import resvg_py

    return bytes(resvg_py.svg_to_bytes(svg_string=draw_file(chart), zoom=_SCALE))

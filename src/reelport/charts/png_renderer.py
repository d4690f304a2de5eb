"""Renders a chart's SVG as PNG, in the fonts of this machine (extra `charts`)."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

from reelport.charts.chart_types import Chart
from reelport.charts.drawing import draw_file
from reelport.charts.stylesheet import FONTS
from reelport.wording import advise_extra

_SCALE = 2
_WORD = (
    f'<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"><text y="16" font-family="{FONTS}">A</text></svg>'
)


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

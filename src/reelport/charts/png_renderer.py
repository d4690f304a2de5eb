"""Renders a chart as PNG; what no font of the machine draws becomes a square.

The library that does it is that of the extra `charts`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache, partial
from html import escape
from importlib.util import find_spec

from reelport.charts.chart_labels import UNDRAWABLE, replace_undrawable
from reelport.charts.chart_types import Bar, BarChart, Chart, LineChart, Series, SmallMultiples
from reelport.charts.drawing import draw_file
from reelport.charts.stylesheet import FONTS
from reelport.charts.text_width import cut_to_room

_SCALE = 2
_LABEL_ROOM = 320
_NOTE = f"{UNDRAWABLE} stands for what no font here can draw."
_MISSING, _MISSING_RIGHT_TO_LEFT = "\ufdd0", "\u05ff"
"""Code points that no font draws, as Unicode assigns them no letter: one left-to-right, one right-to-left."""

_SVG = "http://www.w3.org/2000/svg"


def is_available() -> bool:
    """Whether the library that renders PNG is installed."""
    return find_spec("vl_convert") is not None


def render_png(chart: Chart) -> bytes:
    """Render a chart as PNG, twice as large as its SVG. Fetches nothing."""
    import vl_convert

    drawn = replace_texts(chart, partial(replace_undrawable, find_missing=find_missing))
    return bytes(vl_convert.svg_to_png(draw_file(drawn), scale=_SCALE))


def replace_texts(chart: Chart, replace_text: Callable[[str], str]) -> Chart:
    """Return a chart with its labels, names and notes replaced; squares in them get a note."""
    notes = tuple(map(replace_text, chart.notes))
    drawn: Chart
    match chart:
        case BarChart():
            bars = tuple(Bar(_replace(bar.label, replace_text), bar.value, bar.earlier) for bar in chart.bars)
            drawn = replace(chart, bars=bars)
            texts = [bar.label for bar in bars]
        case LineChart():
            series, earlier = _replace_names(chart.series, replace_text), chart.comparison
            compared = _replace_names([earlier] if earlier else [], replace_text)
            drawn = replace(chart, series=series, comparison=compared[0] if compared else None)
            texts = [each.name for each in (*series, *compared)]
        case SmallMultiples():
            series = _replace_names(chart.series, replace_text)
            drawn = replace(chart, series=series)
            texts = [each.name for each in series]
    squares = any(UNDRAWABLE in text for text in (*texts, *notes))
    return replace(drawn, notes=(*notes, _NOTE) if squares else notes)


def _replace_names(series: Iterable[Series], replace_text: Callable[[str], str]) -> tuple[Series, ...]:
    return tuple(Series(_replace(each.name, replace_text), each.values) for each in series)


def _replace(text: str, replace_text: Callable[[str], str]) -> str:
    return replace_text(cut_to_room(text, _LABEL_ROOM))


def find_missing(text: str) -> set[str]:
    """Return characters that no font draws: a noncharacter in their place looks the same.

    Each is tried within its text, because the renderer takes a letter from a second font in some texts only. A mark,
    which takes no room in a text, is tried alone.
    """
    suspects = {sign for sign in text if not sign.isascii() and sign.isprintable() and sign != UNDRAWABLE}
    texts = {sign: sign if unicodedata.category(sign).startswith("M") else text for sign in suspects}
    return {sign for sign, each in texts.items() if _picture_of(each) == _picture_of(_replace_by_missing(sign, each))}


def _replace_by_missing(sign: str, text: str) -> str:
    """Replace a character by one that no font has, of the same writing direction."""
    leftwards = unicodedata.bidirectional(sign) in {"R", "AL"}
    return text.replace(sign, _MISSING_RIGHT_TO_LEFT if leftwards else _MISSING)


@lru_cache(maxsize=4096)
def _picture_of(text: str) -> bytes:
    import vl_convert

    width = 40 + 16 * len(text)
    words = f'<text x="20" y="24" font-size="12" font-family="{FONTS}">{escape(text)}</text>'
    return bytes(vl_convert.svg_to_png(f'<svg xmlns="{_SVG}" width="{width}" height="32">{words}</svg>'))

"""Charts as Vega-Lite specs, rendered to PNG or SVG: bars of names or of times."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from html import escape
from typing import Any

from reelport.charts.labels import UNDRAWABLE, make_label, replace_undrawable
from reelport.charts.time_axis import make_ticks
from reelport.cli.charts.chart_bars import Drawing
from reelport.cli.charts.chart_text import cut_to_width
from reelport.errors import UsageError

MOST_BARS_OF_TIME = 190
"""With more times, bars would be thinner than two points: they are rolled up, or the last ones drawn."""

_LABEL_WIDTH = 44
_WIDTH = 720
_BAND = 48
_FEW = 6
_NOTE = f"{UNDRAWABLE} stands for what no font here can draw."
_MISSING, _MISSING_RIGHT_TO_LEFT = "\ufdd0", "\u05ff"
"""Code points that no font draws, as Unicode assigns them no letter: one left-to-right, one right-to-left."""

_SVG = "http://www.w3.org/2000/svg"
_FONTS = "DejaVu Sans, Liberation Sans, Arial, Noto Color Emoji, sans-serif"
_NUMBERS = (
    "abs(datum.value) >= 1e15 ? format(datum.value, '.2~e') :"
    " abs(datum.value) >= 1000 ? replace(format(datum.value, '.3~s'), 'G', 'B') : format(datum.value, ',.4~f')"
)
_GREY, _DARK, _BLUE = "#6b7280", "#374151", "#2563eb"
_BARS: dict[str, Any] = {"type": "bar", "color": _BLUE, "cornerRadiusEnd": 2}
_PLACES: dict[str, Any] = {"field": "place", "type": "ordinal", "sort": None}
_LOOK: dict[str, Any] = {
    "font": _FONTS,
    "title": {"fontSize": 18, "subtitleFontSize": 12, "subtitleColor": _GREY, "subtitlePadding": 6},
    "axis": {
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titleColor": _DARK,
        "labelColor": _DARK,
        "gridColor": "#e5e7eb",
        "domainColor": "#9ca3af",
        "tickColor": "#9ca3af",
        "titlePadding": 10,
    },
    "axisBand": {"grid": False},
    "view": {"stroke": None},
}


def describe(drawing: Drawing, replace: Callable[[str], str] = str) -> dict[str, Any]:
    """Return a chart's Vega-Lite spec, with squares by `replace` for what can't be drawn."""
    bars, grain = drawing.bars, drawing.grain
    texts = [replace(cut_to_width(make_label(label), _LABEL_WIDTH)) for label, _ in bars] if grain is None else []
    notes = list(map(replace, drawing.notes))
    notes += [_NOTE] if any(UNDRAWABLE in text for text in (*texts, *notes)) else []
    chart = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": "white",
        "padding": 20,
        "title": {"text": drawing.heading, "subtitle": notes, "anchor": "start", "offset": 16},
        "config": _LOOK,
    }
    if all(value is None for _, value in bars):
        return chart | _describe_sentence("No row has a number." if bars else "The report has no rows to draw.")
    values = [{"place": place, "value": _to_float(value)} for place, (_, value) in enumerate(bars)]
    shape = _describe_names(drawing, texts) if grain is None else _describe_times(drawing, grain)
    return chart | {"data": {"values": values}} | shape


def _describe_names(drawing: Drawing, texts: Sequence[str]) -> dict[str, Any]:
    """Describe horizontal bars. Their index identifies them: two labels may be equal."""
    axis = {"labelExpr": _lookup(dict(enumerate(texts))), "labelLimit": 340, "title": None, "labelPadding": 6}
    return {
        "mark": _BARS,
        "encoding": {"y": _PLACES | {"axis": axis}, "x": _describe_amounts(drawing)},
        "width": 560,
        "height": {"step": 22},
    }


def _describe_times(drawing: Drawing, grain: int) -> dict[str, Any]:
    """Describe vertical bars; a time without a number is a gap."""
    ticks = make_ticks([label for label, _ in drawing.bars], grain)
    axis = {"labelAngle": 0, "values": list(ticks), "labelExpr": _lookup(ticks), "title": None}
    many = len(drawing.bars)
    scale = {"domain": list(range(many))}  # Else times without a number would have no room.
    return {
        "mark": _mark(many),
        "encoding": {"x": _PLACES | {"axis": axis, "scale": scale}, "y": _describe_amounts(drawing)},
        "width": min(_WIDTH, _BAND * max(many, _FEW)),
        "height": 320,
    }


def _describe_amounts(drawing: Drawing) -> dict[str, Any]:
    numbers = [value for _, value in drawing.bars if value is not None]
    whole = {"tickMinStep": 1} if all(value == int(value) for value in numbers) else {}
    scale = {"zero": True} | ({} if any(numbers) else {"domain": [0, 1]})
    axis = {"labelExpr": _NUMBERS, "grid": True, "tickCount": 5} | whole
    return {"field": "value", "type": "quantitative", "title": drawing.unit, "axis": axis, "scale": scale}


def render(drawing: Drawing, suffix: str) -> bytes:
    """Render a PNG or SVG file. Fetches nothing. A viewer shows an SVG in its own fonts."""
    require_renderer()
    import vl_convert

    if suffix == ".svg":
        return str(vl_convert.vegalite_to_svg(describe(drawing))).encode()
    spec = describe(drawing, partial(replace_undrawable, find_missing=find_missing))
    return bytes(vl_convert.vegalite_to_png(spec, scale=2))


def require_renderer() -> None:
    """Raise UsageError where the library that renders charts isn't installed."""
    from importlib.util import find_spec

    if find_spec("vl_convert") is None:
        raise UsageError("A chart as a file needs an extra: pip install 'reelport[charts]'")


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
    words = f'<text x="20" y="24" font-size="12" font-family="{_FONTS}">{escape(text)}</text>'
    return bytes(vl_convert.svg_to_png(f'<svg xmlns="{_SVG}" width="{width}" height="32">{words}</svg>'))


def _lookup(texts: dict[int, str]) -> str:
    """Build a Vega expression that returns the text of an index."""
    return f"{json.dumps({str(place): text for place, text in texts.items()})}[toString(datum.value)]"


def _mark(bars: int) -> dict[str, Any]:
    """Describe the mark: bars, with a fixed width where they are few."""
    return _BARS | ({"width": 40} if bars < _FEW else {})


def _to_float(value: object) -> float | None:
    return None if value is None else float(str(value))


def _describe_sentence(sentence: str) -> dict[str, Any]:
    mark = {
        "type": "text",
        "text": sentence,
        "fontSize": 14,
        "color": _DARK,
        "align": "left",
        "x": 0,
        "baseline": "top",
    }
    return {"data": {"values": [{}]}, "mark": mark, "width": 480, "height": 40}

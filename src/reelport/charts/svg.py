"""Elements of SVG as text: escaped, and the same bytes each time."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from reelport.charts.chart_labels import isolate
from reelport.wording import clean_line

Attribute = str | float | None

_ISOLATES = "\u2068\u2069"
_CAMEL = {"view_box": "viewBox", "preserve_aspect_ratio": "preserveAspectRatio"}


def element(name: str, *content: str, **attributes: Attribute) -> str:
    """Write an element whose content is SVG already.

    Attributes of None are left out. Names of attributes are written in Python's way: `class_`, `text_anchor`.
    """
    given = "".join(f' {_name(key)}="{_format(value)}"' for key, value in attributes.items() if value is not None)
    inside = "".join(content)
    return f"<{name}{given}>{inside}</{name}>" if inside else f"<{name}{given}/>"


def text(words: str, x: float, y: float, **attributes: Attribute) -> str:
    """Write any words as a text at a place, on one line."""
    return element("text", escape_words(words), x=x, y=y, **attributes)


def tooltip(words: str) -> str:
    """Write an element's title, which a browser shows when pointed at."""
    return element("title", escape_words(words))


def escape_words(words: str) -> str:
    """Escape a text for SVG or HTML, without control characters and changes of direction."""
    line = clean_line(words.strip(_ISOLATES)).translate({0xFFFE: 0xFFFD, 0xFFFF: 0xFFFD})
    return escape(isolate(line))


def path(points: Iterable[tuple[float, float]]) -> str:
    """Write the commands of a line through points."""
    return "M" + "L".join(f"{format_place(x)},{format_place(y)}" for x, y in points)


def format_place(value: float) -> str:
    """Format a coordinate with one decimal digit at most."""
    digits = f"{value:.1f}".removesuffix(".0")
    return "0" if digits == "-0" else digits


def _name(key: str) -> str:
    return _CAMEL.get(key) or key.rstrip("_").replace("_", "-")


def _format(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else format_place(value)

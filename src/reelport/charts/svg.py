"""SVG as text: elements, and charts for a page that styles them or as a file alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from reelport.charts.chart_labels import cut_to_room, isolate, measure_text
from reelport.wording import clean_line

Attribute = str | float | None

GAP = 6  # room between a text and what it is beside
_HEADING_SIZE = 18
_LINE = 18
_PADDING = 20
_XMLNS = "http://www.w3.org/2000/svg"
_ISOLATES = "\u2068\u2069"
_CAMEL = {"view_box": "viewBox", "preserve_aspect_ratio": "preserveAspectRatio"}


def element(name: str, *content: str, **attributes: Attribute) -> str:
    """Write an element whose content is SVG already.

    Attributes of None are left out. Names of attributes are written in Python's way: `class_`, `text_anchor`.
    """
    given = "".join(f" {_name(key)}={_quote(value)}" for key, value in attributes.items() if value is not None)
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
    return escape(clean_words(words))


def clean_words(words: str) -> str:
    """Remove control characters and changes of direction from a text."""
    return isolate(clean_line(words.strip(_ISOLATES)).translate({0xFFFE: 0xFFFD, 0xFFFF: 0xFFFD}))


def path(points: Iterable[tuple[float, float]]) -> str:
    """Write the commands of a line through points."""
    return "M" + "L".join(f"{format_place(x)},{format_place(y)}" for x, y in points)


def format_place(value: float) -> str:
    """Format a coordinate with one decimal digit at most."""
    digits = f"{value:.1f}".removesuffix(".0")
    return "0" if digits == "-0" else digits


def _name(key: str) -> str:
    return _CAMEL.get(key) or key.rstrip("_").replace("_", "-")


def _quote(value: str | float) -> str:
    """Quote a value by what it has fewer of: each escaped quote of a JSON text takes six bytes."""
    if not isinstance(value, str):
        return f'"{format_place(value)}"'
    if value.count('"') <= value.count("'"):
        return f'"{escape(value)}"'
    return "'" + escape(value, quote=False).replace("'", "&#x27;") + "'"


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn chart: its size, its elements, and in words what it shows."""

    width: float
    height: float
    elements: tuple[str, ...]
    title: str
    description: str


def embed_picture(picture: Picture, kind: str = "") -> str:
    """Write SVG without styles or ids, for a page that styles it and says what it shows."""
    return element(
        "svg",
        *picture.elements,
        class_=f"chart-picture {kind}".strip(),
        view_box=f"0 0 {format_place(picture.width)} {format_place(picture.height)}",
        aria_hidden="true",
        focusable="false",
    )


def write_file(picture: Picture, notes: Iterable[str], stylesheet: str) -> str:
    """Write SVG that stands alone: heading and notes above the chart, on white, with its style."""
    room = picture.width
    heading = wrap_to_room(picture.title, room, _HEADING_SIZE)
    lines = [line for note in notes for line in wrap_to_room(note, room)]
    top = _PADDING + len(heading) * (_HEADING_SIZE + 4) + len(lines) * _LINE + (8 if lines else 4)
    width, height = picture.width + 2 * _PADDING, top + picture.height + _PADDING
    chart = element("g", *picture.elements, transform=f"translate({_PADDING} {format_place(top)})")
    return element(
        "svg",
        tooltip(picture.title),
        element("desc", escape_words(picture.description)),
        element("style", stylesheet),
        element("rect", class_="chart-paper", width=width, height=height),
        *_draw_head(heading, lines),
        chart,
        xmlns=_XMLNS,
        class_="chart-picture",
        width=width,
        height=height,
        view_box=f"0 0 {format_place(width)} {format_place(height)}",
        role="img",
    )


def wrap_to_room(words: str, room: float, size: float = 12) -> list[str]:
    """Wrap a text at its blanks to lines that fit; a word that is longer than a line is cut."""
    lines: list[str] = []
    for word in words.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and measure_text(longer, size) <= room:
            lines[-1] = longer
        else:
            lines.append(cut_to_room(word, room, size))
    return lines


def _draw_head(heading: Sequence[str], lines: Sequence[str]) -> Iterable[str]:
    y = float(_PADDING)
    for line in heading:
        y += _HEADING_SIZE + 4
        yield text(line, _PADDING, y - 6, class_="chart-heading")
    for line in lines:
        y += _LINE
        yield text(line, _PADDING, y - 2, class_="chart-note")

"""SVG as text: elements, the room of words, charts for pages or as files, their styles."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import resources

from reelport.wording import clean_line

Attribute = str | float | None

GAP = 6  # room between a text and what it is beside
_HEADING_SIZE = 18
_LINE = 18
_PADDING = 20
_XMLNS = "http://www.w3.org/2000/svg"
FONTS = "DejaVu Sans, Liberation Sans, Arial, Noto Sans, Noto Color Emoji, sans-serif"
_ISOLATE, _END_ISOLATE = "\u2068", "\u2069"
_RIGHT_TO_LEFT = {"R", "AL", "AN"}

_SIZE = 12  # the font size of a chart's texts

# Widths of ASCII in DejaVu Sans and Liberation Sans (Arial), the larger rounded up, by the font's size.
_WIDTHS = {
    sign: tenths / 10
    for tenths, signs in {
        3: "'Iijl",
        4: " !(),-./:;[\\]ft|",
        5: '"*J`r',
        6: "?L_cksvxyz",
        8: "&CDGHNOQRU",
        9: "#+<=>M^w~",
        10: "%Wm",
        11: "@",
    }.items()
    for sign in signs
}

_OTHER_ASCII, _OTHER, _WIDE = 0.7, 0.9, 1.3
_INVISIBLE = {"Mn", "Me", "Cf"}
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
    return isolate(clean_line(words.strip(_ISOLATE + _END_ISOLATE)).translate({0xFFFE: 0xFFFD, 0xFFFF: 0xFFFD}))


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


def write_file(picture: Picture, notes: Iterable[str]) -> str:
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
        element("style", write_file_stylesheet()),
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


def write_page_stylesheet() -> str:
    """Write the styles of charts in a page, in its own colours or the reader's light or dark."""
    return _read_styles("picture.css") + _read_styles("page.css")


@cache
def write_file_stylesheet() -> str:
    """Write the styles of a chart in a file: on white, in fonts that most machines have."""
    light = _read_styles("page.css").partition("@media")[0]
    colours = dict(re.findall(r"--chart-(\w+):(?:var\([\w-]+,)?(#\w+)", light))
    rules = re.sub(r"var\(--chart-(\w+)\)", lambda named: colours[named[1]], _read_styles("picture.css"))
    return f"svg{{font-family:{FONTS}}}\n.chart-paper{{fill:#fff}}\n{rules}"


def _read_styles(name: str) -> str:
    return resources.files("reelport.charts").joinpath(name).read_text("utf-8")


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


def isolate(text: str) -> str:
    """Isolate right-to-left text (Unicode), so that it doesn't reorder the text beside it."""
    if any(unicodedata.bidirectional(sign) in _RIGHT_TO_LEFT for sign in text):
        return f"{_ISOLATE}{text}{_END_ISOLATE}"
    return text


def measure_text(text: str, size: float = _SIZE) -> float:
    """The width that a text takes at most, estimated, as its font is the reader's."""
    return size * sum(map(_measure_sign, text))


def cut_to_room(text: str, room: float, size: float = _SIZE) -> str:
    """Cut a text so that it is no wider than `room`, with an ellipsis where it was longer."""
    if measure_text(text, size) <= room:
        return text
    left, kept = room - measure_text("…", size), 0
    from rich.cells import split_graphemes  # noqa: PLC0415 - an API process draws no chart before it is asked

    for start, end, _cells in split_graphemes(text)[0]:
        left -= measure_text(text[start:end], size)
        if left < 0:
            break
        kept = end
    return f"{text[:kept].rstrip()}…"


def _measure_sign(sign: str) -> float:
    if sign.isascii():
        return _WIDTHS.get(sign, _OTHER_ASCII)
    if unicodedata.category(sign) in _INVISIBLE:
        return 0.0
    wide = unicodedata.east_asian_width(sign) in "WF" or unicodedata.category(sign) == "So"
    return _WIDE if wide else _OTHER

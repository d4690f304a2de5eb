"""Drawn charts as SVG, for a page that styles them or as a file that stands alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reelport.charts import svg
from reelport.charts.text_width import cut_to_room, measure_text

HEADING_SIZE = 18
_LINE = 18
_PADDING = 20
_XMLNS = "http://www.w3.org/2000/svg"


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn chart: its size, its elements, and in words what it shows."""

    width: float
    height: float
    elements: tuple[str, ...]
    title: str
    description: str


def embed_picture(picture: Picture, kind: str = "") -> str:
    """Write SVG for a page that styles it: it has no styles of its own and no ids."""
    return svg.element(
        "svg",
        *_describe(picture),
        *picture.elements,
        class_=f"chart-picture {kind}".strip(),
        view_box=f"0 0 {svg.format_place(picture.width)} {svg.format_place(picture.height)}",
        role="img",
    )


def write_file(picture: Picture, notes: Iterable[str], stylesheet: str) -> str:
    """Write SVG that stands alone: heading and notes above the chart, on white, with its style."""
    room = picture.width
    heading = wrap_to_room(picture.title, room, HEADING_SIZE)
    lines = [line for note in notes for line in wrap_to_room(note, room)]
    top = _PADDING + len(heading) * (HEADING_SIZE + 4) + len(lines) * _LINE + (8 if lines else 4)
    width, height = picture.width + 2 * _PADDING, top + picture.height + _PADDING
    chart = svg.element("g", *picture.elements, transform=f"translate({_PADDING} {svg.format_place(top)})")
    return svg.element(
        "svg",
        *_describe(picture),
        svg.element("style", stylesheet),
        svg.element("rect", class_="chart-paper", width=width, height=height),
        *_draw_head(heading, lines),
        chart,
        xmlns=_XMLNS,
        class_="chart-picture",
        width=width,
        height=height,
        view_box=f"0 0 {svg.format_place(width)} {svg.format_place(height)}",
        role="img",
    )


def draw_sentence(title: str, sentence: str, width: float) -> Picture:
    """Draw a sentence in place of a chart."""
    return Picture(width, 40, (svg.text(sentence, 0, 24, class_="chart-name"),), title, sentence)


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


def _describe(picture: Picture) -> tuple[str, str]:
    return svg.tooltip(picture.title), svg.element("desc", svg.escape_words(picture.description))


def _draw_head(heading: Sequence[str], lines: Sequence[str]) -> Iterable[str]:
    y = float(_PADDING)
    for line in heading:
        y += HEADING_SIZE + 4
        yield svg.text(line, _PADDING, y - 6, class_="chart-heading")
    for line in lines:
        y += _LINE
        yield svg.text(line, _PADDING, y - 2, class_="chart-note")

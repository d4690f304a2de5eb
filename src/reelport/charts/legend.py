"""Names of lines: at the lines' ends, or above the plot where there is no room beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reelport.charts import svg
from reelport.charts.plot import GAP, Plot
from reelport.charts.text_width import cut_to_room, measure_text

LINE = 16
"""The height of a name."""

_SAMPLE = 16
_LEAST_WIDTH = 560
_SHARE = 0.28
"""The share of a chart's width that names at the ends of its lines may take."""


@dataclass(frozen=True, slots=True)
class Name:
    """A line's name, and the classes that it is drawn by.

    `end` is the place and the number that it ends with, None for a line without numbers.
    """

    words: str
    kind: str
    end: tuple[int, float] | None


def is_beside(names: Sequence[Name], width: float, height: float) -> bool:
    """Whether names go at the ends of lines: the chart is wide, and high enough for all."""
    return width >= _LEAST_WIDTH and len(names) * LINE <= height


def measure_beside(names: Sequence[Name], width: float) -> float:
    """Return the room that names at the ends of their lines take."""
    return min(max(measure_text(name.words) for name in names), width * _SHARE) + _SAMPLE + 2 * GAP


def draw_beside(names: Sequence[Name], plot: Plot, room: float) -> Iterator[str]:
    """Draw each name at its line's end, moved up or down where it would lie over another."""
    wanted = [plot.y(name.end[1]) if name.end else plot.bottom for name in names]
    placed = spread_apart(wanted, plot.top, plot.bottom, LINE)
    for name, y in zip(names, placed, strict=True):
        x = plot.right + GAP
        yield _draw_sample(name.kind, x, y)
        yield svg.text(cut_to_room(name.words, room - _SAMPLE - 2 * GAP), x + _SAMPLE + GAP, y + 4, class_="chart-name")


def arrange_above(names: Sequence[Name], width: float) -> list[tuple[float, float, Name]]:
    """Arrange names in rows of a width; returns each with its place, from the upper left."""
    placed: list[tuple[float, float, Name]] = []
    x, y = 0.0, 0.0
    for name in names:
        words = cut_to_room(name.words, width - _SAMPLE - GAP)
        room = _SAMPLE + GAP + measure_text(words)
        if x and x + room > width:
            x, y = 0.0, y + LINE
        placed.append((x, y, Name(words, name.kind, name.end)))
        x += room + 2 * GAP
    return placed


def draw_above(placed: Sequence[tuple[float, float, Name]]) -> Iterator[str]:
    """Draw the names that were arranged above a plot."""
    for x, y, name in placed:
        yield _draw_sample(name.kind, x, y + LINE / 2)
        yield svg.text(name.words, x + _SAMPLE + GAP, y + LINE / 2 + 4, class_="chart-name")


def spread_apart(wanted: Sequence[float], low: float, high: float, step: float) -> list[float]:
    """Move places to be a step apart or more, between low and high, in the same order."""
    order = sorted(range(len(wanted)), key=lambda place: (wanted[place], place))
    placed = dict.fromkeys(order, 0.0)
    least = low
    for place in order:
        placed[place] = max(wanted[place], least)
        least = placed[place] + step
    most = high
    for place in reversed(order):
        placed[place] = min(placed[place], most)
        most = placed[place] - step
    return [placed[place] for place in range(len(wanted))]


def _draw_sample(kind: str, x: float, y: float) -> str:
    return svg.element("path", class_=kind, d=svg.path([(x, y), (x + _SAMPLE, y)]))

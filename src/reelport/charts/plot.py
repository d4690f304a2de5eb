"""What charts over time share: a plot's area, axes, lines, times that may still change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from reelport.charts import svg
from reelport.charts.amounts import Scale
from reelport.charts.chart_labels import measure_text
from reelport.charts.chart_types import Number
from reelport.charts.time_axis import MOST_TICKS, make_ticks

GAP = 6  # room between a text and what it is beside
_HATCH = 7  # units between two strokes of a hatched area
_DOT = 3  # the radius of a point
_MANY = 150  # with more times than this lines are fine


@dataclass(frozen=True, slots=True)
class Plot:
    """The area of a plot in its chart, how many times it shows, and its scale."""

    left: float
    top: float
    width: float
    height: float
    times: int
    scale: Scale

    @property
    def right(self) -> float:
        """The right edge of the area."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """The lower edge of the area."""
        return self.top + self.height

    def x(self, place: float) -> float:
        """Return where a time lies across; a single one lies in the middle."""
        return self.left + self.width * (place / (self.times - 1) if self.times > 1 else 0.5)

    def y(self, value: Number) -> float:
        """Return where a number lies in height."""
        return self.bottom - self.height * self.scale.place(value)


def draw_amounts(plot: Plot) -> Iterator[str]:
    """Draw the axis of amounts: a line across and a number at each tick."""
    for tick in plot.scale.ticks:
        y = plot.y(tick)
        kind = "chart-base" if tick == 0 else "chart-grid"
        yield svg.element("path", class_=kind, d=svg.path([(plot.left, y), (plot.right, y)]))
        yield svg.text(plot.scale.format(tick), plot.left - GAP, y + 4, class_="chart-tick", text_anchor="end")


def choose_ticks(plot: Plot, times: Sequence[str], grain: int) -> dict[int, str]:
    """Choose as many ticks of time as have room side by side, at round times."""
    for most in range(MOST_TICKS, 1, -1):
        ticks = make_ticks(times, grain, most)
        ends = [(plot.x(place) - measure_text(label) / 2, measure_text(label)) for place, label in ticks.items()]
        if all(one[0] + one[1] + 2 * GAP <= two[0] for one, two in pairwise(ends)):
            return ticks
    return make_ticks(times, grain, 1)


def draw_times(plot: Plot, ticks: dict[int, str], width: float) -> Iterator[str]:
    """Draw the axis of times, with as many of the labels as have room side by side."""
    free = 0.0
    for place, label in ticks.items():
        room = measure_text(label)
        x = min(max(plot.x(place), room / 2), width - room / 2)
        if x - room / 2 >= free:
            mark = svg.path([(plot.x(place), plot.bottom), (plot.x(place), plot.bottom + 4)])
            yield svg.element("path", class_="chart-base", d=mark)
            yield svg.text(label, x, plot.bottom + 18, class_="chart-tick", text_anchor="middle")
            free = x + room / 2 + GAP


def draw_line(plot: Plot, values: Sequence[Number | None], kind: str, first_moving: int) -> Iterator[str]:
    """Draw a line that breaks where there is no number.

    A number without neighbours is a point. What may still change is dotted.
    """
    kind = f"{kind} chart-fine" if plot.times > _MANY else kind
    settled = [value if place < first_moving else None for place, value in enumerate(values)]
    moving = [value if place >= first_moving - 1 else None for place, value in enumerate(values)]
    for run in _list_runs(settled):
        yield _draw_run(plot, run, kind)
    for run in _list_runs(moving):
        if run[-1][0] >= first_moving:
            yield _draw_run(plot, run, f"{kind} chart-moving")


def _list_runs(values: Sequence[Number | None]) -> list[list[tuple[int, Number]]]:
    runs: list[list[tuple[int, Number]]] = [[]]
    for place, value in enumerate(values):
        if value is not None:
            runs[-1].append((place, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def draw_moving(plot: Plot, first_moving: int) -> Iterator[str]:
    """Hatch the area of the times whose numbers may still change."""
    if first_moving >= plot.times:
        return
    left = plot.left if first_moving == 0 else (plot.x(first_moving - 1) + plot.x(first_moving)) / 2
    strokes = "".join(svg.path(stroke) for stroke in _hatch(left, plot.top, plot.right, plot.bottom))
    area = {"x": left, "y": plot.top, "width": plot.right - left, "height": plot.height}
    yield svg.element("rect", class_="chart-moving-area", **area)
    if strokes:
        yield svg.element("path", class_="chart-hatch", d=strokes)


def draw_tooltips(plot: Plot, words: Sequence[str]) -> Iterator[str]:
    """Lay an invisible area over each time, with its numbers in full as tooltip."""
    edges = [plot.left, *((plot.x(one) + plot.x(two)) / 2 for one, two in pairwise(range(plot.times))), plot.right]
    whole = list(map(int, edges))
    areas = [
        svg.element("rect", svg.tooltip(said), x=left, width=right - left)
        for (left, right), said in zip(pairwise(whole), words, strict=True)
    ]
    box = {"x": 0, "y": plot.top, "width": whole[-1], "height": plot.height}
    yield svg.element("svg", *areas, class_="chart-hits", **box)


def _draw_run(plot: Plot, run: Sequence[tuple[int, Number]], kind: str) -> str:
    points = [(plot.x(place), plot.y(value)) for place, value in run]
    if len(points) == 1:
        ((x, y),) = points
        return svg.element("circle", class_=kind, cx=x, cy=y, r=_DOT)
    return svg.element("path", class_=kind, d=svg.path(points))


def _hatch(left: float, top: float, right: float, bottom: float) -> Iterator[list[tuple[float, float]]]:
    """Yield strokes from lower left to upper right that stay inside a rectangle."""
    height = bottom - top
    start = left - height + _HATCH
    while start < right:
        low = (max(start, left), bottom - max(left - start, 0))
        high = (min(start + height, right), top + max(start + height - right, 0))
        if high[0] - low[0] > 1:
            yield [low, high]
        start += _HATCH

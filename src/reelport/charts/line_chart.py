"""Draws lines over time: in one plot, or a plot for each category."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from reelport.charts import svg
from reelport.charts.amounts import SHARES, Scale, choose_scale, fit_scale, list_numbers
from reelport.charts.chart_labels import cut_to_room, measure_text
from reelport.charts.chart_types import LineChart, Number, Series, SmallMultiples, StackedShares, name_look
from reelport.charts.sentences import describe_lines, explain_empty
from reelport.charts.svg import GAP, Picture, draw_sentence
from reelport.charts.time_axis import MOST_TICKS, make_ticks

_Run = list[tuple[int, Number]]  # numbers without a gap between them, each with its place

_NARROW = 560
_HEIGHTS = (190, 240)
_TICKS = (4, 5)  # of a narrow and of a wide chart: the plot's height, and ticks of amounts at most
_HEAD = 24  # room above a plot for its unit: also where there is none, so that charts side by side are alike
_AXIS = 26  # room below a plot for its times
_NAME_HEIGHT = 16  # the height of a name
_SAMPLE = 16  # the width of the piece of line beside a name
_RIGHT = 8.0  # room beside a plot
_LEAST_PANEL = 150  # the width that a panel has at least, where the chart has room for two
_PANEL_HEIGHT = 84
# Room above a panel's plot for its name, below it for its times, and between panels.
_PANEL_HEAD, _PANEL_AXIS, _BETWEEN = 26, 28, 20
_HATCH = 7  # units between two strokes of a hatched area
_DOT = 3  # the radius of a point
_LEVEL = 120  # the width of a chart's only time
_MANY = 150  # with more times than this lines are fine


@dataclass(frozen=True, slots=True)
class _Name:
    """A line's name, and its classes."""

    words: str
    kind: str


def draw_line_chart(chart: LineChart, width: float) -> Picture:
    """Draw a chart in a width; where nothing has a number, a sentence says so."""
    compared = [chart.comparison] if chart.comparison else []
    values = [value for each in (*chart.series, *compared) for value in each.values]
    if all(value is None for value in values):
        return draw_sentence(chart.heading, explain_empty(chart.times), width)
    scale = choose_scale(values, chart.unit, _TICKS[width >= _NARROW])
    plot, elements = _lay_out(_list_names(chart), scale, scale.unit_beside(chart.heading), width, len(chart.times))
    elements += _draw_moving(plot, chart.first_moving)
    elements += _draw_amounts(plot)
    if len(chart.series) == 1:
        elements += _draw_areas(plot, chart.series[0].values)
    elements += _draw_times(plot, _choose_ticks(plot, chart.times, chart.grain), width)
    if chart.comparison is not None:
        elements += _draw_line(plot, chart.comparison.values, "chart-line chart-earlier")
    for place, each in reversed(list(enumerate(chart.series))):
        elements += _draw_line(plot, each.values, _kind_of(place))
    return Picture(width, plot.bottom + _AXIS, tuple(elements), chart.heading, describe_lines(chart))


def draw_stacked_shares(chart: StackedShares, width: float) -> Picture:
    """Draw bars of 100 % in a width; where nothing has a number, a sentence says so."""
    if not any(chart.wholes):
        return draw_sentence(chart.heading, explain_empty(chart.times), width)
    runs = _stack(chart)
    names = [_Name(each.name, f"chart-key {name_look(place)}") for place, each in enumerate(chart.series)]
    plot, elements = _lay_out(names, SHARES, "", width, len(chart.times), bands=True)
    elements += _draw_amounts(plot)
    elements += _draw_times(plot, _choose_ticks(plot, chart.times, chart.grain), width)
    room = min(plot.width / plot.times, _LEVEL)
    between = min(2.0, room / 5)
    for place, run in enumerate(runs):
        boxes = "".join(
            svg.path(
                [
                    (x, plot.y(low)),
                    (x, plot.y(high)),
                    (x + room - between, plot.y(high)),
                    (x + room - between, plot.y(low)),
                ]
            )
            + "Z"
            for at, low, high in run
            for x in (plot.x(at) - (room - between) / 2,)
        )
        elements.append(svg.element("path", class_=f"chart-share {name_look(place)}", d=boxes))
    elements += _draw_moving(plot, chart.first_moving)
    return Picture(width, plot.bottom + _AXIS, tuple(elements), chart.heading, describe_lines(chart))


def _stack(chart: StackedShares) -> list[list[tuple[int, float, float]]]:
    """Stack each time's shares: of each series its places, and where its part begins and ends."""
    ends = [0.0] * len(chart.times)
    runs = []
    for series in chart.series:
        run = []
        for place, (value, whole) in enumerate(zip(series.values, chart.wholes, strict=True)):
            if value and whole:
                start, ends[place] = ends[place], min(ends[place] + float(value) / float(whole), 1.0)
                run.append((place, start, ends[place]))
        runs.append(run)
    return runs


def draw_sparkline(values: Sequence[Number | None], width: float = 160, height: float = 36) -> str:
    """Draw a line without axes for a page, beside its number; for eyes alone.

    It begins at 0, breaks where a value is None, and ends with a dot. The page stretches it to the room that it has.
    Without a number the picture is empty.
    """
    plot = _Plot(3, 3, width - 6, height - 6, len(values), fit_scale(values, None))
    elements = list(_draw_areas(plot, values))
    for run in _list_runs(values):
        points = _points(plot, run)
        line = svg.path(points if len(points) > 1 else points * 2)
        elements.append(svg.element("path", class_="chart-line chart-s0", d=line))
    if numbers := list_numbers(values):
        # A circle would be stretched with the picture; the round cap of a line without length is not.
        end = svg.path(_points(plot, numbers[-1:]) * 2)
        elements.append(svg.element("path", class_="chart-line chart-s0 chart-spark-end", d=end))
    box = {"view_box": f"0 0 {svg.format_place(width)} {svg.format_place(height)}", "preserve_aspect_ratio": "none"}
    return svg.element("svg", *elements, class_="chart-spark", aria_hidden="true", focusable="false", **box)


def _lay_out(
    names: Sequence[_Name], scale: Scale, unit: str, width: float, times: int, *, bands: bool = False
) -> tuple[_Plot, list[str]]:
    height = _HEIGHTS[width >= _NARROW]
    above = _arrange_above(names, width)
    top = (above[-1][1] + _NAME_HEIGHT + GAP if above else 0) + _HEAD
    left = max(map(measure_text, scale.format_ticks().values())) + GAP
    plot = _Plot(left, top, width - left - _RIGHT, height, times, scale, bands)
    elements = []
    for x, y, name in above:
        elements.append(_draw_sample(name.kind, x, y + _NAME_HEIGHT / 2))
        elements.append(svg.text(name.words, x + _SAMPLE + GAP, y + _NAME_HEIGHT / 2 + 4, class_="chart-name"))
    if unit:
        elements.append(svg.text(unit, 0, top - 12, class_="chart-tick"))
    return plot, elements


def _list_names(chart: LineChart) -> list[_Name]:
    names = [_Name(each.name, _kind_of(place)) for place, each in enumerate(chart.series)]
    if chart.comparison is not None:
        names.append(_Name(chart.comparison.name, "chart-line chart-earlier"))
    return names if len(names) > 1 else []


def _kind_of(place: int) -> str:
    return f"chart-line {name_look(place)}"


def draw_small_multiples(chart: SmallMultiples, width: float) -> Picture:
    """Draw a chart in a width, with as many panels side by side as have room."""
    values = [value for each in chart.series for value in each.values]
    if all(value is None for value in values):
        return draw_sentence(chart.heading, explain_empty(chart.times), width)
    scale = choose_scale(values, chart.unit, 3)
    unit = scale.unit_beside(chart.heading)
    columns = max(1, min(int((width + _BETWEEN) // (_LEAST_PANEL + _BETWEEN)), len(chart.series)))
    across = (width + _BETWEEN) / columns
    top, down = 18.0 if unit else 0.0, _PANEL_HEAD + _PANEL_HEIGHT + _PANEL_AXIS
    elements = [svg.text(unit, 0, 12, class_="chart-tick")] if unit else []
    for place, series in enumerate(chart.series):
        row, column = divmod(place, columns)
        panel = _draw_panel(chart, series, scale, across - _BETWEEN)
        at = f"translate({svg.format_place(column * across)} {svg.format_place(top + row * down)})"
        elements.append(svg.element("g", *panel, transform=at))
    height = top + down * -(-len(chart.series) // columns)
    return Picture(width, height, tuple(elements), chart.heading, describe_lines(chart))


def _draw_panel(chart: SmallMultiples, series: Series, scale: Scale, width: float) -> Iterator[str]:
    left = max(map(measure_text, scale.format_ticks().values())) + GAP
    plot = _Plot(left, _PANEL_HEAD, width - left - GAP, _PANEL_HEIGHT, len(chart.times), scale)
    yield svg.text(cut_to_room(series.name, width), 0, 12, class_="chart-name")
    yield from _draw_moving(plot, chart.first_moving)
    yield from _draw_amounts(plot)
    yield from _draw_areas(plot, series.values)
    ticks = make_ticks(chart.times, chart.grain, 3)
    ends = dict.fromkeys((min(ticks), max(ticks)))
    yield from _draw_times(plot, {place: ticks[place] for place in ends}, width)
    yield from _draw_line(plot, series.values, "chart-line chart-s0")


def _arrange_above(names: Sequence[_Name], width: float) -> list[tuple[float, float, _Name]]:
    """Arrange names in rows of a width; returns each with its place, from the upper left."""
    placed: list[tuple[float, float, _Name]] = []
    x, y = 0.0, 0.0
    for name in names:
        words = cut_to_room(name.words, width - _SAMPLE - GAP)
        room = _SAMPLE + GAP + measure_text(words)
        if x and x + room > width:
            x, y = 0.0, y + _NAME_HEIGHT
        placed.append((x, y, _Name(words, name.kind)))
        x += room + 2 * GAP
    return placed


def _draw_sample(kind: str, x: float, y: float) -> str:
    return svg.element("path", class_=kind, d=svg.path([(x, y), (x + _SAMPLE, y)]))


@dataclass(frozen=True, slots=True)
class _Plot:
    """The area of a plot in its chart, how many times it shows, and its scale."""

    left: float
    top: float
    width: float
    height: float
    times: int
    scale: Scale
    bands: bool = False  # each time has a band of its own, and lies in its middle

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height

    def x(self, place: float) -> float:
        """Return where a time lies across; a single one lies in the middle."""
        if self.bands or self.times == 1:
            return self.left + self.width * (place + 0.5) / self.times
        return self.left + self.width * place / (self.times - 1)

    def y(self, value: Number) -> float:
        return self.bottom - self.height * self.scale.place(value)


def _draw_amounts(plot: _Plot) -> Iterator[str]:
    """Draw lines and numbers of amounts, and the area by which a script finds places."""
    ends = {"data_low": f"{plot.scale.low:.12g}", "data_high": f"{plot.scale.high:.12g}"}
    area = {"x": plot.left, "y": plot.top, "width": plot.width, "height": plot.height}
    yield svg.element("rect", class_="chart-plot", **area, **ends, data_bands="" if plot.bands else None)
    for tick, words in plot.scale.format_ticks().items():
        y = plot.y(tick)
        kind = "chart-base" if tick == 0 else "chart-grid"
        yield svg.element("path", class_=kind, d=svg.path([(plot.left, y), (plot.right, y)]))
        yield svg.text(words, plot.left - GAP, y + 4, class_="chart-tick", text_anchor="end")


def _choose_ticks(plot: _Plot, times: Sequence[str], grain: int) -> dict[int, str]:
    """Choose as many ticks of time as have room side by side, at round times."""
    for most in range(MOST_TICKS, 1, -1):
        ticks = make_ticks(times, grain, most)
        ends = [(plot.x(place) - measure_text(label) / 2, measure_text(label)) for place, label in ticks.items()]
        if all(one[0] + one[1] + 2 * GAP <= two[0] for one, two in pairwise(ends)):
            return ticks
    return make_ticks(times, grain, 1)


def _draw_times(plot: _Plot, ticks: dict[int, str], width: float) -> Iterator[str]:
    free = 0.0
    for place, label in ticks.items():
        room = measure_text(label)
        x = min(max(plot.x(place), room / 2), width - room / 2)
        if x - room / 2 >= free:
            mark = svg.path([(plot.x(place), plot.bottom), (plot.x(place), plot.bottom + 4)])
            yield svg.element("path", class_="chart-base", d=mark)
            yield svg.text(label, x, plot.bottom + 18, class_="chart-tick", text_anchor="middle")
            free = x + room / 2 + GAP


def _draw_areas(plot: _Plot, values: Sequence[Number | None]) -> Iterator[str]:
    for run in _list_runs(values):
        points = _points(plot, run)
        area = [(points[0][0], plot.y(0)), *points, (points[-1][0], plot.y(0))]
        yield svg.element("path", class_="chart-area", d=svg.path(area))


def _draw_line(plot: _Plot, values: Sequence[Number | None], kind: str) -> Iterator[str]:
    """Draw a line that breaks where there is no number; a number without neighbours is a point."""
    kind = f"{kind} chart-fine" if plot.times > _MANY else kind
    for points in (_points(plot, run) for run in _list_runs(values)):
        if len(points) > 1:
            yield svg.element("path", class_=kind, d=svg.path(points))
        else:
            yield svg.element("circle", class_=kind, cx=points[0][0], cy=points[0][1], r=_DOT)


def _list_runs(values: Sequence[Number | None]) -> list[_Run]:
    runs: list[_Run] = [[]]
    for place, value in enumerate(values):
        if value is not None:
            runs[-1].append((place, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _draw_moving(plot: _Plot, first_moving: int) -> Iterator[str]:
    if first_moving >= plot.times:
        return
    left = plot.left if first_moving == 0 else (plot.x(first_moving - 1) + plot.x(first_moving)) / 2
    strokes = "".join(svg.path(stroke) for stroke in _hatch(left, plot.top, plot.right, plot.bottom))
    area = {"x": left, "y": plot.top, "width": plot.right - left, "height": plot.height}
    yield svg.element("rect", class_="chart-moving-area", **area)
    if strokes:
        yield svg.element("path", class_="chart-hatch", d=strokes)


def _points(plot: _Plot, run: _Run) -> list[tuple[float, float]]:
    if plot.times == 1 and plot.scale.ticks:  # a dot alone in a wide plot would not be seen: a single time is a level
        half = min(_LEVEL, plot.width / 3) / 2
        return [(plot.x(0) - half, plot.y(run[0][1])), (plot.x(0) + half, plot.y(run[0][1]))]
    return [(plot.x(place), plot.y(value)) for place, value in run]


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

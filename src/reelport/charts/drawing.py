"""Draws any chart, and says in words what it shows: for a page, or as a file, SVG or PNG."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from importlib.util import find_spec
from itertools import pairwise
from typing import TypedDict

from reelport.charts import svg
from reelport.charts.amounts import SHARES, Scale, choose_scale, fit_scale, format_full, list_numbers
from reelport.charts.chart_types import BarChart, Chart, LineChart, Number, Series, StackedShares, WorldMap, name_look
from reelport.charts.svg import FONTS, GAP, Picture, clean_words, cut_to_room, embed_picture, measure_text, write_file
from reelport.charts.time_axis import MOST_TICKS, describe_time, find_days, make_ticks
from reelport.language import N_, _, localize, ngettext
from reelport.wording import advise_extra

Write = Callable[[Number | None], str]  # writes a number as the tables beside a chart do
_MAY_CHANGE = N_("may still change")
_MOST_DESCRIBED = 6  # series or bars that a description names
# The widths that a chart for a page is drawn in; its stylesheet shows the one that suits the room it has.
NARROW, MEDIUM, WIDE = 360, 550, 840

_KINDS = {NARROW: "chart-narrow", MEDIUM: "chart-medium", WIDE: "chart-wide"}
_FILE_WIDTH = 760
_SCALE = 2
_WORD = (
    f'<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"><text y="16" font-family="{FONTS}">A</text></svg>'
)


def draw(chart: Chart, width: float) -> Picture:
    """Draw a chart in a width; where nothing has a number, a sentence says so."""
    description = describe_chart(chart)
    if not chart.numbers:
        return Picture(width, 40, (svg.text(description, 0, 24, class_="chart-name"),), chart.heading, description)
    match chart:
        case StackedShares():
            height, elements = _draw_shares(chart, width)
        case LineChart():
            height, elements = _draw_lines(chart, width)
        case WorldMap():
            height, elements = _draw_map(chart, width)
        case BarChart():
            height, elements = _draw_bars(chart, width)
    return Picture(width, height, tuple(elements), chart.heading, description)


def embed_chart(chart: Chart, write: Write | None = None) -> str:
    """Write a chart as a figure of HTML, with its notes as caption.

    It holds the chart in three widths, of which the stylesheet (`write_page_stylesheet`) shows one. A map has one
    picture for all widths.

    A chart over time carries what the page's script shows of each time. Numbers are written by `write`, as the page's
    tables have them; without it in full, with their unit.
    """
    if isinstance(chart, WorldMap) and chart.numbers:
        pictures = list(_embed_map(chart, write))
    else:
        pictures = [embed_picture(draw(chart, width), kind) for width, kind in _KINDS.items()]
    said = svg.element("p", svg.escape_words(describe_chart(chart)), class_="chart-says")
    notes = "".join(svg.element("p", svg.escape_words(note)) for note in _list_notes(chart))
    caption = svg.element("figcaption", notes) if notes else ""
    readings = write_readings(chart, write) if isinstance(chart, LineChart) else None
    inside = svg.element("div", *pictures, class_="chart-pictures")
    label = svg.clean_words(chart.heading)
    return svg.element("figure", said, inside, caption, class_="chart", aria_label=label, data_readings=readings)


def draw_file(chart: Chart) -> str:
    """Write a chart as an SVG file, with its heading and notes."""
    return write_file(draw(chart, _FILE_WIDTH), _list_notes(chart))


def _list_notes(chart: Chart) -> Sequence[str]:
    if isinstance(chart, LineChart):
        return [*chart.notes, *describe_moving(chart)]
    return [*chart.notes, *(_list_unplaced(chart) if isinstance(chart, WorldMap) else ())]


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


def describe_chart(chart: Chart) -> str:
    """Describe a chart: what it is of, and its extremes, or its first or largest numbers."""
    if not chart.numbers:
        has_rows = chart.times if isinstance(chart, LineChart) else chart.bars
        return _("There is no number to draw.") if has_rows else _("The report has no rows to draw.")
    if isinstance(chart, LineChart):
        return _describe_lines(chart)
    bars, many = list(chart.bars), len(chart.bars)
    if isinstance(chart, WorldMap):
        bars.sort(key=lambda each: -float(each.value or 0))
    named = [f"{bar.label}: {format_full(bar.value, chart.unit)}" for bar in bars[:_MOST_DESCRIBED]]
    if many > len(named):
        named.append(_("%(count)s more", count=many - len(named)))
    is_map = isinstance(chart, WorldMap)
    count = ngettext("%(n)s country", "%(n)s countries", many) if is_map else ngettext("%(n)s bar", "%(n)s bars", many)
    return f"{count}. {'; '.join(named)}."


def _describe_lines(chart: LineChart) -> str:
    first, last = describe_time(chart.times[0]), describe_time(chart.times[-1])
    said = [_("%(first)s to %(last)s.", first=first, last=last)]
    said += [_describe_series(each, chart.times, chart) for each in chart.series[:_MOST_DESCRIBED]]
    if (left := len(chart.series) - _MOST_DESCRIBED) > 0:
        said.append(ngettext("%(n)s more line.", "%(n)s more lines.", left))
    if chart.comparison is not None:
        times = chart.comparison_times or chart.times
        said.append(_("Compared with %(line)s", line=_describe_series(chart.comparison, times, chart)))
    return " ".join([*said, *describe_moving(chart)])


def describe_moving(chart: LineChart) -> list[str]:
    """Say from when on numbers may still change; nothing where none may."""
    place = chart.first_moving
    if place >= len(chart.times) or not chart.numbers:
        return []
    return [_("From %(time)s on, numbers may still change.", time=describe_time(chart.times[place]))]


def _describe_series(series: Series, times: Sequence[str], chart: LineChart) -> str:
    numbers = list_numbers(series.values)
    if not numbers:
        return _("%(name)s: no numbers.", name=series.name)
    lowest, highest, last = (
        f"{format_full(value, chart.unit)} ({describe_time(times[place])})"
        for place, value in (*(pick(numbers, key=lambda each: each[1]) for pick in (min, max)), numbers[-1])
    )
    ends = {"lowest": lowest, "highest": highest, "last": last}
    said = _("%(name)s: lowest %(lowest)s, highest %(highest)s, last %(last)s.", name=series.name, **ends)
    every, missing = len(series.values), len(series.values) - len(numbers)
    gaps = _("Missing: %(missing)s of %(every)s.", missing=missing, every=every)
    return f"{said} {gaps}" if missing else said


def write_readings(chart: LineChart, write: Write | None = None) -> str:
    """Write the readings of a chart as JSON, for the attribute `data-readings` of its figure.

    `times` are in words, `days` the first day of each, and `lasts` the last one where that is another. `lines` have a
    name, a look, and for each time a text and a number; a compared line has `times` of its own. From the place
    `settled` on the words `moving` are true.
    """
    write = write or partial(format_full, unit=chart.unit)
    days = [find_days(label, chart.grain) or ("", "") for label in chart.times]
    firsts, lasts = ([pair[end] for pair in days] for end in (0, 1))
    readings = {
        "times": _describe_times(chart.times),
        "days": firsts,
        **({} if firsts == lasts else {"lasts": lasts}),
        "settled": chart.first_moving,
        "moving": _(_MAY_CHANGE),
        "lines": _read_lines(chart, write),
    }
    return json.dumps(readings, ensure_ascii=False, separators=(",", ":"))


def _read_lines(chart: LineChart, write: Write) -> list[dict[str, object]]:
    looks = [*(name_look(place) for place in range(len(chart.series))), "chart-earlier"]
    wholes = chart.wholes if isinstance(chart, StackedShares) else [None] * len(chart.times)
    lines: list[dict[str, object]] = [
        {
            "name": clean_words(series.name),
            "look": look,
            "texts": [_write_share(value, whole, write) for value, whole in zip(series.values, wholes, strict=True)],
            "values": [value if value is None or isinstance(value, int) else float(value) for value in series.values],
        }
        for series, look in zip(chart.lines, looks, strict=False)
    ]
    if chart.comparison is not None:
        lines[-1]["times"] = _describe_times(chart.comparison_times)
    return lines


def _write_share(value: Number | None, whole: Number | None, write: Write) -> str:
    share = f" ({localize(f'{float(value) / float(whole):.1%}')})" if value is not None and whole else ""
    return f"{write(value)}{share}"


def _describe_times(labels: Iterable[str]) -> list[str]:
    return [clean_words(describe_time(label, with_weekday=True)) for label in labels]


_Run = list[tuple[int, Number]]  # numbers without a gap between them, each with its place

_NARROW = 560
_HEIGHTS = (190, 240)
_TICKS = (4, 5)  # of a narrow and of a wide chart: the plot's height, and ticks of amounts at most
_HEAD = 24  # room above a plot for its unit: also where there is none, so that charts side by side are alike
_AXIS = 26  # room below a plot for its times
_NAME_HEIGHT = 16  # the height of a name
_SAMPLE = 16  # the width of the piece of line beside a name
_RIGHT = 8.0  # room beside a plot
_HATCH = 7  # units between two strokes of a hatched area
_DOT = 3  # the radius of a point
_LEVEL = 120  # the width of a chart's only time
_MANY = 150  # with more times than this lines are fine


@dataclass(frozen=True, slots=True)
class _Plot:
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


def _draw_lines(chart: LineChart, width: float) -> tuple[float, list[str]]:
    kinds = [f"chart-line {name_look(place)}" for place in range(len(chart.series))]
    lines = [*zip([*kinds, "chart-line chart-earlier"], chart.lines, strict=False)]
    names = [(kind, each.name) for kind, each in lines] if len(lines) > 1 else []
    scale = choose_scale(chart.numbers, chart.unit, _TICKS[width >= _NARROW])
    plot, elements = _draw_frame(chart, names, scale, width)
    if len(chart.series) == 1:
        elements += _draw_areas(plot, chart.series[0].values)
    for kind, each in reversed(lines):
        elements += _draw_line(plot, each.values, kind)
    return plot.bottom + _AXIS, elements


def _draw_shares(chart: StackedShares, width: float) -> tuple[float, list[str]]:
    names = [(f"chart-key {name_look(place)}", each.name) for place, each in enumerate(chart.series)]
    plot, elements = _draw_frame(chart, names, SHARES, width)
    room = min(plot.width / plot.times, _LEVEL)
    room -= min(2.0, room / 5)
    ends = [0.0] * len(chart.times)
    for place, series in enumerate(chart.series):
        boxes = ""
        for at, (value, whole) in enumerate(zip(series.values, chart.wholes, strict=True)):
            if value and whole:
                start, ends[at] = ends[at], min(ends[at] + float(value) / float(whole), 1.0)
                left, right = plot.x(at) - room / 2, plot.x(at) + room / 2
                low, high = plot.y(start), plot.y(ends[at])
                boxes += svg.path([(left, low), (left, high), (right, high), (right, low)]) + "Z"
        elements.append(svg.element("path", class_=f"chart-share {name_look(place)}", d=boxes))
    elements += _draw_moving(plot, chart.first_moving)
    return plot.bottom + _AXIS, elements


def _draw_frame(
    chart: LineChart, names: Sequence[tuple[str, str]], scale: Scale, width: float
) -> tuple[_Plot, list[str]]:
    elements: list[str] = []
    x, y, row = 0.0, _NAME_HEIGHT / 2, _SAMPLE + GAP
    for kind, name in names:
        words = cut_to_room(name, width - row)
        room = row + measure_text(words)
        if x and x + room > width:
            x, y = 0.0, y + _NAME_HEIGHT
        elements.append(svg.element("path", class_=kind, d=svg.path([(x, y), (x + _SAMPLE, y)])))
        elements.append(svg.text(words, x + row, y + 4, class_="chart-name"))
        x += room + 2 * GAP
    top = (y + _NAME_HEIGHT / 2 + GAP if names else 0) + _HEAD
    bands = isinstance(chart, StackedShares)
    left = max(map(measure_text, scale.format_ticks().values())) + GAP
    height = _HEIGHTS[width >= _NARROW]
    plot = _Plot(left, top, width - left - _RIGHT, height, len(chart.times), scale, bands)
    if not bands:
        unit = scale.unit_beside(chart.heading)
        elements += [svg.text(unit, 0, top - 12, class_="chart-tick")] if unit else []
        elements += _draw_moving(plot, chart.first_moving)
    elements += _draw_amounts(plot)
    elements += _draw_times(plot, chart.times, chart.grain, width)
    return plot, elements


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


def _draw_amounts(plot: _Plot) -> Iterator[str]:
    ends = {"data_low": f"{plot.scale.low:.12g}", "data_high": f"{plot.scale.high:.12g}"}
    area = {"x": plot.left, "y": plot.top, "width": plot.width, "height": plot.height}
    yield svg.element("rect", class_="chart-plot", **area, **ends, data_bands="" if plot.bands else None)
    for tick, words in plot.scale.format_ticks().items():
        y = plot.y(tick)
        kind = "chart-base" if tick == 0 else "chart-grid"
        yield svg.element("path", class_=kind, d=svg.path([(plot.left, y), (plot.right, y)]))
        yield svg.text(words, plot.left - GAP, y + 4, class_="chart-tick", text_anchor="end")


def _draw_times(plot: _Plot, times: Sequence[str], grain: int, width: float) -> Iterator[str]:
    for most in range(MOST_TICKS, 0, -1):
        ticks = make_ticks(times, grain, most)
        halves = {place: measure_text(label) / 2 for place, label in ticks.items()}
        middles = {place: min(max(plot.x(place), half), width - half) for place, half in halves.items()}
        if all(middles[two] - middles[one] >= halves[one] + halves[two] + 2 * GAP for one, two in pairwise(ticks)):
            break
    for place, label in ticks.items():
        mark = svg.path([(plot.x(place), plot.bottom), (plot.x(place), plot.bottom + 4)])
        yield svg.element("path", class_="chart-base", d=mark)
        yield svg.text(label, middles[place], plot.bottom + 18, class_="chart-tick", text_anchor="middle")


def _draw_areas(plot: _Plot, values: Sequence[Number | None]) -> Iterator[str]:
    for run in _list_runs(values):
        points = _points(plot, run)
        area = [(points[0][0], plot.y(0)), *points, (points[-1][0], plot.y(0))]
        yield svg.element("path", class_="chart-area", d=svg.path(area))


def _draw_line(plot: _Plot, values: Sequence[Number | None], kind: str) -> Iterator[str]:
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


_NARROW_BARS = 480  # below this width names are above their bars, otherwise beside them
_BAR = 14
_ROWS = (42, 24)  # the height of a row whose name is above its bar, and of one whose name is beside it
_NAME = 15  # room for a name above its bar
_NAMES = 0.4  # the share of a wide chart's width that names may take
_NONE = "-"


def _draw_bars(chart: BarChart, width: float) -> tuple[float, list[str]]:
    scale = fit_scale(chart.numbers, chart.unit)
    numbers = [_NONE if bar.value is None else scale.format(bar.value) for bar in chart.bars]
    is_wide = width >= _NARROW_BARS
    names = min(max(measure_text(bar.label) for bar in chart.bars), width * _NAMES) + GAP if is_wide else 0
    room = width - names - max(map(measure_text, numbers)) - GAP
    elements, top = [], 4.0
    if unit := scale.unit_beside(chart.heading):
        elements, top = [svg.text(cut_to_room(unit, room), names, 12, class_="chart-tick")], 22.0
    for bar, number in zip(chart.bars, numbers, strict=True):
        y = top if is_wide else top + _NAME
        zero, end = (names + room * scale.place(value) for value in (0, bar.value or 0))
        content = [svg.tooltip(f"{bar.label}: {format_full(bar.value, chart.unit)}")]
        if is_wide:
            name = cut_to_room(bar.label, names - GAP)
            content.append(svg.text(name, names - GAP, y + 16, class_="chart-name", text_anchor="end"))
        else:
            content.append(svg.text(cut_to_room(bar.label, room), 0, y - 1, class_="chart-name"))
        if bar.value is not None:
            box = {"x": min(zero, end), "y": y + 5, "width": abs(end - zero), "height": _BAR}
            content.append(svg.element("rect", class_="chart-bar", **box))
        content.append(svg.text(number, max(zero, end) + GAP, y + 16, class_="chart-tick"))
        elements.append(svg.element("g", *content))
        top += _ROWS[is_wide]
    return top, elements


def draw_inline_bar(value: float, largest: float) -> str:
    """Draw a bar for a cell of a table, as wide as its share of the largest; for eyes alone."""
    share = max(0.0, min(value / largest, 1.0)) if largest > 0 else 0.0
    bar = svg.element("rect", class_="chart-bar", width=f"{svg.format_place(share * 100)}%", height="100%")
    return svg.element("svg", bar, class_="chart-inline-bar", aria_hidden="true")


_MOST_LIMITS = 4  # between colours
_POINT = 4  # the radius of a country that is too small for an area
_BOX, _BOX_HEIGHT = 42, 10  # a colour of the legend
_LEGEND_HEIGHT = 32
_NAMED = 5  # countries beside the map that are named


class _World(TypedDict):
    """Outlines (commands of paths) and places of small countries, by code, in units of the map."""

    width: float
    height: float
    areas: dict[str, str]
    points: dict[str, tuple[float, float]]


@cache
def _load_world() -> _World:
    world: _World = json.loads(resources.files("reelport.charts").joinpath("world.json").read_text("utf-8"))
    return world


def _draw_map(chart: WorldMap, width: float) -> tuple[float, list[str]]:
    world = _load_world()
    scale = width / world["width"]
    lands = svg.element("g", *_draw_lands(chart), transform=f"scale({scale:.4f})")
    top = world["height"] * scale + 12
    legend = svg.element("g", *_draw_legend(chart), transform=f"translate(0 {svg.format_place(top)})")
    return top + _LEGEND_HEIGHT, [lands, legend]


def _embed_map(chart: WorldMap, write: Write | None) -> Iterator[str]:
    world = _load_world()
    yield embed_picture(Picture(world["width"], world["height"], tuple(_draw_lands(chart, write)), "", ""), "chart-map")
    size = {"width": (_MOST_LIMITS + 3) * _BOX, "height": _LEGEND_HEIGHT}
    yield svg.element("svg", *_draw_legend(chart), class_="chart-legend", aria_hidden="true", focusable="false", **size)


def _list_unplaced(chart: WorldMap) -> list[str]:
    world = _load_world()
    places = world["areas"].keys() | world["points"].keys()
    beside = [each.label for each in chart.bars if each.value is not None and each.code not in places]
    more = ["…"] if len(beside) > _NAMED else []
    return [_("Not on the map: %(names)s", names=", ".join([*beside[:_NAMED], *more]))] if beside else []


def _choose_limits(chart: WorldMap, scale: Scale) -> list[float]:
    """Choose the numbers from which on a country has the next colour.

    Each is about thrice the one before. Most views come from few countries: by equal steps all others would look alike.
    """
    positive = [float(number) / scale.divisor for number in chart.numbers if number > 0]
    steps = (step * 10.0**power for power in range(18, -10, -1) for step in (3, 1))
    limits = [step for step in steps if positive and min(positive) < step <= max(positive)]
    return [limit * scale.divisor for limit in reversed(limits[:_MOST_LIMITS])]


def _draw_lands(chart: WorldMap, write: Write | None = None) -> Iterator[str]:
    """Draw all countries; those without a number above 0 are one area, without names."""
    write = write or partial(format_full, unit=chart.unit)
    world, limits = _load_world(), _choose_limits(chart, fit_scale(chart.numbers, chart.unit))
    known = {each.code: each for each in chart.bars if each.value is not None and each.value > 0}
    rest = "".join(path for code, path in world["areas"].items() if code not in known)
    yield svg.element("path", class_="chart-land", d=rest)
    for code, country in known.items():
        said = svg.tooltip(f"{country.label}: {write(country.value)}")
        look = f"chart-land chart-m{sum(float(country.value or 0) >= limit for limit in limits)}"
        if code in world["areas"]:
            yield svg.element("path", said, class_=look, d=world["areas"][code])
        elif code in world["points"]:
            x, y = world["points"][code]
            yield svg.element("circle", said, class_=look, cx=x, cy=y, r=_POINT)


def _draw_legend(chart: WorldMap) -> Iterator[str]:
    scale = fit_scale(chart.numbers, chart.unit)
    limits = _choose_limits(chart, scale)
    for place in range(len(limits) + 1):
        yield svg.element("rect", class_=f"chart-m{place}", x=place * (_BOX + 2), y=0, width=_BOX, height=_BOX_HEIGHT)
    for place, limit in enumerate(limits, start=1):
        words = scale.format(limit)
        x = max(place * (_BOX + 2) - 1, measure_text(words) / 2)
        yield svg.text(words, x, 26, class_="chart-tick", text_anchor="middle")
    if unit := scale.unit_beside(chart.heading):
        yield svg.text(unit, (len(limits) + 1) * (_BOX + 2) + GAP, 10, class_="chart-tick")

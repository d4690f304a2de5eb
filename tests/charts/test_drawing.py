"""Charts as SVG: well formed whatever they show, the world's countries, and a rule for every class."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from importlib import resources
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelport.catalog import Unit
from reelport.charts.chart_types import Bar, BarChart, Chart, LineChart, Series, StackedShares, WorldMap
from reelport.charts.drawing import (
    MEDIUM,
    NARROW,
    WIDE,
    draw,
    draw_file,
    draw_inline_bar,
    draw_sparkline,
    embed_chart,
    write_readings,
)
from reelport.charts.svg import format_place, measure_text, write_file_stylesheet, write_page_stylesheet
from reelport.facts.allowed_values import COUNTRIES

SVG = "{http://www.w3.org/2000/svg}"
WORDS = st.text(
    st.sampled_from("ab <>&\"'🎬👨\u200d今אخ\x00\x1b\u202e\u2067\ufffe\ud800") | st.characters(), max_size=60
)
NUMBERS = st.none() | st.integers(-(10**18), 10**18) | st.decimals(-(10**9), 10**9, places=4) | st.just(0)
UNITS = st.none() | st.sampled_from(list(Unit))


@st.composite
def line_charts(draw_from: st.DrawFn) -> LineChart:
    """Charts of one to three lines over up to 40 days, some of them compared."""
    times = draw_days(draw_from)
    return LineChart(
        draw_from(WORDS),
        times,
        draw_series(draw_from, times),
        draw_from(UNITS),
        comparison=draw_from(st.none() | st.builds(Series, WORDS, values_of(times))),
        settled=draw_from(st.none() | st.integers(0, 40)),
        notes=tuple(draw_from(st.lists(WORDS, max_size=2))),
    )


@st.composite
def stacked_shares(draw_from: st.DrawFn) -> StackedShares:
    """Shares of one to three series over up to 40 days."""
    times = draw_days(draw_from)
    positive = st.lists(st.none() | st.integers(0, 10**18), min_size=len(times), max_size=len(times)).map(tuple)
    series = draw_from(st.lists(st.builds(Series, WORDS, positive), min_size=1, max_size=3).map(tuple))
    return StackedShares(
        draw_from(WORDS), times, series, draw_from(UNITS), settled=draw_from(st.none() | st.integers(0, 40))
    )


def draw_days(draw_from: st.DrawFn) -> tuple[str, ...]:
    """Up to 40 days in a row."""
    first = draw_from(st.dates(date(2020, 1, 1), date(2030, 1, 1)))
    return tuple(str(first + timedelta(days=n)) for n in range(draw_from(st.integers(0, 40))))


def draw_series(draw_from: st.DrawFn, times: tuple[str, ...]) -> tuple[Series, ...]:
    """One to three lines over these times."""
    return tuple(draw_from(st.lists(st.builds(Series, WORDS, values_of(times)), min_size=1, max_size=3)))


def values_of(times: tuple[str, ...]) -> st.SearchStrategy[tuple[int | Decimal | None, ...]]:
    """A number or none for each time."""
    return st.lists(NUMBERS, min_size=len(times), max_size=len(times)).map(tuple)


BARS = st.lists(st.builds(Bar, WORDS, NUMBERS), max_size=9).map(tuple)
COUNTRY = st.builds(Bar, WORDS, NUMBERS, st.sampled_from(["FR", "RE", "SG", "RU", "", "ZZ"]))
MAPS = st.builds(WorldMap, WORDS, st.lists(COUNTRY, max_size=6, unique_by=lambda each: each.code).map(tuple), UNITS)
CHARTS = line_charts() | stacked_shares() | st.builds(BarChart, WORDS, BARS, UNITS)


@given(CHARTS | MAPS)
def test_every_chart_is_well_formed_and_the_same_each_time(chart: Chart) -> None:
    """An XML parser reads each form; no number of it is infinite or none; the bytes repeat."""
    for form in (draw_file, embed_chart):
        written = form(chart)
        root = parse(written)
        numbers = [each.get(name, "0") for each in root.iter() for name in ("x", "y", "width", "height", "d")]
        assert not re.search("nan|inf|None|e[+-]", " ".join(numbers))
        assert form(chart) == written


@given(CHARTS, st.sampled_from([NARROW, MEDIUM, WIDE]))
def test_all_that_is_drawn_lies_within_the_picture(chart: Chart, width: float) -> None:
    """Texts, as wide as they may be, and marks: none is cut by the picture's edge, in any width."""
    picture = draw(chart, width)
    root = parse(f"<svg>{''.join(picture.elements)}</svg>")
    for left, top, right, bottom in boxes_of(root, 0, 0):
        assert -0.1 <= left <= right <= picture.width + 0.1
        assert -0.1 <= top <= bottom <= picture.height + 0.1


@given(CHARTS, st.sampled_from([NARROW, MEDIUM, WIDE]))
def test_no_two_texts_lie_over_each_other(chart: Chart, width: float) -> None:
    """Wherever lines end and however long names are."""
    root = parse(f"<svg>{''.join(draw(chart, width).elements)}</svg>")
    boxes = [box for each, box in texts_of(root, 0, 0) if each.text]
    for place, one in enumerate(boxes):
        assert not [two for two in boxes[:place] if overlap(one, two)]


@given(stacked_shares())
def test_shares_come_to_a_hundred_percent(chart: StackedShares) -> None:
    """Each time's bars fill the plot from below without a gap, as high as their part; and so say the texts."""
    root = parse(f"<svg>{''.join(draw(chart, WIDE).elements)}</svg>")
    boxes = [re.findall(r"[\d.]+,[\d.]+", bar) for each in bars_of(root) for bar in each.split("Z") if bar]
    heights: dict[str, list[tuple[float, float]]] = {}
    for (x, low), (_, high), *_ in ([tuple(point.split(",")) for point in box] for box in boxes):
        heights.setdefault(x, []).append((float(low), float(high)))
    assert len(heights) == sum(whole > 0 for whole in chart.wholes)
    for parts in heights.values():
        ordered = sorted(parts, reverse=True)
        assert ordered[0][0] - ordered[-1][1] == pytest.approx(240, abs=0.2)
        assert all(one[1] == pytest.approx(two[0], abs=0.11) for one, two in pairwise(ordered))
    lines = json.loads(write_readings(chart))["lines"]
    for place, whole in enumerate(chart.wholes):
        said = [float(found[1]) for line in lines if (found := re.search(r"\(([\d.]+)%\)$", line["texts"][place]))]
        assert not whole or sum(said) == pytest.approx(100, abs=0.2)


def bars_of(root: ET.Element) -> list[str]:
    """The commands of each series' bars."""
    return [each.get("d", "") for each in root.iterfind("path") if (each.get("class") or "").startswith("chart-share ")]


@given(st.lists(NUMBERS, max_size=40))
def test_a_sparkline_shows_each_number_and_no_other(values: list[int | Decimal | None]) -> None:
    """It stays inside its box, breaks at gaps, and ends with the last number; without one nothing is drawn."""
    root = parse(draw_sparkline(values, 160, 36))
    for left, top, right, bottom in boxes_of(root, 0, 0):
        assert 0 <= left <= right <= 160
        assert 0 <= top <= bottom <= 36
    areas = " ".join(each.get("d", "") for each in root.iterfind("path[@class='chart-area']"))
    strokes = " ".join(each.get("d", "") for each in root.iterfind("path") if each.get("class") != "chart-area")
    numbers = [place for place, value in enumerate(values) if value is not None]
    across = [3 + 154 * place / (len(values) - 1) if len(values) > 1 else 80 for place in numbers]
    for drawn in (areas, strokes):
        assert set(re.findall(r"([\d.]+),", drawn)) == set(map(format_place, across))


def parse(written: str) -> ET.Element:
    """What an XML parser makes of a text."""
    return ET.fromstring(written)  # noqa: S314 - we wrote it


def overlap(one: tuple[float, ...], two: tuple[float, ...]) -> bool:
    """Whether two boxes share more than an edge."""
    return min(one[2], two[2]) - max(one[0], two[0]) > 0.2 and min(one[3], two[3]) - max(one[1], two[1]) > 0.2


def texts_of(element: ET.Element, x: float, y: float) -> Iterator[tuple[ET.Element, tuple[float, ...]]]:
    """Every text under an element, with its box: left, top, right, bottom."""
    x, y = moved(element, x, y)
    for child in element:
        if child.tag == "text":
            room = measure_text(child.text or "")
            start = (
                x + float(child.get("x", "0")) - {"middle": room / 2, "end": room}.get(child.get("text-anchor", ""), 0)
            )
            base = y + float(child.get("y", "0"))
            yield child, (start, base - 10, start + room, base + 3)
        yield from texts_of(child, x, y)


def boxes_of(element: ET.Element, x: float, y: float) -> Iterator[tuple[float, ...]]:
    """The box of every text and mark under an element."""
    yield from (box for _, box in texts_of(element, x, y))
    yield from marks_of(element, x, y)


def marks_of(element: ET.Element, x: float, y: float) -> Iterator[tuple[float, ...]]:
    """The box of every mark under an element."""
    x, y = moved(element, x, y)
    for child in element:
        match child.tag:
            case "path":
                for point in re.findall(r"(-?[\d.]+),(-?[\d.]+)", child.get("d", "")):
                    yield (x + float(point[0]), y + float(point[1])) * 2
            case "rect" | "svg":
                left, top, width, height = (float(child.get(name, "0")) for name in ("x", "y", "width", "height"))
                yield x + left, y + top, x + left + width, y + top + height
            case "circle":
                yield (x + float(child.get("cx", "0")), y + float(child.get("cy", "0"))) * 2
        yield from marks_of(child, x, y)


def moved(element: ET.Element, x: float, y: float) -> tuple[float, float]:
    """Where an element's content begins."""
    found = re.fullmatch(r"translate\((\S+) (\S+)\)", element.get("transform", ""))
    return (x + float(found[1]), y + float(found[2])) if found else (x, y)


def test_a_title_of_script_is_text() -> None:
    """Markup in a heading, a label, a name or a note reaches no parser as markup, and no control character is left."""
    words = "</title><script>alert(1)</script>\x00\x1b[31m\u202e"
    chart = BarChart(words, (Bar(words, 5),), None, (words,))
    lines = LineChart(words, ("2026-07-01",), (Series(words, (1,)), Series(words, (2,))), notes=(words,))
    for written in (draw_file(chart), embed_chart(chart), draw_file(lines), embed_chart(lines)):
        assert "<script" not in written
        assert not re.search("[\x00-\x1f\u202e]", written.replace("\n", ""))


def test_a_chart_of_a_page_has_no_style_and_no_ids() -> None:
    """A page forbids styles that stand in it, and shows the same chart more than once."""
    written = embed_chart(
        LineChart("Views by day", ("2026-07-01", "2026-07-02"), (Series("Views", (1, 2)),), settled=1)
    )
    assert not re.search(r'style|\bid=|<script|url\(|xmlns|"on', written)


def test_a_chart_says_in_words_what_it_shows() -> None:
    """Who doesn't see a chart hears its title, its range and its extremes, once for the pictures of all widths."""
    times = ("2026-07-01", "2026-07-02", "2026-07-03", "2026-07-04")
    chart = LineChart("Views by day", times, (Series("Views", (7, None, 12345, 9)),), Unit.VIEWS, settled=3)
    figure = parse(embed_chart(chart))
    assert {picture.get("aria-hidden") for picture in figure.findall("div/svg")} == {"true"}
    assert figure.get("aria-label") == "Views by day"
    assert figure.findtext("p") == (
        "1 Jul 2026 to 4 Jul 2026. Views: lowest 7 views (1 Jul 2026), highest 12,345 views (3 Jul 2026), "
        "last 9 views (4 Jul 2026). Missing: 1 of 4. From 4 Jul 2026 on, numbers may still change."
    )


def test_a_chart_without_numbers_says_of_none_that_it_may_change() -> None:
    """There is nothing that could."""
    chart = LineChart("Size", ("2026-07-01", "2026-07-02"), (Series("size", (None, None)),), settled=1)
    figure = embed_chart(chart)
    assert "There is no number to draw." in figure
    assert "numbers may still change" not in figure


def test_times_of_another_vendor_fit_too() -> None:
    """What is no time is drawn at its place, cut."""
    times = ("n/a", "x" * 300, "2026-07-01", "2026-13-45")
    chart = LineChart("Views", times, (Series("Views", (1, 2, 3, 4)),), settled=2)
    for width in (NARROW, WIDE):
        picture = draw(chart, width)
        root = parse(f"<svg>{''.join(picture.elements)}</svg>")
        assert all(0 <= left <= right <= width for left, _, right, _ in boxes_of(root, 0, 0))


WORLD = json.loads(resources.files("reelport.charts").joinpath("world.json").read_text("utf-8"))
UNINHABITED = {"AQ", "BV", "GS", "HM", "TF", "UM"}
CODES = sorted({*WORLD["areas"], *WORLD["points"]})


def test_every_country_has_its_place() -> None:
    """An area or a point within the map, but for where nobody lives."""
    assert set(COUNTRIES) - set(CODES) == UNINHABITED
    assert set(CODES) <= set(COUNTRIES)
    for code, path in WORLD["areas"].items():
        for start, steps in re.findall(r"M(\d+ \d+)l([^z]*)z", path):
            x, y = map(int, start.split())
            numbers = [int(each) for each in re.findall(r"-?\d+", steps)]
            for dx, dy in zip(numbers[::2], numbers[1::2], strict=True):
                x, y = x + dx, y + dy
                assert -4 <= x <= WORLD["width"], code
                assert 0 <= y <= WORLD["height"] + 1, code
    assert all(0 <= x <= WORLD["width"] and 0 <= y <= WORLD["height"] for x, y in WORLD["points"].values())


@given(st.dictionaries(st.sampled_from(CODES), st.integers(1, 10**12), min_size=1, max_size=30))
def test_a_larger_number_is_never_lighter(values: dict[str, int]) -> None:
    """Each country has one colour and says its number; each colour of the legend is some country's."""
    chart = WorldMap("Views", tuple(Bar(code, value, code) for code, value in values.items()), Unit.VIEWS)
    drawn = embed_chart(chart, lambda value: f"={value}")
    said = re.findall(r'class="chart-land chart-m(\d)"[^>]*><title>(\w\w): =(\d+)</title>', drawn)
    assert {code: int(value) for _, code, value in said} == values
    colours = [int(colour) for colour, _, value in sorted(said, key=lambda each: int(each[2]))]
    assert all(one <= two for one, two in pairwise(colours))
    assert {colour for colour, _, _ in said} <= set(re.findall(r'<rect class="chart-m(\d)"', drawn))


def test_what_no_map_has_is_named_below_it() -> None:
    """An empty or unknown code; a country without a number is neither there nor below."""
    countries = (Bar("France", 5, "FR"), Bar("Unknown", 3), Bar("Germany", None, "DE"))
    for drawn in (embed_chart(WorldMap("Views", countries)), draw_file(WorldMap("Views", countries))):
        assert "Not on the map: Unknown<" in drawn
        assert "<title>Germany" not in drawn


def test_a_map_of_nothing_says_so() -> None:
    """A sentence in its place."""
    assert "There is no number to draw." in embed_chart(WorldMap("Views", (Bar("France", None, "FR"),)))
    assert "The report has no rows to draw." in embed_chart(WorldMap("Views", ()))


TIMES = tuple(f"2026-07-{day:02}" for day in range(1, 10))
SERIES = tuple(Series(f"line {n}", tuple(range(n, n + 9))) for n in range(6))
STYLED = (
    LineChart("Views", TIMES, SERIES, settled=7, comparison=Series("before", tuple(range(9))), notes=("a note",)),
    StackedShares("Views", TIMES, SERIES, settled=7),
    BarChart("Views", (Bar("a", 5),)),
    WorldMap("Views", tuple(Bar(code, 3**place, code) for place, code in enumerate(["FR", "DE", "SG", "US", "BR"]))),
)


def test_every_class_has_a_rule() -> None:
    """In the page's styles and in a file's own."""
    page = [
        *(embed_chart(chart) for chart in STYLED),
        draw_inline_bar(1, 2),
        draw_sparkline((1, None, 2, 3)),
    ]
    for drawn, styles in (
        (page, write_page_stylesheet()),
        ([draw_file(chart) for chart in STYLED], write_file_stylesheet()),
    ):
        used = {name for text in drawn for names in re.findall(r'class="([^"]*)"', text) for name in names.split()}
        assert not {name for name in used if not re.search(rf"\.{name}\b(?!-)", styles)}


def test_styles_of_a_file_need_no_page() -> None:
    """No custom properties and no conditions: renderers of pictures know neither. Nothing is fetched by either."""
    assert not re.search(r"var\(|@|url\(", write_file_stylesheet())
    assert not re.search(r"@import|url\(|http", write_page_stylesheet())


@pytest.mark.parametrize(("scheme", "paper"), [("light", "#ffffff"), ("dark", "#12161d")])
def test_every_line_stands_out_from_the_paper(scheme: str, paper: str) -> None:
    """By 3:1, as WCAG wants of graphics; texts by 4.5:1."""
    light, dark = write_page_stylesheet().split("@media (prefers-color-scheme:dark)")[:2]
    found = dict(re.findall(r"--chart-(\w+):(?:var\([\w-]+,)?(#\w{6})", light if scheme == "light" else dark))
    assert {
        name for name in found if re.fullmatch(r"s\d|base|earlier", name) and contrast(found[name], paper) < 3
    } == set()
    assert min(contrast(found[name], paper) for name in ("ink", "soft")) >= 4.5


def test_both_schemes_have_each_colour() -> None:
    """Those that rules name, and no other, each with the same property of the page in both."""
    styles = write_page_stylesheet()
    light, dark = (
        dict(re.findall(r"--chart-(\w+):(?:var\((--\w+),)?#\w{6}", part))
        for part in styles.split("@media (prefers-color-scheme:dark)")
    )
    assert light == dark
    assert light.keys() == set(re.findall(r"var\(--chart-(\w+)\)", styles))


def test_a_file_is_read_on_white() -> None:
    """Its texts and lines have the colours of the light scheme, whatever scheme its reader has."""
    rules = dict(re.findall(r"\.chart-(heading|note|s\d)\{(?:fill|color):(#\w{6})", write_file_stylesheet()))
    assert len(rules) == 8
    assert min(contrast(colour, "#ffffff") for name, colour in rules.items() if name in {"heading", "note"}) >= 4.5
    assert min(contrast(colour, "#ffffff") for colour in rules.values()) >= 3


def test_lines_are_told_apart_without_their_colours() -> None:
    """Each has a dash of its own, and so has what it is compared with."""
    dashes = re.findall(r"\.chart-(?:s\d|earlier)\{[^}]*stroke-dasharray:([^;}]*)", write_file_stylesheet())
    assert len(dashes) == len(set(dashes)) == 7


def contrast(one: str, two: str) -> float:
    """The contrast of two colours, by WCAG."""
    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """How light a colour is, from 0 to 1."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

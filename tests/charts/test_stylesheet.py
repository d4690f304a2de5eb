"""Styles of charts: every class that is drawn has a rule, and every line can be seen and told apart."""

from __future__ import annotations

import re

import pytest

from reelport.charts.chart_types import Bar, BarChart, LineChart, Series, StackedShares, WorldMap
from reelport.charts.drawing import draw_file, draw_inline_bar, draw_sparkline, embed_chart
from reelport.charts.stylesheet import write_file_stylesheet, write_page_stylesheet

TIMES = tuple(f"2026-07-{day:02}" for day in range(1, 10))
SERIES = tuple(Series(f"line {n}", tuple(range(n, n + 9))) for n in range(6))
CHARTS = (
    LineChart("Views", TIMES, SERIES, settled=7, comparison=Series("before", tuple(range(9))), notes=("a note",)),
    StackedShares("Views", TIMES, SERIES, settled=7),
    BarChart("Views", (Bar("a", 5),)),
    WorldMap("Views", tuple(Bar(code, 3**place, code) for place, code in enumerate(["FR", "DE", "SG", "US", "BR"]))),
)


def test_every_class_has_a_rule() -> None:
    """In the page's styles and in a file's own."""
    page = [
        *(embed_chart(chart) for chart in CHARTS),
        draw_inline_bar(1, 2),
        draw_sparkline((1, None, 2, 3)),
    ]
    for drawn, styles in (
        (page, write_page_stylesheet()),
        ([draw_file(chart) for chart in CHARTS], write_file_stylesheet()),
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

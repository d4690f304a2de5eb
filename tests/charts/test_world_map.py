"""Maps: every country that facts may name has its place, and its colour and words tell its number."""

from __future__ import annotations

import json
import re
from importlib import resources
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from reelport.catalog import Unit
from reelport.charts.chart_types import Bar, WorldMap
from reelport.charts.drawing import draw_file, embed_chart
from reelport.facts.tables import COUNTRIES

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

"""Draws a map of the world: the larger a country's number, the stronger its colour."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache, partial
from importlib import resources
from typing import TypedDict

from reelport.charts import svg
from reelport.charts.amounts import Scale, fit_scale, format_full
from reelport.charts.chart_labels import measure_text
from reelport.charts.chart_types import WorldMap
from reelport.charts.crosshair import Write
from reelport.charts.sentences import describe_countries, explain_empty
from reelport.charts.svg import GAP, Picture, draw_sentence
from reelport.language import _

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


def draw_world_map(chart: WorldMap, width: float) -> Picture:
    """Draw a map with its legend; where nothing has a number, a sentence says so."""
    if not _has_numbers(chart):
        return draw_sentence(chart.heading, explain_empty(chart.countries), width)
    world = _load_world()
    scale = width / world["width"]
    lands = svg.element("g", *_draw_lands(chart), transform=f"scale({scale:.4f})")
    top = world["height"] * scale + 12
    legend = svg.element("g", *_draw_legend(chart), transform=f"translate(0 {svg.format_place(top)})")
    return Picture(width, top + _LEGEND_HEIGHT, (lands, legend), chart.heading, describe_countries(chart))


def embed_world_map(chart: WorldMap, write: Write | None = None) -> str:
    """Write a map for a page: a picture for all widths, and its legend in letters of one size."""
    if not _has_numbers(chart):
        return svg.embed_picture(draw_world_map(chart, 340))
    world, legend = _load_world(), tuple(_draw_legend(chart))
    picture = Picture(world["width"], world["height"], tuple(_draw_lands(chart, write)), "", "")
    size = {"width": (_MOST_LIMITS + 3) * _BOX, "height": _LEGEND_HEIGHT}
    return svg.embed_picture(picture, "chart-map") + svg.element(
        "svg", *legend, class_="chart-legend", aria_hidden="true", focusable="false", **size
    )


def list_unplaced(chart: WorldMap) -> list[str]:
    """Name the countries with numbers that the map doesn't have; nothing where it has all."""
    world = _load_world()
    places = world["areas"].keys() | world["points"].keys()
    beside = [each.name for each in chart.countries if each.value is not None and each.code not in places]
    more = ["…"] if len(beside) > _NAMED else []
    return [_("Not on the map: %(names)s", names=", ".join([*beside[:_NAMED], *more]))] if beside else []


def _has_numbers(chart: WorldMap) -> bool:
    return any(country.value is not None for country in chart.countries)


def choose_limits(chart: WorldMap, scale: Scale) -> list[float]:
    """Choose the numbers from which on a country has the next colour.

    Each is about thrice the one before. Most views come from few countries: by equal steps all others would look alike.
    """
    numbers = [float(country.value) / scale.divisor for country in chart.countries if country.value]
    positive = [number for number in numbers if number > 0]
    steps = (step * 10.0**power for power in range(18, -10, -1) for step in (3, 1))
    limits = [step for step in steps if positive and min(positive) < step <= max(positive)]
    return [limit * scale.divisor for limit in reversed(limits[:_MOST_LIMITS])]


def _measure(chart: WorldMap) -> Scale:
    return fit_scale([country.value for country in chart.countries], chart.unit)


def _draw_lands(chart: WorldMap, write: Write | None = None) -> Iterator[str]:
    """Draw all countries; those without a number above 0 are one area, without names."""
    write = write or partial(format_full, unit=chart.unit)
    world, limits = _load_world(), choose_limits(chart, _measure(chart))
    known = {each.code: each for each in chart.countries if each.value is not None and each.value > 0}
    rest = "".join(path for code, path in world["areas"].items() if code not in known)
    yield svg.element("path", class_="chart-land", d=rest)
    for code, country in known.items():
        said = svg.tooltip(f"{country.name}: {write(country.value)}")
        look = f"chart-land chart-m{sum(float(country.value or 0) >= limit for limit in limits)}"
        if code in world["areas"]:
            yield svg.element("path", said, class_=look, d=world["areas"][code])
        elif code in world["points"]:
            x, y = world["points"][code]
            yield svg.element("circle", said, class_=look, cx=x, cy=y, r=_POINT)


def _draw_legend(chart: WorldMap) -> Iterator[str]:
    scale = _measure(chart)
    limits = choose_limits(chart, scale)
    for place in range(len(limits) + 1):
        yield svg.element("rect", class_=f"chart-m{place}", x=place * (_BOX + 2), y=0, width=_BOX, height=_BOX_HEIGHT)
    for place, limit in enumerate(limits, start=1):
        words = scale.format(limit)
        x = max(place * (_BOX + 2) - 1, measure_text(words) / 2)
        yield svg.text(words, x, 26, class_="chart-tick", text_anchor="middle")
    if unit := scale.unit_beside(chart.heading):
        yield svg.text(unit, (len(limits) + 1) * (_BOX + 2) + GAP, 10, class_="chart-tick")

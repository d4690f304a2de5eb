"""CPU of the explorer's views from the facts and from rollups, in turns: `python -m benchmarks.explore_rollups ROWS`.

Each view is computed in this process both ways, its rows compared, and none kept from one way for the other. CPU says
more than the clock where others use the machine.
"""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from itertools import islice
from statistics import mean
from urllib.parse import parse_qsl, urlsplit

from benchmarks.explore import views
from benchmarks.facts import BIG_CHANNEL, DAYS, START, Facts
from benchmarks.view_rollups import build
from reelport.catalog import Dimension, Metric
from reelport.engine.tenant import Tenant
from reelport.facts.log.freshness import Freshness
from reelport.server.explore.numbers import OverBudget
from reelport.server.explore.view import View
from reelport.server.explore.view_engine import Part, Rows, ViewEngine
from reelport.server.explore.view_parameters import Defaults, parse_view
from reelport.server.settings import read_settings

_LAST = START + timedelta(days=DAYS - 1)
_DEFAULTS = Defaults((Metric.VIEWS,), (Dimension.VIDEO_ID,), {"plays": Freshness("plays", _LAST, None)}, _LAST)
_MINE = Tenant(frozenset({BIG_CHANNEL}))


def compute(engine: ViewEngine, view: View) -> tuple[dict[Part, Rows], int, float, float]:
    """Compute a view: the rows of its parts, the rows of facts or rollups that they read, CPU to plan and to run."""
    began = time.process_time()
    planned = engine.plan(view, _MINE)
    compiled = time.process_time()
    session, found = engine.open_session(), dict[Part, Rows]()
    for parts in engine.group(planned):
        found |= {part: rows for part, rows in engine.run(session, parts).items() if not isinstance(rows, OverBudget)}
    session.close()
    ended = time.process_time()
    read = sum(choice.rows for each in planned.values() for choice in each.aggregator.choices)
    return found, read, compiled - began, ended - compiled


def run(rows: int, number: int) -> None:
    """Measure so many views both ways, and print the means of each kind."""
    facts = Facts(rows)
    facts.ready()
    build(facts.data / "facts")
    engines = {each: ViewEngine(read_settings(data=facts.data, rollups=each)) for each in ("off", "on")}
    spent: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    for kind, address in islice(views(1), number + 5):
        view = parse_view(parse_qsl(urlsplit(address).query), _DEFAULTS).view
        outcomes = {way: compute(engine, view) for way, engine in engines.items()}
        off, on = ({part: sorted(found, key=str) for part, found in each[0].items()} for each in outcomes.values())
        if off != on:
            raise SystemExit(f"other numbers: {address}")
        for way, (_, read, compiled, ran) in outcomes.items():
            for name in (kind, "all"):
                spent.setdefault(name, {}).setdefault(way, []).append((read, compiled, ran))
    print("| views | number | from | rows read | compile, ms of CPU | run, ms of CPU | times |")
    print("|---|---|---|---|---|---|---|")
    for kind, ways in sorted(spent.items()):
        plain = mean(sum(each[1:]) for each in ways["off"])
        for way, costs in ways.items():
            means = [mean(each[place] for each in costs) for place in range(3)]
            numbers = f"{means[0]:,.0f} | {means[1] * 1000:.1f} | {means[2] * 1000:.1f} | {sum(means[1:]) / plain:.2f}"
            print(f"| {kind} | {len(costs)} | {'rollups' if way == 'on' else 'facts'} | {numbers} |")
    for engine in engines.values():
        engine.close()


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100)  # noqa: PLR2004 - the second argument

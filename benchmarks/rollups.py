"""Reports from rollups beside those from the facts, in turns: `python -m benchmarks.rollups ROWS [TIMES]`."""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from statistics import median

from benchmarks.facts import BIG_CHANNEL, CHANNELS, START, Facts
from reelport.engine.aggregation import Aggregator
from reelport.engine.compile import tables_of
from reelport.engine.duckdb.aggregator import DUCKDB
from reelport.engine.duckdb.engine import Engine
from reelport.engine.pieces import plan_pieces
from reelport.engine.rollups.aggregator import RollupAggregator
from reelport.engine.rollups.build import build_rollups
from reelport.engine.rollups.choice import RollupList
from reelport.engine.rollups.shape import make_rollup
from reelport.engine.tenant import Tenant
from reelport.facts.log.snapshot import pin
from reelport.facts.rollups.definition import FOLDER, add_rollup
from reelport.query import ReportQuery

_METRICS = ("VIEWS", "TIME_WATCHED_SECONDS")
_ALL = Tenant(frozenset(f"c{number:05}" for number in range(CHANNELS)))
_END = START + timedelta(days=179)
_REPORTS = {
    "day x channel, the whole platform": (ReportQuery.of(_METRICS, ("DAY", "CHANNEL_SLUG"), START, _END), _ALL),
    "medium": (
        ReportQuery.of(_METRICS, ("DAY", "VISITOR_COUNTRY", "VISITOR_DEVICE_TYPE"), START, _END),
        Tenant(frozenset({BIG_CHANNEL})),
    ),
}
_ROLLUPS = (make_rollup("plays", []), make_rollup("plays", ["visitor_country", "visitor_device_type"]))


def run(rows: int, times: int) -> None:
    """Make the facts where they aren't there, build rollups, measure, and print a table."""
    facts = Facts(rows)
    facts.ready()
    root = facts.data / "facts"
    shutil.rmtree(root / FOLDER, ignore_errors=True)
    for rollup in _ROLLUPS:
        add_rollup(root, rollup)
        began = time.perf_counter()
        built = build_rollups(root, [rollup], space=10**12)
        size, count = sum(month.bytes for month in built), sum(month.rows for month in built)
        print(f"{rollup.name}: {count:,} rows, {size / 1e6:.1f} MB, built in {time.perf_counter() - began:.1f} s")
    print("| report | rows | CPU s, facts | CPU s, rollup | times | wall s, facts | wall s, rollup | times |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, Engine("2GB", 2, Path(folder) / "spill") as engine:
        for name, (query, tenant) in _REPORTS.items():
            print(_measure(engine, root, Path(folder), name, query, tenant, times), flush=True)
    shutil.rmtree(root / FOLDER)


def _measure(
    engine: Engine, root: Path, folder: Path, name: str, query: ReportQuery, tenant: Tenant, times: int
) -> str:
    spent: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    texts, lines = {}, 0
    choices: dict[bool, Callable[[], Aggregator]] = {
        False: lambda: DUCKDB,
        True: lambda: RollupAggregator(RollupList.read(root)),
    }
    for _ in range(times):
        for rolled, choose in choices.items():
            session, path = engine.session(), folder / "report.csv"
            before, cpu = time.perf_counter(), _cpu_seconds()
            pieces = plan_pieces(query, tenant, pin(root, tables_of(query)), aggregator=choose())
            lines = session.write(pieces, path).rows
            spent[rolled].append((_cpu_seconds() - cpu, time.perf_counter() - before))
            session.close()
            texts[rolled] = path.read_bytes()
    if texts[False] != texts[True]:
        raise SystemExit(f"{name}: the rollup gave other bytes")
    cells = [f"{name} | {lines:,}"]
    for place, best in ((0, min), (1, median)):
        facts, rollup = (best([each[place] for each in spent[rolled]]) for rolled in (False, True))
        cells.append(f"{facts:.3f} | {rollup:.3f} | {rollup / facts:.2f}")
    return f"| {' | '.join(cells)} |"


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 5)

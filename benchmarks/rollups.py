"""Reports from rollups beside those from facts: `python -m benchmarks.rollups ROWS [TIMES]`."""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from statistics import median

from benchmarks.facts import BIG_CHANNEL, CHANNELS, START, Facts
from reelport.engine.aggregation import DUCKDB, Aggregator
from reelport.engine.compile import plan_pieces, tables_of
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.rollups.build import build_rollups
from reelport.engine.rollups.choice import RollupAggregator, RollupList
from reelport.engine.rollups.suggestion import count_demand, suggest_rollups
from reelport.engine.tenant import Tenant
from reelport.facts.log.snapshot import pin
from reelport.facts.rollups import FOLDER, add_rollup
from reelport.facts.tables import TABLES
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
_SPACE = 10**10


def run(rows: int, times: int) -> None:
    """Make the facts where they aren't there, build the rollups that are suggested, measure, and print a table."""
    facts = Facts(rows)
    facts.ready()
    root = facts.data / "facts"
    shutil.rmtree(root / FOLDER, ignore_errors=True)
    snapshot = pin(root, TABLES)
    for suggested in suggest_rollups(root, count_demand(_REPORTS.values(), snapshot), snapshot, (), space=_SPACE):
        rollup = suggested.rollup
        add_rollup(root, rollup)
        began = time.perf_counter()
        built = build_rollups(root, [rollup], space=_SPACE)
        size, count = sum(month.bytes for month in built), sum(month.rows for month in built)
        print(f"{rollup.name}: {count:,} rows, {size / 1e6:.1f} MB, built in {time.perf_counter() - began:.1f} s")
    print("| report | rows | from | CPU s | times | wall s | times |")
    print("|---|---|---|---|---|---|---|")
    with (
        tempfile.TemporaryDirectory(dir=facts.folder) as folder,
        QueryEngine("2GB", 2, Path(folder) / "spill") as engine,
    ):
        for name, (query, tenant) in _REPORTS.items():
            for line in _measure(engine, root, Path(folder), name, query, tenant, times):
                print(line, flush=True)
    shutil.rmtree(root / FOLDER)


def _measure(
    engine: QueryEngine, root: Path, folder: Path, name: str, query: ReportQuery, tenant: Tenant, times: int
) -> Iterator[str]:
    """Make the report so many times each way, and two times before that."""
    ways: dict[str, Callable[[], Aggregator]] = {
        "facts": lambda: DUCKDB,
        "a rollup": lambda: RollupAggregator(RollupList.read(root)),
    }
    spent: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    texts, lines = set(), 0
    for turn in range(times + 2):
        for way, choose in ways.items():
            session, path = engine.session(), folder / "report.csv"
            before, cpu = time.perf_counter(), _cpu_seconds()
            pieces = plan_pieces(query, tenant, pin(root, tables_of(query)), aggregator=choose())
            lines = session.write(pieces, path).rows
            if turn > 1:
                spent[way].append((_cpu_seconds() - cpu, time.perf_counter() - before))
            session.close()
            texts.add(path.read_bytes())
    if len(texts) != 1:
        raise SystemExit(f"{name}: not always the same bytes")
    least = {way: min(cpu for cpu, _ in found) for way, found in spent.items()}
    middle = {way: median(wall for _, wall in found) for way, found in spent.items()}
    for way in ways:
        ratios = least[way] / least["facts"], middle[way] / middle["facts"]
        cells = f"{least[way]:.3f} | {ratios[0]:.2f} | {middle[way]:.3f} | {ratios[1]:.2f}"
        yield f"| {name} | {lines:,} | {way} | {cells} |"


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 5)

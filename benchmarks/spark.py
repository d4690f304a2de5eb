"""Spark beside DuckDB: the same reports of several sizes by either, in turns, on the same cores.

Run it by `python -m benchmarks.spark ROWS`, after `make spark`.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median

import psutil
from deploy.fleet.spark_cluster import SparkCluster
from tests.spark_cluster import running_cluster

from benchmarks.facts import CHANNELS, START, Facts
from reelport.engine.aggregation import DUCKDB, Aggregator
from reelport.engine.compile import plan_pieces, tables_of
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.spark.aggregator import SparkAggregator
from reelport.engine.tenant import Tenant
from reelport.facts.log.snapshot import Snapshot, pin
from reelport.query import ReportQuery

_DAYS = (15, 60, 180)
_TIMES = 3
_EVERYBODY = Tenant(frozenset(f"c{number:05}" for number in range(CHANNELS)))
_ONCE = 10**12


@dataclass(frozen=True, slots=True)
class Cost:
    """What a report took: seconds of the wall, and of CPU in all processes that made it."""

    wall: float
    cpu: float


def main(rows: int) -> None:
    """Print, for each number of days, what DuckDB and Spark took, and how many times as long."""
    facts = Facts(rows)
    facts.ready()
    root = facts.data / "facts"
    with (
        tempfile.TemporaryDirectory() as text,
        QueryEngine("2GB", 2, Path(text) / "spill") as engine,
        running_cluster(Path(text), quick=False) as cluster,
        SparkAggregator(cluster.address, "benchmark", Path(text) / "spool", threading.Event()) as spark,
    ):
        print("rows read | report | DuckDB wall, CPU | Spark wall, CPU | times wall, CPU")
        for days in _DAYS:
            query = ReportQuery.of(
                ["VIEWS", "TIME_WATCHED_SECONDS"],
                ["DAY", "VISITOR_COUNTRY", "VISITOR_DEVICE_TYPE"],
                START,
                START + timedelta(days=days - 1),
            )
            snapshot = pin(root, tables_of(query))
            by: dict[str, list[Cost]] = {"duckdb": [], "spark": []}
            texts: set[bytes] = set()
            for turn in range(_TIMES + 1):  # the first of each warms up
                for name, aggregator in (("duckdb", DUCKDB), ("spark", spark)):
                    cost, file = measure(query, snapshot, engine, aggregator, cluster, Path(text))
                    texts.add(file)
                    by[name] += [cost] * (turn > 0)
            if len(texts) > 1:
                sys.exit("The bytes differ.")
            one, other = (
                Cost(median(each.wall for each in by[name]), median(each.cpu for each in by[name])) for name in by
            )
            read = sum(file.rows for file in snapshot.data_files("plays", query.start, query.end))
            print(
                f"{read:,} | {len(file):,} bytes | {one.wall:.2f} s, {one.cpu:.2f} s"
                f" | {other.wall:.2f} s, {other.cpu:.2f} s | {other.wall / one.wall:.1f}, {other.cpu / one.cpu:.1f}",
                flush=True,
            )


def measure(
    query: ReportQuery,
    snapshot: Snapshot,
    engine: QueryEngine,
    aggregator: Aggregator,
    cluster: SparkCluster,
    folder: Path,
) -> tuple[Cost, bytes]:
    """Make the report once."""
    session, to, own = engine.session(), folder / "report.csv", psutil.Process()
    before = time.monotonic(), cluster.cpu_seconds() + sum(own.cpu_times()[:2])
    session.write(plan_pieces(query, _EVERYBODY, snapshot, aggregator=aggregator, worth=_ONCE), to)
    after = time.monotonic(), cluster.cpu_seconds() + sum(own.cpu_times()[:2])
    session.close()
    return Cost(after[0] - before[0], after[1] - before[1]), to.read_bytes()


if __name__ == "__main__":
    main(int(sys.argv[1]))

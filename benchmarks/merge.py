"""Add up ten million rows of windows: by our Python, by our DuckDB, by a bare query of DuckDB's within the same memory.

    .venv/bin/python -m benchmarks.merge        # --rows 1000000 for a look; its files are in benchmarks/data/merge

Each way is a process of its own, one after the other. All come to the same rows, or the run ends with an error.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import date
from math import inf
from pathlib import Path

import duckdb

from benchmarks.machine import load, rest
from benchmarks.measure import measured
from reelport.client.files.part import Part
from reelport.client.ranges.duckdb_merge import MEMORY
from reelport.client.ranges.merge import merge
from reelport.client.ranges.merge_rules import MergePlan, plan_merge
from reelport.query import ReportQuery

WINDOWS = 20
_ROOT = Path(__file__).parent.parent
_DATA = _ROOT / "benchmarks" / "data" / "merge"
_QUERY = ReportQuery.of(
    ["VIEWS", "ESTIMATED_EARNINGS_EUR"], ["VIDEO_ID", "VISITOR_COUNTRY"], date(2020, 1, 1), date(2025, 12, 31)
)
_WINDOW = """
SELECT
    'x' || format('{{:06d}}', key % 200_000) AS video_id,
    chr(65 + (key // 200_000)::INTEGER) || 'A' AS visitor_country,
    hash(key, {window}) % 1000 AS views,
    ((hash({window}, key) % 100_000_000) / 1_000_000)::DECIMAL(18, 6) AS estimated_earnings_eur
FROM (SELECT (row * 7919 + {window} * 104_729) % 2_000_000 AS key FROM range({rows}) t(row))
ORDER BY ALL
"""
_BARE = """
SELECT video_id, visitor_country, sum(views) AS views, sum(estimated_earnings_eur) AS estimated_earnings_eur
FROM read_csv('{folder}/window-*.csv', types = {{'views': 'BIGINT', 'estimated_earnings_eur': 'DECIMAL(18, 6)'}})
GROUP BY ALL ORDER BY video_id, visitor_country
"""


def by_python(to: Path) -> None:
    """Merge as where DuckDB isn't installed."""
    _merge(to, worth=inf)


def by_reelport(to: Path) -> None:
    """Merge as where DuckDB is installed."""
    _merge(to, worth=0)


def by_duckdb(to: Path) -> None:
    """One query, which checks nothing, hashes nothing and syncs nothing."""
    spill = to.with_name("spill")
    with duckdb.connect(config={"memory_limit": f"{MEMORY} bytes", "temp_directory": str(spill)}) as con:
        con.execute("SET preserve_insertion_order = false")
        con.execute(f"COPY ({_BARE.format(folder=to.parent)}) TO '{to}' (HEADER)")


WAYS: dict[str, Callable[[Path], None]] = {"python": by_python, "reelport": by_reelport, "duckdb": by_duckdb}


def main() -> None:
    """Make the windows, run each way in a process of its own, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--way", choices=WAYS)
    options = parser.parse_args()
    if options.way:
        took = measured(WAYS[options.way], _DATA / f"{options.way}.csv")
        print(json.dumps([took.seconds, took.cpu, took.peak]))
        return
    rows = _made(options.rows)
    print(f"{rows:,} rows in {WINDOWS} windows, {MEMORY // 1_000_000} MB for DuckDB; load averages {load()}")
    took_by = {way: _ran(way) for way in WAYS}
    for way, (seconds, cpu, peak) in took_by.items():
        times = cpu / took_by["duckdb"][1]
        print(f"{way:9} {seconds:6.1f} s {cpu:6.1f} s of CPU ({times:.2f} x duckdb) {peak >> 20:6,} MB at the peak")
    for way in WAYS:
        if not filecmp.cmp(_DATA / f"{way}.csv", _DATA / "duckdb.csv", shallow=False):
            raise RuntimeError(f"{way} came to other bytes than duckdb")
    shutil.rmtree(_DATA)


def _made(rows: int) -> int:
    shutil.rmtree(_DATA, ignore_errors=True)
    _DATA.mkdir(parents=True)
    with duckdb.connect() as con:
        made = [
            con.execute(
                f"COPY ({_WINDOW.format(rows=rows // WINDOWS, window=window)}) "
                f"TO '{_DATA}/window-{window:02}.csv' (HEADER)"
            ).fetchall()
            for window in range(WINDOWS)
        ]
    return sum(int(count) for [(count,)] in made)


def _ran(way: str) -> tuple[float, float, int]:
    rest(0)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.merge", "--way", way], check=True, capture_output=True, text=True, cwd=_ROOT
    )
    seconds, cpu, peak = json.loads(done.stdout)
    return seconds, cpu, peak


def _merge(to: Path, *, worth: float) -> None:
    made: MergePlan = plan_merge(_QUERY, months=True, ordered=True)
    with Part(to, "benchmark") as part:
        part.rewind()
        with closing(merge(made, sorted(_DATA.glob("window-*.csv")), part, _DATA, worth=worth)) as merging:
            for _ in merging:
                pass
        part.publish(None, b"")


if __name__ == "__main__":
    main()

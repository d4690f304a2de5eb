"""The record of a run: which goals it reached, and where it is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.tables import Goal, print_record

KEPT = Path(__file__).parent / "results"

RATIOS = {"medium": 0.3, "huge": 1.0, "platform": 1.3, "daily": 0.1}
"""How many times as long as the bare engine a report may take, where there are enough facts to tell."""
SERVICE_FROM_SECONDS = 1.0
RATIO_ROWS = 100_000_000
"""Rows from which these goals count for every report; with fewer, where the bare engine takes a second and more."""
ASK_TO_FINISHED_SECONDS = 0.035
CROWD_RATIO = 0.9
GROWTH_RATIO = 2.0
"""How many times as long a report of one channel may take over ten times the facts."""
BUSY_SECONDS = 0.050
MEMORY_RATIO = 1.25
LOAD_RATE = 250_000
DOWNLOAD_RATIO = 1.4
FLAT_RATIO = 1.1

Record = dict[str, Any]


def goals(record: Mapping[str, Any]) -> Iterator[Goal]:
    """Every goal that the run says something about."""
    if "reports" in record:
        yield from _of_service(record)
    if crowd := record.get("crowd"):
        rate = crowd["ratio"]
        yield Goal(
            "reports a second of 100 partners, times those of one partner, at least",
            rate,
            CROWD_RATIO,
            rate >= CROWD_RATIO,
        )
        for name in ("ask", "look"):
            yield _below(f"{name} of {crowd['partners']} partners together, p95 s", crowd[name]["p95"], BUSY_SECONDS)
    if download := record.get("client", {}).get("download"):
        ratio = download["checksum"]["curl"]["ratio"]
        yield _below("download with a checksum, times curl", ratio, DOWNLOAD_RATIO)
        flat = download["peak_bytes"] / download["peak_bytes_of_a_tenth"]
        yield _below("client's peak memory, times that for a tenth of the file", flat, FLAT_RATIO)


def _of_service(record: Mapping[str, Any]) -> Iterator[Goal]:
    if "loading" in record:
        rate = record["loading"]["reelport"]["rows_a_core_second"]
        yield Goal("rows loaded per core-second, at least", rate, LOAD_RATE, rate >= LOAD_RATE)
    for name, report in record["reports"].items():
        is_long = report["duckdb"]["seconds"] > SERVICE_FROM_SECONDS
        if name in RATIOS and (is_long or record["rows"] >= RATIO_ROWS):
            yield _below(f"{name}: times the bare engine", report["duckdb"]["ratio"], RATIOS[name])
    idle, busy = record["latency"]["idle"], record["latency"].get("busy", {})
    yield _below("ask to FINISHED, idle, median s", idle["ask_to_finished_held"]["median"], ASK_TO_FINISHED_SECONDS)
    for name in busy:
        yield _below(f"{name} while two big reports run, p95 s", busy[name]["p95"], BUSY_SECONDS)
    memory = record["memory"]
    yield _below("worker's peak memory, times its limit", memory["peak_bytes"] / memory["limit_bytes"], MEMORY_RATIO)


def _below(what: str, measured: float, limit: float) -> Goal:
    return Goal(what, measured, limit, measured <= limit)


def begin(rows: int, settings: Mapping[str, object]) -> Record:
    """Begin the record of a run: when, where and of what."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": rows,
        "commit": machine.commit(),
        "machine": machine.machine(),
        "versions": machine.versions(),
        "settings": dict(settings),
        "load_before": machine.load(),
    }


def finish(record: Record, *, kept: bool) -> bool:
    """End the record, print its tables, keep it where asked; returns whether every goal was met."""
    record["load_after"] = machine.load()
    record["goals"] = [asdict(goal) for goal in goals(record)]
    print(f"\n{print_record(record)}\n")
    if kept:
        print(f"kept in {keep(record)}")
    return all(goal["met"] for goal in record["goals"])


def keep(record: Record) -> Path:
    """Write the record among the results, under a name that no other run has."""
    KEPT.mkdir(exist_ok=True)
    part = "" if "reports" in record else "-crowd" if "crowd" in record else "-client"
    when = f"{datetime.fromisoformat(record['when']):%Y-%m-%d-%H%M}"
    path = KEPT / f"{when}-{record['rows']}{part}.json"
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return path

"""The record of a run: which goals it reached, and where it is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

KEPT = Path(__file__).parent / "results"

SERVICE_RATIO = 1.3
SERVICE_FROM_SECONDS = 1.0
ASK_TO_FINISHED_SECONDS = 0.150
BUSY_SECONDS = 0.050
MEMORY_RATIO = 1.25
LOAD_RATE = 250_000
DOWNLOAD_RATIO = 1.4
FLAT_RATIO = 1.1

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal: what was measured, the limit, and whether it was reached."""

    what: str
    measured: float
    limit: float
    met: bool


def goals(record: Mapping[str, Any]) -> Iterator[Goal]:
    """Every goal that the run says something about."""
    if "reports" in record:
        yield from _of_service(record)
    if download := record.get("client", {}).get("download"):
        ratio = download["checksum"]["curl"]["ratio"]
        yield _below("download with a checksum, times curl", ratio, DOWNLOAD_RATIO)
        flat = download["peak_bytes"] / download["peak_bytes_of_a_tenth"]
        yield _below("client's peak memory, times that for a tenth of the file", flat, FLAT_RATIO)


def _of_service(record: Mapping[str, Any]) -> Iterator[Goal]:
    rate = record["loading"]["reelport"]["rows_a_core_second"]
    yield Goal("rows loaded a core-second, at least", rate, LOAD_RATE, rate >= LOAD_RATE)
    for name, report in record["reports"].items():
        if report["duckdb"]["seconds"] > SERVICE_FROM_SECONDS:
            yield _below(f"{name}: times the bare engine", report["duckdb"]["ratio"], SERVICE_RATIO)
    idle, busy = record["latency"]["idle"], record["latency"]["busy"]
    yield _below("ask to FINISHED, idle, median s", idle["ask_to_finished"]["median"], ASK_TO_FINISHED_SECONDS)
    for name in ("ask", "look", "token"):
        yield _below(f"{name} while two big reports run, p95 s", busy[name]["p95"], BUSY_SECONDS)
    memory = record["memory"]
    yield _below("worker's peak memory, times its limit", memory["peak_bytes"] / memory["limit_bytes"], MEMORY_RATIO)


def _below(what: str, measured: float, limit: float) -> Goal:
    return Goal(what, measured, limit, measured <= limit)


def keep(record: Record) -> Path:
    """Write the record among the results, under a name that no other run has."""
    KEPT.mkdir(exist_ok=True)
    part = "" if "reports" in record else "-client"
    when = f"{datetime.fromisoformat(record['when']):%Y-%m-%d-%H%M}"
    path = KEPT / f"{when}-{record['rows']}{part}.json"
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return path

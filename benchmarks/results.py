"""The record of a run: which goals it reached, how it is printed, where it is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEPT = Path(__file__).parent / "results"

SERVICE_RATIO = 1.3
SERVICE_FROM_SECONDS = 1.0
ASK_TO_FINISHED_SECONDS = 0.150
BUSY_SECONDS = 0.050
MEMORY_RATIO = 1.25
LOAD_RATE = 250_000

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


def printed(record: Mapping[str, Any]) -> str:
    """The run as Markdown tables."""
    lines = ["| report | rows | who | seconds | times | peak MB | file |", "|---|---|---|---|---|---|---|"]
    for name, report in record["reports"].items():
        for who, found in report.items():
            if isinstance(found, dict):
                lines.append(
                    f"| {name} | {report['rows']:,} | {who} | {found['seconds']:.3f} | {found['ratio']:.2f} "
                    f"| {found['peak_bytes'] / 1e6:.0f} | {found['file']} |"
                )
    lines += ["", "| load | rows a core-second | rows a second | peak MB |", "|---|---|---|---|"]
    for who in ("reelport", "duckdb"):
        found = record["loading"][who]
        rates = f"{found['rows_a_core_second']:,.0f} | {found['rows_a_second']:,.0f}"
        lines.append(f"| {who} | {rates} | {found['peak_bytes'] / 1e6:.0f} |")
    lines += ["", "| latency, ms | median | p95 | most | times |", "|---|---|---|---|---|"]
    for state, found in record["latency"].items():
        for what, spread in found.items():
            values = " | ".join(f"{spread[name] * 1000:.1f}" for name in ("median", "p95", "most"))
            lines.append(f"| {state}: {what} | {values} | {spread['times']} |")
    lines += ["", "| goal | measured | limit | met |", "|---|---|---|---|"]
    lines += [f"| {g['what']} | {g['measured']:,.3f} | {g['limit']:,} | {_yes(g['met'])} |" for g in record["goals"]]
    return "\n".join(lines)


def _yes(met: object) -> str:
    return "yes" if met else "**no**"


def keep(record: Record) -> Path:
    """Write the record among the results."""
    KEPT.mkdir(exist_ok=True)
    path = KEPT / f"{record['when'][:10]}-{record['rows']}.json"
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return path

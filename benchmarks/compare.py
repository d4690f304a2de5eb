"""Two kept results side by side: `python benchmarks/compare.py OLD.json NEW.json` prints a Markdown table."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

WORSE = 1.10
"""A figure that grew beyond this many times the old one is warned of."""


def figures(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The figures of a run that are better the smaller they are, by name."""
    if "reports" in record:
        yield from _of_service(record)
    client = record.get("client", {})
    for kind in ("checksum", "no checksum") if "download" in client else ():
        yield f"download, {kind}: times curl", client["download"][kind]["curl"]["ratio"]
    for way, found in client.get("years", {}).get("ways", {}).items():
        yield f"years: {way}, s", found["seconds"]
    if "ledger" in client:
        yield "ledger: ms an operation", 1000 / client["ledger"]["one process"]["operations_a_second"]


def _of_service(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, report in record["reports"].items():
        for who in (who for who, found in report.items() if isinstance(found, dict)):
            yield f"{name}: {who}, s", report[who]["seconds"]
        yield f"{name}: times the bare engine", report["duckdb"]["ratio"]
        yield f"{name}: worker's peak, MB", report["reelport"]["peak_bytes"] / 1e6
    for state, found in record["latency"].items():
        for what, spread in found.items():
            yield f"{state}: {what}, median ms", spread["median"] * 1000
            yield f"{state}: {what}, p95 ms", spread["p95"] * 1000
    for who in ("reelport", "duckdb"):
        yield f"load: {who}, core-s a million rows", 1e6 / record["loading"][who]["rows_a_core_second"]


def table(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The figures that both runs have."""
    before = dict(figures(old))
    lines = [f"| | {_named(old)} | {_named(new)} | change |", "|---|---|---|---|"]
    for name, value in figures(new):
        if known := before.get(name):
            warning = " ⚠" if value > known * WORSE else ""
            lines.append(f"| {name} | {known:,.3f} | {value:,.3f} | {value / known - 1:+.0%}{warning} |")
    return "\n".join(lines)


def _named(record: Mapping[str, Any]) -> str:
    return f"{record['when'][:16]}, {record['rows']:,} rows, {record['commit']['id'][:8]}"


if __name__ == "__main__":
    if len(sys.argv) != 3:  # noqa: PLR2004 - the two files
        sys.exit(f"usage: {sys.argv[0]} OLD.json NEW.json")
    print(table(*(json.loads(Path(name).read_text()) for name in sys.argv[1:])))

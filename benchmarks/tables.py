"""The record of a run as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def printed(record: Mapping[str, Any]) -> str:
    """All that the run measured, and its goals."""
    lines: list[str] = []
    if "reports" in record:
        lines += [*_reports(record["reports"]), "", *_loading(record["loading"]), "", *_latency(record["latency"]), ""]
    if "client" in record:
        lines += [*_client(record["client"])]
    lines += ["| goal | measured | limit | met |", "|---|---|---|---|"]
    lines += [f"| {g['what']} | {g['measured']:,.3f} | {g['limit']:,} | {_yes(g['met'])} |" for g in record["goals"]]
    return "\n".join(lines)


def _reports(reports: Mapping[str, Any]) -> Iterator[str]:
    yield "| report | rows | who | seconds | times | peak MB | file |"
    yield "|---|---|---|---|---|---|---|"
    for name, report in reports.items():
        for who, found in report.items():
            if isinstance(found, dict):
                yield (
                    f"| {name} | {report['rows']:,} | {who} | {found['seconds']:.3f} | {found['ratio']:.2f} "
                    f"| {found['peak_bytes'] / 1e6:.0f} | {found['file']} |"
                )


def _loading(loading: Mapping[str, Any]) -> Iterator[str]:
    yield "| load | rows a core-second | rows a second | peak MB |"
    yield "|---|---|---|---|"
    for who in ("reelport", "duckdb"):
        found = loading[who]
        rates = f"{found['rows_a_core_second']:,.0f} | {found['rows_a_second']:,.0f}"
        yield f"| {who} | {rates} | {found['peak_bytes'] / 1e6:.0f} |"


def _latency(latency: Mapping[str, Any]) -> Iterator[str]:
    yield "| latency, ms | median | p95 | most | times |"
    yield "|---|---|---|---|---|"
    for state, found in latency.items():
        for what, spread in found.items():
            values = " | ".join(f"{spread[name] * 1000:.1f}" for name in ("median", "p95", "most"))
            yield f"| {state}: {what} | {values} | {spread['times']} |"


def _client(client: Mapping[str, Any]) -> Iterator[str]:
    if "download" in client:
        yield from _ways(
            f"download of {client['download']['bytes'] / 1e6:.0f} MB",
            {
                f"{kind}: {who}": found
                for kind in ("checksum", "no checksum")
                for who, found in client["download"][kind].items()
            },
        )
    if "years" in client:
        years = client["years"]
        title = f"{years['days']:,} days in {years['windows']} windows, {years['bytes'] / 1e6:.0f} MB"
        yield from _ways(title, years["ways"])
    if "ledger" in client:
        yield "| ledger | operations a second | a report's, median ms | p95 |"
        yield "|---|---|---|---|"
        for who in ("one process", "two processes"):
            found = client["ledger"][who]
            times = f"{found['report_median'] * 1000:.1f} | {found['report_p95'] * 1000:.1f}"
            yield f"| {who} | {found['operations_a_second']:,.0f} | {times} |"
        yield ""


def _ways(title: str, ways: Mapping[str, Any]) -> Iterator[str]:
    """The ratio says how many times as long as each the client took."""
    yield f"| {title} | seconds | times |"
    yield "|---|---|---|"
    for name, found in ways.items():
        yield f"| {name} | {found['seconds']:.3f} | {found['ratio']:.2f} |"
    yield ""


def _yes(met: object) -> str:
    return "yes" if met else "**no**"

"""The record of a run as Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal: what was measured, the limit, and whether it was reached."""

    what: str
    measured: float
    limit: float
    met: bool


def print_record(record: Mapping[str, Any]) -> str:
    """Print all that the run measured, and its goals."""
    lines: list[str] = []
    for part, table in _PARTS.items():
        if part in record:
            lines += [*table(record[part]), ""]
    if "client" in record:
        lines += [*_client(record["client"])]
    return "\n".join([*lines, *print_goals(Goal(**each) for each in record["goals"])])


def print_goals(goals: Iterable[Goal]) -> Iterator[str]:
    """Print goals, and whether they were met."""
    yield "| goal | measured | limit | met |"
    yield "|---|---|---|---|"
    for goal in goals:
        yield f"| {goal.what} | {goal.measured:,.3f} | {goal.limit:,} | {'yes' if goal.met else '**no**'} |"


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
    yield "| load | rows per core-second | rows a second | peak MB |"
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


def _rollups(rollups: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| rollup of | rows | MB | days |"
    yield "|---|---|---|---|"
    for each in rollups:
        columns = ", ".join(each["columns"]) or "channels alone"
        yield f"| {columns} | {each['rows']:,} | {each['bytes'] / 1e6:.1f} | {each['days']} |"


def _crowd(crowd: Mapping[str, Any]) -> Iterator[str]:
    settings = crowd.get("settings") or {}
    named = ", ".join(f"`REELPORT_{name.upper()}={value}`" for name, value in settings.items())
    yield f"| small reports a second, {f'with {named}' if named else 'settings as delivered'} | |"
    yield "|---|---|"
    yield f"| one partner's backlog | {crowd['back_to_back']:.1f} |"
    yield f"| {crowd['partners']} partners together | {crowd['at_once']:.1f} |"
    yield ""
    yield from _latency({f"{crowd['partners']} partners": {name: crowd[name] for name in ("ask", "look", "report")}})


_PARTS: Mapping[str, Callable[[Any], Iterator[str]]] = {
    "reports": _reports,
    "rollups": _rollups,
    "loading": _loading,
    "latency": _latency,
    "crowd": _crowd,
    "crowd_as_delivered": _crowd,
}

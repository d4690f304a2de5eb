"""Probes: reports over every table, made at a backup and again of what was restored."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path

from reelport.engine.compile import tables_of
from reelport.engine.duckdb.csv_sink import Written
from reelport.engine.duckdb.engine import QueryEngine
from reelport.engine.pieces import plan_pieces
from reelport.engine.tenant import Tenant
from reelport.facts.log.snapshot import Snapshot, pin
from reelport.query import ReportQuery
from reelport.server.backup.manifest import Probe
from reelport.server.queue.warm_up import choose_queries
from reelport.server.settings import Settings

_DAYS = 7


def make_probes(
    settings: Settings, versions: Mapping[str, int], channels: Iterable[str], work: Path
) -> tuple[Probe, ...]:
    """Make a report over each table for these channels, over the last week of the facts.

    `work` is a folder for what that needs.
    """
    held = tuple(sorted(channels))
    last = _find_last_day(pin(settings.facts_root, versions, versions))
    queries = choose_queries(last - timedelta(days=_DAYS - 1), last)
    written = _write_all(settings, settings.facts_root, versions, ((query, held) for query in queries), work)
    return tuple(Probe(query, held, made.sha256, made.rows) for query, made in written)


def find_differences(
    settings: Settings, root: Path, versions: Mapping[str, int], probes: Iterable[Probe], work: Path
) -> list[str]:
    """List a sentence for each probe that the tables below `root` give other bytes for."""
    expected = list(probes)
    written = _write_all(settings, root, versions, ((probe.query, probe.channels) for probe in expected), work)
    return [
        f"The restored tables give another report for {query.canonical()}: {made.rows} rows, and not {probe.rows}."
        for probe, (query, made) in zip(expected, written, strict=True)
        if made.sha256 != probe.sha256
    ]


def _write_all(
    settings: Settings,
    root: Path,
    versions: Mapping[str, int],
    asked: Iterable[tuple[ReportQuery, tuple[str, ...]]],
    work: Path,
) -> Iterator[tuple[ReportQuery, Written]]:
    with tempfile.TemporaryDirectory(dir=work) as folder:
        spill = Path(folder) / "spill"
        with QueryEngine(settings.worker_memory, settings.worker_threads or 1, spill) as engine:
            for query, channels in asked:
                snapshot = pin(root, tables_of(query), versions)
                session = engine.session()
                yield (
                    query,
                    session.write(plan_pieces(query, Tenant(frozenset(channels)), snapshot), Path(folder) / "probe"),
                )
                session.close()


def _find_last_day(snapshot: Snapshot) -> date:
    """Find the last day that any table holds, or a day long ago."""
    days = [file.last_day for files in snapshot.listing.values() for file in files if file.last is not None]
    return max(days, default=date(2000, 1, _DAYS))

"""Estimates how many rows of facts a report reads, before any of them is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from reelport.engine.mapping import find_sources
from reelport.engine.resolved_query import make_source_query, resolve_query
from reelport.engine.tenant import Tenant
from reelport.facts.log.snapshot import Snapshot
from reelport.facts.schema import OWNER
from reelport.query import ReportQuery


@dataclass(frozen=True, slots=True)
class Scan:
    """The files that a report reads of one source, and the rows in them.

    DuckDB scans so many at most: within a file it skips row groups by the days in the column `time` and, where
    `channels` is given, by the channels in the column `role`.
    """

    table: str
    paths: tuple[str, ...]
    rows: int
    time: str
    start: date
    end: date
    channels: frozenset[str] | None
    role: str = OWNER


def list_scans(query: ReportQuery, tenant: Tenant, snapshot: Snapshot) -> Iterator[Scan]:
    """List the scans of a checked query, one for each of its sources."""
    resolved = resolve_query(query, tenant)
    for source in find_sources(resolved.metrics):
        if source_query := make_source_query(resolved, source):
            role = source_query.only_role or OWNER
            channels = tenant.channels if source_query.only_role else None
            owners = channels if role == OWNER else None
            rows = sum(file.rows for file in snapshot.data_files(source.table, query.start, query.end, owners))
            paths = snapshot.files(source.table, query.start, query.end, channels, role)
            yield Scan(source.table, paths, rows, source.time, query.start, query.end, channels, role)

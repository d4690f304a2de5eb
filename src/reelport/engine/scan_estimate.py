"""Estimates how many rows of facts a report reads, before anything is read."""

from __future__ import annotations

from reelport.engine.mapping import find_sources
from reelport.engine.resolved_query import make_source_query, resolve_query
from reelport.engine.tenant import Tenant
from reelport.facts.log.snapshot import Snapshot
from reelport.query import ReportQuery


def estimate_rows(query: ReportQuery, tenant: Tenant, snapshot: Snapshot) -> int:
    """Count the rows of the files that the report reads: at least as many as DuckDB scans.

    Files are left out by their days and, where only owners count, by their channels. Within a file DuckDB skips row
    groups as well, so that it may scan far fewer.
    """
    resolved = resolve_query(query, tenant)
    total = 0
    for source in find_sources(resolved.metrics):
        if source_query := make_source_query(resolved, source):
            channels = tenant.channels if source_query.owner_only else None
            files = snapshot.data_files(source.table, query.start, query.end, channels)
            total += sum(file.rows for file in files)
    return total

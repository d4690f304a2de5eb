"""Chooses who aggregates a report; the same code writes its rows, whoever does."""

from __future__ import annotations

from reelport.engine.aggregation import Aggregator
from reelport.engine.duckdb.aggregator import DUCKDB
from reelport.engine.rollups.aggregator import RollupAggregator
from reelport.engine.rollups.choice import RollupList
from reelport.engine.tenant import Tenant
from reelport.facts.log.snapshot import Snapshot
from reelport.query import ReportQuery
from reelport.server.settings import Settings


def choose_aggregator(query: ReportQuery, tenant: Tenant, snapshot: Snapshot, settings: Settings) -> Aggregator:  # noqa: ARG001 - what a choice goes by
    """Choose the aggregator of one report: DuckDB, within the statement that writes.

    To add one: implement `engine.aggregation.Aggregator` in a room of `engine`, and decide here when it is used; it is
    imported only then. It may be asked several times, once per piece. One that aggregates a part and leaves the rest to
    another (kept sums, and fresh facts) takes the other as an argument, and wraps it here.
    """
    return _add_rollups(DUCKDB, settings)


def _add_rollups(other: Aggregator, settings: Settings) -> Aggregator:
    """Let rollups be read where there are any, and the other aggregate what they don't give."""
    if settings.rollups == "off" or not (rollups := RollupList.read(settings.facts_root)):
        return other
    return RollupAggregator(rollups, other)

"""Chooses who aggregates a report; the same code writes its rows, whoever does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from reelport.engine.aggregation import Aggregator
from reelport.engine.duckdb.aggregator import DUCKDB
from reelport.engine.duckdb.engine import Session
from reelport.engine.memory_size import parse_size
from reelport.engine.rollups.aggregator import RollupAggregator
from reelport.engine.rollups.choice import RollupList
from reelport.engine.settled.aggregator import SettledAggregator
from reelport.engine.settled.store import KeptMonths
from reelport.engine.tenant import Tenant
from reelport.facts.defaults import SETTLED_AFTER
from reelport.facts.log.snapshot import Snapshot
from reelport.query import ReportQuery
from reelport.server.queue import liveness
from reelport.server.queue.jobs import Claim
from reelport.server.settings import Settings


def choose_aggregator(query: ReportQuery, tenant: Tenant, snapshot: Snapshot, settings: Settings) -> Aggregator:  # noqa: ARG001 - what a choice goes by
    """Choose the aggregator of one report: DuckDB, within the statement that writes.

    To add one: implement `engine.aggregation.Aggregator` in a room of `engine`, and decide here when it is used; it is
    imported only then. It may be asked several times, once per piece. One that aggregates a part and leaves the rest to
    another (kept sums, and fresh facts) takes the other as an argument, and wraps it here.
    """
    return _add_rollups(DUCKDB, settings)


def add_settled_months(aggregator: Aggregator, settings: Settings, claim: Claim, session: Session) -> Aggregator:
    """Let settled months be kept where the settings give them room, and DuckDB aggregates."""
    space = parse_size(settings.settled_space)
    plain = aggregator.plain if isinstance(aggregator, RollupAggregator) else aggregator
    if not space or plain is not DUCKDB:
        return aggregator
    kept = KeptMonths(settings.facts_root, space, liveness.spill_folder(settings, claim.owner))
    settled = datetime.now(UTC).date() - timedelta(days=SETTLED_AFTER)
    return SettledAggregator(kept, aggregator, session.run_beside, settled)


def _add_rollups(other: Aggregator, settings: Settings) -> Aggregator:
    """Let rollups be read where there are any, and the other aggregate what they don't give."""
    if settings.rollups == "off" or not (rollups := RollupList.read(settings.facts_root)):
        return other
    return RollupAggregator(rollups, other)

"""Chooses who aggregates a report; the same code writes its rows, whoever does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from reelport.engine.aggregation import Aggregator, plan_aggregation
from reelport.engine.duckdb.aggregator import DUCKDB
from reelport.engine.duckdb.engine import Session
from reelport.engine.memory_size import parse_size
from reelport.engine.resolved_query import resolve_query
from reelport.engine.rollups.aggregator import RollupAggregator
from reelport.engine.rollups.choice import RollupList, count_rows_read
from reelport.engine.tenant import Tenant
from reelport.facts.log.snapshot import Snapshot
from reelport.server.queue import liveness
from reelport.server.queue.attempt_trace import TracedAggregator
from reelport.server.queue.jobs import Claim
from reelport.server.settings import Settings
from reelport.server.traces import tracing
from reelport.storage.digests import DigestCheck

_log = structlog.get_logger(__name__)


@contextmanager
def choose_aggregator(
    claim: Claim, tenant: Tenant, snapshot: Snapshot, settings: Settings, session: Session
) -> Iterator[Aggregator]:
    """Choose the aggregator of one report, for the block in which the session writes it.

    It is DuckDB, within the statement that writes, with rollups where there are any; or Spark, where one is set and so
    many rows are to be read even with rollups.

    To add one: implement `engine.aggregation.Aggregator` in a room of `engine`, and decide here when it is used; it is
    imported only then. It may be asked several times, once per piece. One that aggregates a part and leaves the rest to
    another (kept sums, and fresh facts) takes the other as an argument, and wraps it here.
    """
    rollups = RollupList() if settings.rollups == "off" else RollupList.read(settings.facts_root)
    span = tracing.current_span()
    rows = _count_rows(claim, tenant, snapshot, rollups) if settings.engine else None
    if rows is None or rows < settings.spark_from_rows:
        span.set("reelport.aggregator", "duckdb")
        check = DigestCheck(parse_size(settings.digest_checks))
        yield RollupAggregator(rollups, DUCKDB, check) if rollups else DUCKDB
        return
    from reelport.engine.spark.aggregator import SparkAggregator  # noqa: PLC0415 - loads pyarrow, and then pyspark

    name, folder = f"reelport-{claim.report_id}-{claim.attempt}", liveness.spill_folder(settings, claim.owner)
    span.set("reelport.aggregator", "spark")
    _log.info("report goes to Spark", report=claim.report_id, attempt=claim.attempt, facts=rows)
    with SparkAggregator(settings.engine, name, folder, session.cancelled) as aggregator:
        yield TracedAggregator(aggregator, "spark") if tracing.is_on() else aggregator


def _count_rows(claim: Claim, tenant: Tenant, snapshot: Snapshot, rollups: RollupList) -> int:
    return count_rows_read(plan_aggregation(resolve_query(claim.query, tenant)), snapshot, rollups)

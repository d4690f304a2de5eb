"""Makes one attempt at a report: takes a claim, pins tables, writes, publishes the file.

`make_report` is the way of every report. What a report is written from is an ordered list (`_list_ways`): kept sums and
copies by role save time, hold nothing that the facts don't, and so the next way is taken where one can't be read.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import structlog
from sqlalchemy import Engine as Database

from reelport import killpoints
from reelport.catalog import Metric, Product
from reelport.engine.aggregation import DUCKDB, Aggregator
from reelport.engine.compile import plan_pieces, tables_of
from reelport.engine.duckdb.engine import Cancelled, Session
from reelport.engine.mapping import find_sources
from reelport.engine.report_format import Written
from reelport.engine.resolved_query import ResolvedQuery, resolve_query
from reelport.engine.rollups.choice import RollupAggregator, RollupList, summarize_refusals, summarize_uses
from reelport.engine.tenant import Tenant
from reelport.errors import DiskFull, EngineUnavailable, InternalError, OutOfMemory, StorageError, StoreUnavailable
from reelport.facts.layout import require_layout
from reelport.facts.log.freshness import last_complete_day
from reelport.facts.log.role_copies import ROLES
from reelport.facts.log.snapshot import ABSENT, Snapshot, pin
from reelport.facts.log.table_identity import identify_tables
from reelport.server.files import report_files
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import jobs, liveness
from reelport.server.queue.jobs import Claim
from reelport.server.settings import Settings
from reelport.server.state import tallies
from reelport.server.state.database import StateUnavailable, sit_out, writing
from reelport.server.state.tallies import Counted, Fallback, RollupCheck
from reelport.server.traces import tracing
from reelport.server.traces.span import Kind, Span, Value
from reelport.storage.digests import CHECKED_BYTES, DigestCheck
from reelport.storage.file_cache import holding

_TAKEN = "The job was taken away from this attempt."
_PASSING = (DiskFull, EngineUnavailable, OutOfMemory, StoreUnavailable)
"""Errors that say nothing of the files that a report was written from."""
_log = structlog.get_logger()
Log = structlog.typing.FilteringBoundLogger
_REPORT_ID = "reelport.report.id"


class LeaseLost(InternalError):
    """This attempt no longer holds the job's lease: its result is discarded."""


def make_report(
    db: Database,
    settings: Settings,
    claim: Claim,
    session: Session,
    now: Callable[[], datetime],
    stopping: threading.Event,
) -> FileRecord:
    """Make the report of a claim and publish its complete file.

    On an error no file is left behind. Raises LeaseLost when another attempt has the job by now, or when the report was
    cancelled. While the state can't be reached it waits, until `stopping`.
    """
    killpoints.reach("claim", claim.query.fingerprint())
    require_layout(settings.data)
    log = _log.bind(report=claim.report_id, attempt=claim.attempt)
    draft = report_files.prepare_draft(settings, claim.report_id, claim.attempt)
    tenant = Tenant(claim.channels)

    def write(way: _Way, to: Path = draft) -> Written:
        return session.write(plan_pieces(claim.query, tenant, way.snapshot, aggregator=way.aggregator), to)

    try:
        with _explain_by_lost_lease(db, claim), holding() as fetched:
            snapshot = _pin_tables(settings, claim)
            _record_pin(db, claim, snapshot, now().date(), stopping)
            with (
                tracing.span("write report"),
                choose_aggregator(claim, snapshot, settings, session) as (aggregator, rollups),
            ):
                # Looked up before the report is made: a copy that is deleted meanwhile fails it, too.
                ways = _list_ways(aggregator, rollups, snapshot, has_copies=_has_copies(claim, tenant, snapshot))
                way, written = _write_by_first(ways, write, log)
                match way.unread:
                    case Fallback.SUMS if rollups is not None:
                        with suppress(StorageError, OSError):  # the report is made
                            rollups.forget()  # else a damaged file would fail every report and build that reads it
                    case None if rollups is not None:
                        again = partial(write, _Way(rollups.without(), snapshot))
                        written = _check_rollups(db, settings, claim, rollups, draft, written, again, log)
        if way.unread is not None:
            _count(db, log, Counted.FALLBACK, way.unread)
        if fetched.bytes:
            tracing.current_span().set("reelport.fetched_bytes", fetched.bytes)
            _count(db, log, Counted.FETCHED, number=fetched.bytes)
        with _explain_by_lost_lease(db, claim), tracing.span("publish file"):
            killpoints.reach("write")
            record = report_files.publish_draft(settings, draft, written)
    finally:
        # The cause is already being raised; a later sweep deletes the draft.
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    # If this raises, keep the file: only the database knows whether the commit went through.
    if not sit_out(lambda: jobs.finish(db, claim, record, now()), stopping):
        settings.report_store.delete(record.name)
        raise LeaseLost(_TAKEN)
    killpoints.reach("publish")
    return record


@contextmanager
def _explain_by_lost_lease(db: Database, claim: Claim) -> Iterator[None]:
    """Raise LeaseLost for an error of the block after a lost lease: others remove its draft."""
    try:
        yield
    except (Cancelled, LeaseLost, StateUnavailable):
        raise
    except Exception as error:
        with suppress(StorageError):  # the state can't be read: the error itself is told
            if claim not in jobs.find_held(db, (claim,)):
                raise LeaseLost(_TAKEN) from error
        raise


def _pin_tables(settings: Settings, claim: Claim) -> Snapshot:
    with tracing.span("pin tables", attributes={"reelport.tables": sorted(tables_of(claim.query))}):
        pinned = pin(settings.facts_root, tables_of(claim.query), claim.versions)
        if ABSENT in pinned.versions.values():
            identify_tables(settings.data, settings.facts_root)
        return pinned


def _record_pin(db: Database, claim: Claim, snapshot: Snapshot, today: date, stopping: threading.Event) -> None:
    """Record the versions for later attempts and asks; LeaseLost when the lease was lost."""
    if claim.versions is None:
        counted = {source.table for source in find_sources(tuple(Metric[name] for name in claim.query.metrics))}
        complete = last_complete_day(snapshot, counted, today)
        if not sit_out(lambda: jobs.pin_versions(db, claim, snapshot.versions, complete), stopping):
            raise LeaseLost(_TAKEN)


@contextmanager
def choose_aggregator(
    claim: Claim, snapshot: Snapshot, settings: Settings, session: Session
) -> Iterator[tuple[Aggregator, RollupAggregator | None]]:
    """Choose who aggregates a report, for the block in which it is written; and its rollups.

    It is DuckDB, or Spark where one is set and so many rows are to be read even with rollups. To add one: implement
    `engine.aggregation.Aggregator` in a room of `engine`, and decide here when it is imported and used.
    """
    rollups = RollupList() if settings.rollups == "off" else RollupList.read(settings.facts_root)
    kept = RollupAggregator(rollups, DigestCheck(CHECKED_BYTES))
    span, rows = tracing.current_span(), 0
    if settings.engine:
        rows = kept.count_rows_read(resolve_query(claim.query, Tenant(claim.channels)), snapshot)
    if not settings.engine or rows < settings.spark_from_rows:
        span.set("reelport.aggregator", "duckdb")
        yield (kept, kept) if rollups else (DUCKDB, None)
        return
    from reelport.engine.spark.aggregator import SparkAggregator  # noqa: PLC0415 - loads pyarrow, and then pyspark

    name, folder = f"reelport-{claim.report_id}-{claim.attempt}", liveness.spill_folder(settings, claim.owner)
    span.set("reelport.aggregator", "spark")
    _log.info("report goes to Spark", report=claim.report_id, attempt=claim.attempt, facts=rows)
    with SparkAggregator(settings.engine, name, folder, session.cancelled) as spark:
        yield TracedAggregator(spark, "spark") if tracing.is_on() else spark, None


@dataclass(frozen=True, slots=True)
class TracedAggregator(Aggregator):
    """Records each aggregation as a span, for aggregators that take a step of their own."""

    other: Aggregator
    name: str

    def aggregate(self, resolved: ResolvedQuery, snapshot: Snapshot) -> str:
        """Aggregate as the other does."""
        days = f"{resolved.start}/{resolved.end}"
        with tracing.span("aggregate", attributes={"reelport.aggregator": self.name, "reelport.days": days}):
            return self.other.aggregate(resolved, snapshot)


@dataclass(frozen=True, slots=True)
class _Way:
    aggregator: Aggregator
    snapshot: Snapshot
    unread: Fallback | None = None


_GOING_WITHOUT = {
    Fallback.SUMS: "rollups can't be read: the report is made from the facts",
    Fallback.COPIES: "copies by role can't be read: the report is made from the files themselves",
}


def _list_ways(
    aggregator: Aggregator, rollups: RollupAggregator | None, snapshot: Snapshot, *, has_copies: bool
) -> Iterator[_Way]:
    """List the ways to write a report; the next is asked for once the one before has failed."""
    yield _Way(aggregator, snapshot)
    if rollups is not None and rollups.was_used:
        yield _Way(aggregator.without(), snapshot, Fallback.SUMS)
    if has_copies:
        yield _Way(aggregator.without(), snapshot.without_copies(), Fallback.COPIES)


def _write_by_first(ways: Iterator[_Way], write: Callable[[_Way], Written], log: Log) -> tuple[_Way, Written]:
    """Write a report by the first way that works, and say which; raise the last one's error."""
    way, reason = next(ways), ""
    while True:
        try:
            written = write(way)
        except InternalError as error:
            following = None if isinstance(error, _PASSING) else next(ways, None)
            if following is None:
                raise
            way, reason = following, str(error)
        else:
            if way.unread is not None:
                log.warning(_GOING_WITHOUT[way.unread], reason=reason)
            return way, written


def _has_copies(claim: Claim, tenant: Tenant, snapshot: Snapshot) -> bool:
    """Whether the report reads copies by role; no file is fetched for it."""
    query = claim.query
    if query.product == Product.CONTENT.name:
        return False
    return any(
        each.only_role in ROLES and snapshot.has_copies(each.source.table, query.start, query.end, each.only_role)
        for each in resolve_query(query, tenant).sources
    )


def _check_rollups(
    db: Database,
    settings: Settings,
    claim: Claim,
    rollups: RollupAggregator,
    draft: Path,
    written: Written,
    write_from_facts: Callable[[Path], Written],
    log: Log,
) -> Written:
    """Tell which rollups a report was made from; make one of the sample from the facts too.

    Rollups that gave another one are used no more, until they are built anew.
    """
    used = summarize_uses(rollups.choices)
    log.info("rollups chosen", used=used, refused=summarize_refusals(rollups.choices))
    tracing.current_span().set("reelport.rollups.used", used)  # why others were refused names what was asked for
    if not rollups.was_used or not is_sampled(claim.report_id, settings.rollup_checks):
        return written
    scratch = liveness.spill_folder(settings, claim.owner) / f"{draft.name}.check"
    try:
        scratch.parent.mkdir(parents=True, exist_ok=True)
        from_facts = write_from_facts(scratch)
        is_same = written.sha256 == from_facts.sha256
        outcome = RollupCheck.SAME if is_same else RollupCheck.DIFFERENT
        _count(db, log, Counted.ROLLUP_CHECK, outcome)
        if not is_same:
            log.error("rollups gave other numbers than the facts", used=used)
            rollups.forget()
            shutil.move(scratch, draft)
    except (DiskFull, OutOfMemory, StoreUnavailable) as error:
        log.warning("a report from rollups was not checked", reason=str(error))
        return written
    else:
        return from_facts
    finally:
        scratch.unlink(missing_ok=True)


def is_sampled(report_id: str, share: float) -> bool:
    """Whether a report belongs to this share of all: one that does always does."""
    digest = hashlib.sha256(report_id.encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64


def _count(db: Database, log: Log, counted: Counted, label: str = "", number: int = 1) -> None:
    """Add to a counter; a state that is lost ends no report."""
    try:
        with writing(db) as connection:
            tallies.count(connection, counted, label, number)
    except StorageError as error:
        log.warning("a counter was not added to", reason=str(error))


def clock() -> datetime:
    """Read the clock of this machine, in UTC."""
    return datetime.now(UTC)


@contextmanager
def trace_attempt(claim: Claim) -> Iterator[Span]:
    """Record the block as the span of an attempt; before the first, the wait in the queue."""
    name = {_REPORT_ID: claim.report_id}
    if claim.attempt == 1:
        tracing.record_wait("wait in queue", claim.traceparent, timedelta(seconds=claim.waited), name)
    attributes: dict[str, Value] = {**name, "reelport.attempt": claim.attempt, "reelport.worker": claim.owner}
    with tracing.span("make report", kind=Kind.CONSUMER, parent=claim.traceparent, attributes=attributes) as span:
        yield span

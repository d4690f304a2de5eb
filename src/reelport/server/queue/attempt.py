"""Makes one attempt at one report: takes a claim, runs the engine and publishes the file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, date, datetime
from functools import cache, partial

from sqlalchemy import Engine as Database

from reelport import killpoints
from reelport.engine.compile import tables_of
from reelport.engine.duckdb.csv_sink import Written
from reelport.engine.duckdb.engine import Cancelled, Session
from reelport.engine.pieces import plan_pieces
from reelport.engine.tenant import Tenant
from reelport.errors import InternalError, StorageError
from reelport.facts.layout import require_layout
from reelport.facts.log.complete_days import last_complete_day
from reelport.facts.log.snapshot import ABSENT, Snapshot, pin
from reelport.facts.log.table_marks import identify_tables
from reelport.server.files import report_files
from reelport.server.files.report_files import FileRecord
from reelport.server.queue import jobs
from reelport.server.queue.aggregator_choice import choose_aggregator
from reelport.server.queue.copy_fallback import write_despite_copies
from reelport.server.queue.fetched_bytes import note_fetched
from reelport.server.queue.jobs import Claim
from reelport.server.queue.rollup_report import write_report
from reelport.server.settings import Settings
from reelport.server.state.database import StateUnavailable
from reelport.server.state.outage import sit_out
from reelport.server.traces import tracing
from reelport.storage.file_cache import holding

_HEAD_START = 0.01
"""Seconds after which a pin is recorded in any case: who asks again is answered by it."""
_TAKEN = "The job was taken away from this attempt."


class LeaseLost(InternalError):
    """This attempt no longer holds the job's lease: its result is discarded."""


def make_report(
    db: Database,
    settings: Settings,
    claim: Claim,
    session: Session,
    now: Callable[[], datetime],
    stopping: threading.Event,
    afterwards: ExitStack,
) -> FileRecord:
    """Make the report of a claim and publish its complete file.

    On an error no file is left behind. Raises LeaseLost when another attempt has the job by now, or when the report was
    cancelled. While the state can't be reached it waits, until `stopping`. What can wait until the report is published
    is called back when `afterwards` ends; a process that is killed before that loses nothing by it.
    """
    killpoints.reach("claim", claim.query.fingerprint())
    require_layout(settings.data)
    draft = report_files.prepare_draft(settings, claim.report_id, claim.attempt)
    try:
        with _explain_by_lost_lease(db, claim), holding() as fetched:
            tenant, snapshot = Tenant(claim.channels), _pin_tables(settings, claim)

            def write(pinned: Snapshot) -> Written:
                plan = partial(plan_pieces, claim.query, tenant, pinned)
                with choose_aggregator(claim, tenant, pinned, settings, session) as aggregator:
                    return write_report(db, settings, claim, session, aggregator, draft, plan)

            with (
                _record_pin(db, claim, snapshot, now().date(), session.underway, stopping),
                tracing.span("write report"),
            ):
                written = write_despite_copies(db, claim, tenant, snapshot, write, afterwards, stopping)
        note_fetched(db, fetched)
        with _explain_by_lost_lease(db, claim), tracing.span("publish file"):
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
    """Raise LeaseLost for an error of the block when the lease was lost.

    A worker that stood still for longer than its lease finds its draft removed by others.
    """
    try:
        yield
    except (Cancelled, StateUnavailable):
        raise
    except Exception as error:
        with suppress(StorageError):  # the state can't be read: the error itself is told
            if claim not in jobs.find_held(db, (claim,)):
                raise LeaseLost(_TAKEN) from error
        raise


def _pin_tables(settings: Settings, claim: Claim) -> Snapshot:
    """Pin the tables to the versions of an earlier attempt, or else to the newest."""
    with tracing.span("pin tables", attributes={"reelport.tables": sorted(tables_of(claim.query))}):
        pinned = pin(settings.facts_root, tables_of(claim.query), claim.versions)
        if ABSENT in pinned.versions.values():
            identify_tables(settings.data, settings.facts_root)
        return pinned


@contextmanager
def _record_pin(
    db: Database,
    claim: Claim,
    snapshot: Snapshot,
    today: date,
    underway: threading.Event,
    stopping: threading.Event,
) -> Iterator[None]:
    """Record the versions for later attempts while the block makes the report.

    That begins once the engine is `underway`, without Python's lock, which two threads would else take from each other
    in turns; or a moment later. LeaseLost after the block when the lease was lost: what the block made is of versions
    that nobody recorded.
    """
    if claim.versions is not None:
        yield
        return
    complete = last_complete_day(snapshot, today)

    def record() -> bool:
        underway.wait(_HEAD_START)
        return sit_out(lambda: jobs.pin_versions(db, claim, snapshot.versions, complete), stopping)

    recording = _get_recorders().submit(record)
    try:
        yield
    finally:
        wait((recording,))
    if not recording.result():
        raise LeaseLost(_TAKEN)


@cache
def _get_recorders() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="pin")


def clock() -> datetime:
    """Read the clock of this machine, in UTC."""
    return datetime.now(UTC)

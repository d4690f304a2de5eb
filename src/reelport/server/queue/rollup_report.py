"""Writes reports from rollups: without them where they fail, and a sample both ways."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import structlog
from sqlalchemy import Engine as Database

from reelport.engine.aggregation import Aggregator
from reelport.engine.duckdb.csv_sink import Written
from reelport.engine.duckdb.engine import Session
from reelport.engine.plan import Pieces
from reelport.engine.rollups.aggregator import RollupAggregator
from reelport.errors import DiskFull, InternalError, OutOfMemory, StorageError, StoreUnavailable
from reelport.server.queue import liveness
from reelport.server.queue.copy_fallback import count_unread
from reelport.server.queue.jobs import Claim
from reelport.server.settings import Settings
from reelport.server.state import tallies
from reelport.server.state.database import writing
from reelport.server.state.tallies import Fallback, RollupCheck
from reelport.server.traces import tracing

_log = structlog.get_logger()


class Planner(Protocol):
    """Plans the pieces of one report for whichever aggregator."""

    def __call__(self, *, aggregator: Aggregator) -> Pieces:
        """Plan the pieces anew."""


def write_report(
    db: Database,
    settings: Settings,
    claim: Claim,
    session: Session,
    aggregator: Aggregator,
    draft: Path,
    plan: Planner,
) -> Written:
    """Write the report of a claim to its draft.

    Rollups may be deleted at any time: a report that they fail is made without them, in the same
    attempt. A share of the reports made from them is made from the facts too: where both differ, that is the report.
    """
    if not isinstance(aggregator, RollupAggregator):
        return session.write(plan(aggregator=aggregator), draft)
    log = _log.bind(report=claim.report_id, attempt=claim.attempt)
    try:
        written = session.write(plan(aggregator=aggregator), draft)
    except (StorageError, InternalError) as error:
        if isinstance(error, DiskFull | StoreUnavailable) or not aggregator.was_used:
            raise
        log.warning("rollups can't be read: the report is made from the facts", reason=str(error))
        written = session.write(plan(aggregator=aggregator.plain), draft)
        count_unread(db, Fallback.SUMS, log)
        with suppress(StorageError, OSError):  # the report is made
            aggregator.forget()  # else a damaged file would fail every report and every build that reads it
        return written
    used = aggregator.describe_uses()
    log.info("rollups chosen", used=used, refused=aggregator.describe_refusals())
    tracing.current_span().set("reelport.rollups.used", used)  # why others were refused names what was asked for
    if not aggregator.was_used or not is_sampled(claim.report_id, settings.rollup_checks):
        return written
    scratch = liveness.spill_folder(settings, claim.owner) / f"{draft.name}.check"
    try:
        scratch.parent.mkdir(parents=True, exist_ok=True)
        from_facts = session.write(plan(aggregator=aggregator.plain), scratch)
        return _keep_right_one(db, aggregator, (draft, written), (scratch, from_facts), log)
    except (DiskFull, OutOfMemory, StoreUnavailable) as error:
        log.warning("a report from rollups was not checked", reason=str(error))
        return written
    finally:
        scratch.unlink(missing_ok=True)


def is_sampled(report_id: str, share: float) -> bool:
    """Whether a report belongs to this share of all: one that does always does."""
    digest = hashlib.sha256(report_id.encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64


def _keep_right_one(
    db: Database,
    aggregator: RollupAggregator,
    made: tuple[Path, Written],
    again: tuple[Path, Written],
    log: structlog.typing.FilteringBoundLogger,
) -> Written:
    """Compare both reports; the one from the facts stays where they differ.

    What was read of rollups is used no more then, until it is built anew.
    """
    (draft, written), (scratch, from_facts) = made, again
    is_same = written.sha256 == from_facts.sha256
    try:
        with writing(db) as connection:
            tallies.count_rollup_check(connection, RollupCheck.SAME if is_same else RollupCheck.DIFFERENT)
    except StorageError as error:
        log.warning("a check of rollups was not counted", is_same=is_same, reason=str(error))
    if is_same:
        return written
    log.error("rollups gave other numbers than the facts", used=aggregator.describe_uses())
    aggregator.forget()
    shutil.move(scratch, draft)
    return from_facts

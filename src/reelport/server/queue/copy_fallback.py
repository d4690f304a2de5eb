"""Makes a report that copies by role fail from the files themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import structlog
from sqlalchemy import Engine as Database

from reelport.catalog import Product
from reelport.engine.duckdb.csv_sink import Written
from reelport.engine.scan_estimate import Scan, list_scans
from reelport.engine.tenant import Tenant
from reelport.errors import (
    DiskFull,
    EngineUnavailable,
    InternalError,
    OutOfMemory,
    StorageError,
    StoreUnavailable,
)
from reelport.facts.data_files.damaged_copies import delete_damaged_copies
from reelport.facts.log.role_copies import ROLES
from reelport.facts.log.snapshot import Snapshot
from reelport.server.queue.jobs import Claim
from reelport.server.state import tallies
from reelport.server.state.database import writing
from reelport.server.state.tallies import Fallback
from reelport.storage.file_cache import holding

_OTHER_REASONS = (DiskFull, EngineUnavailable, OutOfMemory, StoreUnavailable)
_log = structlog.get_logger()


def write_despite_copies(
    db: Database,
    claim: Claim,
    tenant: Tenant,
    snapshot: Snapshot,
    write: Callable[[Snapshot], Written],
    afterwards: ExitStack,
    stopping: threading.Event,
) -> Written:
    """Write a report by `write`; where it fails and may have read copies, without them.

    A copy holds nothing that its file doesn't: one that is damaged or gone costs time alone. Those that can't be read
    are deleted `afterwards`, so that the next report doesn't fail of them too; a process that is `stopping` leaves that
    to the next one that they fail.
    """
    # Before the report is made: a copy that another worker deletes meanwhile fails it, too.
    scans = [] if claim.query.product == Product.CONTENT.name else list(_list_copied_scans(claim, tenant, snapshot))
    try:
        return write(snapshot)
    except (StorageError, InternalError) as error:
        if isinstance(error, _OTHER_REASONS) or not scans:
            raise
        reason = str(error)
    written = write(snapshot.without_copies())
    log = _log.bind(report=claim.report_id, attempt=claim.attempt)
    log.warning("copies by role can't be read: the report is made from the files themselves", reason=reason)
    count_unread(db, Fallback.COPIES, log)
    # To find them takes reading all copies to their ends, which the report doesn't wait for.
    afterwards.callback(_delete_damaged, snapshot, scans, stopping, log)
    return written


def count_unread(db: Database, unread: Fallback, log: structlog.typing.FilteringBoundLogger) -> None:
    """Count a report that was made without what could not be read; a lost state ends no report."""
    try:
        with writing(db) as connection:
            tallies.count_fallback(connection, unread)
    except StorageError as error:
        log.warning("a report made without kept files was not counted", unread=unread, reason=str(error))


def _list_copied_scans(claim: Claim, tenant: Tenant, snapshot: Snapshot) -> Iterator[Scan]:
    """List the scans of the report that read copies, where there are any."""
    for scan in list_scans(claim.query, tenant, snapshot.without_copies()):
        if scan.role in ROLES and snapshot.has_copies(
            scan.table, scan.start, scan.end, frozenset(scan.channels or ()), scan.role
        ):
            yield scan


def _delete_damaged(
    snapshot: Snapshot, scans: list[Scan], stopping: threading.Event, log: structlog.typing.FilteringBoundLogger
) -> None:
    for scan in scans:
        files, folder = snapshot.data_files(scan.table, scan.start, scan.end), snapshot.root / scan.table
        try:
            with holding():
                damaged = delete_damaged_copies(folder, files, scan.role, scan.channels or (), stopping.is_set)
        except StorageError as error:
            log.warning("damaged copies by role were not deleted", table=scan.table, reason=str(error))
        else:
            if damaged:
                log.warning("damaged copies by role are deleted", table=scan.table, copies=damaged)

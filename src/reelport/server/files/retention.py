"""Retention: expires reports, deletes orphaned files, and checks the files that are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from itertools import takewhile

import structlog
from sqlalchemy import Engine, bindparam, literal, select, text

from reelport import killpoints
from reelport.errors import StorageError
from reelport.server.events import Event, Kind, publish
from reelport.server.files import report_files
from reelport.server.files.store_owner import require_own_store
from reelport.server.settings import Settings
from reelport.server.state import tallies
from reelport.server.state.database import reading, sync_commits, writing
from reelport.server.state.postgresql_engine import unhurried
from reelport.server.state.tables import AUDIT_LOG, FORMS, JOBS, MOMENTS, REPORTS, Moment
from reelport.server.state.tallies import Outcome
from reelport.storage.file_store import FileStore
from reelport.wire import ReportStatus

RECORDS_KEPT = timedelta(days=30)
"""How long the record of an expired or failed report is kept after `expires_at`."""

_LONGEST_GAP = timedelta(days=1)
"""Time since the last sweep after which one is skipped: the clock may have jumped."""
_RECORD_SWEEP = text("""
INSERT INTO moments (name, at)
VALUES ('sweep', :at)
ON CONFLICT (name) DO UPDATE
SET at = :at
""").bindparams(bindparam("at", type_=Moment()))
_CLOCKS_APART = timedelta(minutes=1)
"""How far the clock of a store of files, which may tell whole seconds only, may be from the state's."""
_EXPIRING = (ReportStatus.IN_PROGRESS.value, ReportStatus.FINISHED.value)
_log = structlog.get_logger()


def sweep_unless_jumped(
    db: Engine, settings: Settings, now: datetime, is_stopping: Callable[[], bool] = lambda: False
) -> int:
    """Sweep, unless more than a day has gone by since the last sweep.

    Then it only says so, and the next one sweeps: else a clock that is set 49 hours ahead, and back before the next
    sweep, would delete every file. Call it once for each sweep that is due, by whichever process.
    """
    with writing(db) as connection:
        last = connection.execute(select(MOMENTS.c.at).where(MOMENTS.c.name == "sweep")).scalar()
        connection.execute(_RECORD_SWEEP, {"at": now})
    if last is not None and now - last > _LONGEST_GAP:
        _log.warning("more than a day since the last sweep: this one is skipped", last=last.isoformat())
        return 0
    return sweep(db, settings, now, is_stopping)


def sweep(db: Engine, settings: Settings, now: datetime, is_stopping: Callable[[], bool] = lambda: False) -> int:
    """Expire every report whose time is over and delete its file; returns how many.

    A sweep that is killed, or that stops because of `is_stopping`, leaves the rest to the next one: after days without
    a service many thousands of reports are over, and no process's end waits for them. Two sweeps at the same time
    expire each report once.
    """
    is_over = REPORTS.c.status.in_(_EXPIRING), REPORTS.c.expires_at <= now
    with reading(db) as connection:
        over = connection.execute(select(REPORTS.c.id, REPORTS.c.file).where(*is_over)).all()
    expired = 0
    for report in over:
        if is_stopping():
            return expired
        # Delete the file before the record: a sweep that is killed in between is repeated by the next one.
        if report.file is not None:
            settings.report_store.delete(report.file)
        killpoints.reach("delete")
        if _expire_report(db, report.id):
            expired += 1
            _log.info("report expired", report=report.id)
    _delete_old_records(db, now)
    remove_orphans(db, settings, is_stopping)
    return expired


def _expire_report(db: Engine, report_id: str) -> bool:
    """Expire a report; False when it had ended otherwise, or was expired already."""
    with writing(db) as connection:
        unmade = connection.execute(JOBS.delete().where(JOBS.c.report_id == report_id)).rowcount
        expired = connection.execute(
            REPORTS.update()
            .where(REPORTS.c.id == report_id, REPORTS.c.status.in_(_EXPIRING))
            .values(status=ReportStatus.EXPIRED.value, file=None)
        ).rowcount
        # Their files are orphans now. Forms after the report: who wants one locks it, and has added it or doesn't.
        connection.execute(FORMS.delete().where(FORMS.c.report_id == report_id))
        if unmade:
            publish(connection, Event(Kind.REPORT_ENDED, report_id))
        tallies.count_end(connection, Outcome.EXPIRED, times=unmade)
    return expired == 1


def _delete_old_records(db: Engine, now: datetime) -> None:
    gone = REPORTS.c.expires_at <= now - RECORDS_KEPT
    ended = REPORTS.c.status.in_([ReportStatus.EXPIRED.value, ReportStatus.FAILED.value])
    with writing(db) as connection, unhurried(connection):
        connection.execute(REPORTS.delete().where(ended, gone))


def find_orphans(db: Engine, settings: Settings, is_stopping: Callable[[], bool] = lambda: False) -> tuple[str, ...]:
    """List report files of no finished report and no running attempt, until `is_stopping`."""
    # List files before reading records: a file made in between then has its record.
    names = takewhile(lambda _: not is_stopping(), settings.report_store.list_names())
    found = [(name, made) for name in names if (made := report_files.parse_name(name))]
    with reading(db) as connection:
        # Read jobs before reports: if an attempt ends in between, its report names the file. The other way round,
        # neither might name it: each statement of PostgreSQL sees what was committed when it began.
        held = select(JOBS.c.report_id, JOBS.c.attempt, literal("")).where(JOBS.c.owner.is_not(None))
        running = {tuple(row) for row in connection.execute(held)}
        # One statement: a form that is made in between is in one of its two places.
        forms = connection.execute(
            select(FORMS.c.report_id, FORMS.c.attempt, FORMS.c.suffix, FORMS.c.owner, FORMS.c.file)
        ).all()
        running |= {(row.report_id, row.attempt, row.suffix) for row in forms if row.owner is not None}
        kept = {row.file for row in forms}
        kept |= set(connection.execute(select(REPORTS.c.file).where(REPORTS.c.file.is_not(None))).scalars())
    return tuple(name for name, made in sorted(found) if name not in kept and made not in running)


def find_older_files(db: Engine, settings: Settings, orphans: Sequence[str]) -> frozenset[str]:
    """Find the orphans that are older than the state, such as files of a state that was lost.

    No process of this state can have left them. It is as old as its first entry in the audit log, which nobody can
    delete: one without any never had an organization, and so no report.
    """
    if not orphans:
        return frozenset()
    before = _read_birth(db)
    return frozenset(name for name in orphans if _is_older(settings, name, before))


def _read_birth(db: Engine) -> datetime | None:
    """Read the earliest time at which this state can have made files; None when it never could."""
    with reading(db) as connection:
        born = connection.execute(select(AUDIT_LOG.c.at).order_by(AUDIT_LOG.c.number).limit(1)).scalar()
    return None if born is None else born - _CLOCKS_APART


def _is_older(settings: Settings, name: str, before: datetime | None) -> bool:
    file = settings.report_store.find(name)
    return file is not None and (before is None or file.modified_at < before)


def remove_orphans(db: Engine, settings: Settings, is_stopping: Callable[[], bool] = lambda: False) -> int:
    """Delete orphans that this state can have left, until `is_stopping`; returns how many."""
    require_own_store(db, settings)
    orphans = find_orphans(db, settings, is_stopping)
    if orphans:
        sync_commits(db)  # another process may have removed their reports just now
    before = _read_birth(db) if orphans else None
    removed = 0
    # In an object store each file costs a request: the process's end must not wait for many thousands.
    for name in takewhile(lambda _: not is_stopping(), orphans):
        if not _is_older(settings, name, before):
            settings.report_store.delete(name)
            removed += 1
    if removed:
        _log.info("orphan files removed", count=removed)
    return removed


_CHUNK_BYTES = 1 << 20


def check_files(db: Engine, settings: Settings) -> tuple[int, tuple[str, ...]]:
    """Check each finished file, and look for orphans: how many, and a sentence per fault.

    A form of a report that is gone is no fault: it is made again for whoever asks for it.
    """
    finished = select(REPORTS.c.id, REPORTS.c.file, REPORTS.c.bytes, REPORTS.c.sha256).where(
        REPORTS.c.status == ReportStatus.FINISHED.value
    )
    forms = select(FORMS.c.report_id, FORMS.c.file, FORMS.c.bytes, FORMS.c.sha256).where(FORMS.c.file.is_not(None))
    with reading(db) as connection:
        rows = connection.execute(finished).all()
        kept = [row for row in connection.execute(forms).all() if settings.report_store.find(row.file) is not None]
    faults = []
    for id_, *recorded in (*rows, *kept):
        if fault := _find_fault(settings.report_store, *recorded):
            with reading(db) as connection:  # a sweep may have expired it meanwhile
                if connection.execute(finished.where(REPORTS.c.id == id_)).first() is not None:
                    faults.append(f"Report {id_}: {fault}")
    faults += [f"{name} belongs to no report." for name in find_orphans(db, settings)]
    return len(rows) + len(kept), tuple(faults)


def _find_fault(store: FileStore, name: str, size: int, sha256: str) -> str | None:
    digest = hashlib.sha256()
    try:
        with closing(store.open(name)) as file:
            length = file.size
            for position in range(0, length, _CHUNK_BYTES):
                digest.update(file.read(position, _CHUNK_BYTES))
    except FileNotFoundError:
        return f"its file {name} is gone."
    except StorageError as error:
        return f"its file can't be read: {error}."
    if length != size:
        return f"its file {name} has {length} bytes and should have {size}."
    return None if digest.hexdigest() == sha256 else f"the bytes of its file {name} have changed."

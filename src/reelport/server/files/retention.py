"""The end of things: reports whose time is over, files that no report knows."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from sqlalchemy import Engine, select

from reelport import killpoints
from reelport.facts.durable import translate_io_errors
from reelport.server.files import report_files
from reelport.server.settings import Settings
from reelport.server.state import tallies
from reelport.server.state.database import reading, writing
from reelport.server.state.tables import JOBS, REPORTS
from reelport.server.state.tallies import Outcome
from reelport.wire import ReportStatus

REMEMBERED = timedelta(days=30)
"""How long after its end a report is still told from one that never was."""

_NAME = re.compile(r"([0-9a-z]+)-([0-9]+)\.(?:csv|part)")
_log = structlog.get_logger()


def sweep(db: Engine, settings: Settings, now: datetime) -> int:
    """End every report whose time is over, with its file; how many. Killed at any instant, it goes on later."""
    with reading(db) as connection:
        over = connection.execute(
            select(REPORTS.c.id, REPORTS.c.file).where(
                REPORTS.c.status.in_([ReportStatus.IN_PROGRESS.value, ReportStatus.FINISHED.value]),
                REPORTS.c.expires_at <= now,
            )
        ).all()
    for report in over:
        # The file first: a record without a file is mended by the next sweep, a file without a record by nobody.
        if report.file is not None:
            _delete_file(report_files.file_path(settings, report.file))
        killpoints.reach("delete")
        _expire_report(db, report.id)
        _log.info("report expired", report=report.id)
    _delete_old_records(db, now)
    remove_orphans(db, settings)
    return len(over)


def _expire_report(db: Engine, report_id: str) -> None:
    with writing(db) as connection:
        unmade = connection.execute(JOBS.delete().where(JOBS.c.report_id == report_id)).rowcount
        connection.execute(
            REPORTS.update()
            .where(REPORTS.c.id == report_id, REPORTS.c.status != ReportStatus.FAILED.value)
            .values(status=ReportStatus.EXPIRED.value, file=None)
        )
        tallies.count_end(connection, Outcome.EXPIRED, times=unmade)


def _delete_old_records(db: Engine, now: datetime) -> None:
    gone = REPORTS.c.expires_at <= now - REMEMBERED
    ended = REPORTS.c.status.in_([ReportStatus.EXPIRED.value, ReportStatus.FAILED.value])
    with reading(db) as connection:
        idle = connection.execute(select(REPORTS.c.id).where(ended, gone).limit(1)).first() is None
    if idle:
        return
    with writing(db) as connection:
        connection.execute(REPORTS.delete().where(ended, gone))


def find_orphans(db: Engine, settings: Settings) -> tuple[Path, ...]:
    """Files of ours that no finished report and no running attempt knows: what a killed process left."""
    # Listed before the records are read: whatever is made in between is known by then.
    found = [path for path in settings.files_root.glob("*") if _NAME.fullmatch(path.name)]
    with reading(db) as connection:
        # Jobs before reports: one that ends in between has its file in its report by then. The other way round it
        # would be in neither where each statement sees what is committed by then, as in PostgreSQL.
        held = select(JOBS.c.report_id, JOBS.c.attempt).where(JOBS.c.owner.is_not(None))
        running = {(row.report_id, row.attempt) for row in connection.execute(held)}
        kept = set(connection.execute(select(REPORTS.c.file).where(REPORTS.c.file.is_not(None))).scalars())
    return tuple(path for path in sorted(found) if path.name not in kept and _parse_attempt(path) not in running)


def remove_orphans(db: Engine, settings: Settings) -> int:
    """Remove the orphans; how many there were."""
    left = find_orphans(db, settings)
    for path in left:
        _delete_file(path)
    if left:
        _log.info("orphan files removed", count=len(left))
    return len(left)


def _delete_file(path: Path) -> None:
    """StorageError when it can't be."""
    with translate_io_errors(path):
        path.unlink(missing_ok=True)


def _parse_attempt(path: Path) -> tuple[str, int]:
    report_id, _, rest = path.name.partition("-")
    return report_id, int(rest.partition(".")[0])

"""Verifies finished files against their records: existence, size, SHA-256, and no orphans."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sqlalchemy import Engine, select

from reelport.server.files import report_files, retention
from reelport.server.settings import Settings
from reelport.server.state.database import reading
from reelport.server.state.tables import REPORTS
from reelport.wire import ReportStatus


def check_files(db: Engine, settings: Settings) -> tuple[int, tuple[str, ...]]:
    """Check every finished file; returns how many were checked, and a sentence for each fault."""
    with reading(db) as connection:
        rows = connection.execute(
            select(REPORTS.c.id, REPORTS.c.file, REPORTS.c.bytes, REPORTS.c.sha256).where(
                REPORTS.c.status == ReportStatus.FINISHED.value
            )
        ).all()
    faults = [
        f"Report {row.id}: {fault}"
        for row in rows
        if (fault := _find_fault(report_files.file_path(settings, row.file), row.bytes, row.sha256))
        and _is_still_finished(db, row.id)
    ]
    faults += [f"{path.name} belongs to no report." for path in retention.find_orphans(db, settings)]
    return len(rows), tuple(faults)


def _find_fault(path: Path, size: int, sha256: str) -> str | None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            length = file.tell()
    except FileNotFoundError:
        return f"its file {path.name} is gone."
    except OSError as error:
        return f"its file {path.name} can't be read: {error.strerror}."
    if length != size:
        return f"its file {path.name} has {length} bytes and should have {size}."
    return None if found == sha256 else f"the bytes of its file {path.name} have changed."


def _is_still_finished(db: Engine, report_id: str) -> bool:
    """Whether the report is still finished: a sweep may have expired it during the check."""
    kept = select(REPORTS.c.id).where(REPORTS.c.id == report_id, REPORTS.c.status == ReportStatus.FINISHED.value)
    with reading(db) as connection:
        return connection.execute(kept).first() is not None

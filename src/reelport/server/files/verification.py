"""Verifies finished files against their records: existence, size, SHA-256, and no orphans."""

from __future__ import annotations

import hashlib
from contextlib import closing

from sqlalchemy import Engine, select

from reelport.errors import StorageError
from reelport.server.files import retention
from reelport.server.settings import Settings
from reelport.server.state.database import reading
from reelport.server.state.tables import REPORTS
from reelport.storage.file_store import FileStore, OpenFile
from reelport.wire import ReportStatus

_CHUNK_BYTES = 1 << 20


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
        if (fault := _find_fault(settings.report_store, row.file, row.bytes, row.sha256))
        and _is_still_finished(db, row.id)
    ]
    faults += [f"{name} belongs to no report." for name in retention.find_orphans(db, settings)]
    return len(rows), tuple(faults)


def _find_fault(store: FileStore, name: str, size: int, sha256: str) -> str | None:
    try:
        with closing(store.open(name)) as file:
            length, found = file.size, _hash_file(file)
    except FileNotFoundError:
        return f"its file {name} is gone."
    except StorageError as error:
        return f"its file can't be read: {error}."
    if length != size:
        return f"its file {name} has {length} bytes and should have {size}."
    return None if found == sha256 else f"the bytes of its file {name} have changed."


def _hash_file(file: OpenFile) -> str:
    digest = hashlib.sha256()
    for position in range(0, file.size, _CHUNK_BYTES):
        digest.update(file.read(position, _CHUNK_BYTES))
    return digest.hexdigest()


def _is_still_finished(db: Engine, report_id: str) -> bool:
    """Whether the report is still finished: a sweep may have expired it during the check."""
    kept = select(REPORTS.c.id).where(REPORTS.c.id == report_id, REPORTS.c.status == ReportStatus.FINISHED.value)
    with reading(db) as connection:
        return connection.execute(kept).first() is not None

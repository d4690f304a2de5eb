"""Vacuum: delete files that no snapshot can need any more, and leftovers of killed loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reelport.errors import UsageError
from reelport.facts.data_files.work_folders import LOCK, clear_dead_folders, list_work_folders
from reelport.facts.defaults import KEPT_HOURS
from reelport.facts.log.delta_log import LOG_FOLDER, list_tables, read_newest
from reelport.facts.tables import Table
from reelport.storage.durable import translate_io_errors


@dataclass(frozen=True, slots=True)
class VacuumResult:
    """How many files, and bytes of them, a vacuum deleted from one table."""

    table: str
    files: int
    bytes: int


def vacuum(root: Path, *, now: datetime, hours: int = KEPT_HOURS) -> tuple[VacuumResult, ...]:
    """Delete files that were replaced, or written but never committed, more than `hours` before now."""
    if hours < KEPT_HOURS:
        raise UsageError(f"files are kept for at least {KEPT_HOURS} hours: a running report may read them")
    before = now - timedelta(hours=hours)
    done = [_vacuum_table(root, table, before) for table in list_tables(root)]
    clear_dead_folders(root)
    for folder in list_work_folders(root):
        # No lock file: an older version made the folder, or its file system can't lock. Then only its age counts.
        if not (folder / LOCK).exists() and folder.stat().st_mtime < before.timestamp():
            shutil.rmtree(folder, ignore_errors=True)
    return tuple(done)


def _vacuum_table(root: Path, table: Table, before: datetime) -> VacuumResult:
    folder = root / table.name
    with translate_io_errors(folder):
        # List the files before reading the log, so that a file committed in between is found in the log.
        old = [path for path in _find_data_files(folder) if path.stat().st_mtime < before.timestamp()]
        kept = {file.path for file in read_newest(root, table).files} | set(_read_removed_since(folder, before))
        unneeded = [path for path in old if path.relative_to(folder).as_posix() not in kept]
        size = sum(path.stat().st_size for path in unneeded)
        for path in unneeded:
            path.unlink(missing_ok=True)
    return VacuumResult(table.name, len(unneeded), size)


def _find_data_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*.parquet"):
        if LOG_FOLDER not in path.relative_to(folder).parts:
            yield path


def _read_removed_since(folder: Path, before: datetime) -> Iterator[str]:
    for path in (folder / LOG_FOLDER).glob("*.json"):
        if path.stat().st_mtime < before.timestamp():
            continue
        for line in path.read_text("utf-8").splitlines():
            removed = json.loads(line).get("remove") if line.strip() else None
            if removed and datetime.fromtimestamp(removed["deletionTimestamp"] / 1000, UTC) >= before:
                yield removed["path"]

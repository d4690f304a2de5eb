"""Vacuum: delete files that no snapshot can need any more, and leftovers of killed loads."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reelport.errors import UsageError
from reelport.facts.data_files.work_folders import LOCK, clear_dead_folders, list_work_folders
from reelport.facts.defaults import KEPT_HOURS
from reelport.facts.log.delta_log import read_newest
from reelport.facts.log.log_files import LOG_FOLDER, list_tables, open_store, read_actions
from reelport.facts.log.role_copies import find_original, is_data_file
from reelport.facts.rollups import sweep
from reelport.facts.tables import Table
from reelport.storage.durable import translate_io_errors
from reelport.storage.file_store import FileStore


@dataclass(frozen=True, slots=True)
class VacuumResult:
    """How many files, and bytes of them, a vacuum deleted from one table, or of rollups."""

    table: str
    files: int
    bytes: int


def vacuum(root: Path, *, now: datetime, hours: int = KEPT_HOURS) -> tuple[VacuumResult, ...]:
    """Delete files replaced, or never committed, over `hours` before now, and their copies."""
    if hours < KEPT_HOURS:
        raise UsageError(f"files are kept for at least {KEPT_HOURS} hours: a running report may read them")
    before = now - timedelta(hours=hours)
    done = [_vacuum_table(root, table, before) for table in list_tables(root)]
    if (swept := sweep(root, before)).files:
        done.append(VacuumResult("rollups", swept.files, swept.bytes))
    clear_dead_folders(root)
    for folder in list_work_folders(root):
        # No lock file: an older version made the folder, or its file system can't lock. Then only its age counts.
        if not (folder / LOCK).exists() and folder.stat().st_mtime < before.timestamp():
            shutil.rmtree(folder, ignore_errors=True)
    return tuple(done)


def _vacuum_table(root: Path, table: Table, before: datetime) -> VacuumResult:
    folder = root / table.name
    store = open_store(folder)
    with translate_io_errors(folder):
        # List the files before reading the log, so that a file committed in between is found in the log.
        found = (file for file in store.list() if is_data_file(file.name) or find_original(file.name))
        old = [file for file in found if file.modified_at < before]
        kept = {file.path for file in read_newest(root, table).files} | set(_read_removed_since(store, before))
        unneeded = [file for file in old if (find_original(file.name) or file.name) not in kept]
        for file in unneeded:
            store.delete(file.name)
    return VacuumResult(table.name, len(unneeded), sum(file.size for file in unneeded))


def _read_removed_since(store: FileStore, before: datetime) -> Iterator[str]:
    for file in store.list(LOG_FOLDER):
        if not file.name.endswith(".json") or file.modified_at < before:
            continue
        for action in read_actions(store, file.name):
            removed = action.get("remove")
            if removed and datetime.fromtimestamp(removed["deletionTimestamp"] / 1000, UTC) >= before:
                yield removed["path"]

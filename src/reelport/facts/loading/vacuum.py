"""Deletes the files of tables that no report can need any more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from reelport.errors import UsageError
from reelport.facts.data_files.work_folders import clear_dead_folders
from reelport.facts.log.delta_log import read_newest
from reelport.facts.log.log_files import LOG_FOLDER, list_tables, open_store, read_actions
from reelport.facts.log.role_copies import find_original, is_data_file
from reelport.facts.retention import KEPT_HOURS
from reelport.facts.rollups import sweep
from reelport.facts.tables import Table
from reelport.storage.durable import translate_io_errors


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
    if (swept := sweep(root, before))[0]:
        done.append(VacuumResult("rollups", *swept))
    clear_dead_folders(root)
    return tuple(done)


def _vacuum_table(root: Path, table: Table, before: datetime) -> VacuumResult:
    folder = root / table.name
    store = open_store(folder)
    with translate_io_errors(folder):
        # List the files before reading the log, so that a file committed in between is found in the log.
        found = (file for file in store.list() if is_data_file(file.name) or find_original(file.name))
        old = [file for file in found if file.modified_at < before]
        kept = {file.path for file in read_newest(root, table).files}
        for file in store.list(LOG_FOLDER):
            if file.name.endswith(".json") and file.modified_at >= before:
                removed = [action["remove"] for action in read_actions(store, file.name) if "remove" in action]
                kept |= {one["path"] for one in removed if one["deletionTimestamp"] >= before.timestamp() * 1000}
        unneeded = [file for file in old if (find_original(file.name) or file.name) not in kept]
        for file in unneeded:
            store.delete(file.name)
    return VacuumResult(table.name, len(unneeded), sum(file.size for file in unneeded))

"""Tries the migrations of the state where they leave no trace, and measures what they do.

SQLite is copied by its online backup, and the copy is migrated. PostgreSQL is migrated in a transaction that is rolled
back.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from reelport.errors import StorageError, UsageError
from reelport.facts.layout import check_existing, read_layout
from reelport.facts.log.delta_log import read_newest
from reelport.facts.log.evolution import find_missing_columns
from reelport.facts.log.log_files import list_tables
from reelport.server.backup.state_dump import dump_state
from reelport.server.settings import Settings
from reelport.server.state.database import open_database, reading, writing
from reelport.server.state.revisions import Migration, list_pending, migrate, read_revision
from reelport.server.state.state_record import find_traces, require_new, require_present
from reelport.server.state.write_ahead import measure_log
from reelport.server.upgrade.shape import describe_changes, read_shape
from reelport.storage.durable import translate_io_errors
from reelport.storage.modes import private
from reelport.storage.scratch_folder import open_scratch_folder
from reelport.wording import format_count

_SCRATCH = ".upgrade-check-"
_LOCK_SECONDS = 3
_STATEMENT_SECONDS = 60
_COPIES = 3
"""Room that a check asks for, in sizes of the state: the copy, what it gains, and its journal."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What an upgrade would do, as its rehearsal did it.

    `bytes_before` and `bytes_after` are sizes of the SQLite file, None with PostgreSQL.
    """

    layout: int
    found: str | None
    pending: tuple[Migration, ...]
    changes: tuple[str, ...]
    seconds: float
    bytes_before: int | None
    bytes_after: int | None
    missing_columns: dict[str, tuple[str, ...]]

    @property
    def room_needed(self) -> int | None:
        """Bytes that the upgrade takes at most for a while: what the file gains, and its journal."""
        if self.bytes_before is None or self.bytes_after is None:
            return None
        return max(self.bytes_after, self.bytes_before) if self.pending else 0

    @property
    def blockers(self) -> tuple[Migration, ...]:
        """The migrations beside which processes of the version before can't go on."""
        return tuple(each for each in self.pending if self.found is not None and not each.backward_compatible)


def rehearse(settings: Settings, scratch: Path | None = None) -> Rehearsal:
    """Try the upgrade of a data directory that exists.

    SQLite is copied to a folder in `scratch`, else in the data directory.

    NewerData when a newer version wrote the directory, UsageError when there is too little room for the copy,
    StorageError when a migration fails or PostgreSQL's tables are in use.
    """
    check_existing(settings.data)
    found = read_state_revision(settings)
    pending = list_pending(found)
    layout, missing = read_layout(settings.data), _find_missing_columns(settings)
    if not pending:
        size = None if settings.database_url else _size(settings.state_file)
        return Rehearsal(layout, found, (), (), 0.0, size, size, missing)
    if settings.database_url:
        changes, seconds = _try_and_roll_back(settings)
        return Rehearsal(layout, found, pending, changes, seconds, None, None, missing)
    with _copy_state(settings, scratch) as copy:
        before = _size(copy.state_file)
        changes, seconds = _migrate_copy(copy)
        return Rehearsal(layout, found, pending, changes, seconds, before, _size(copy.state_file), missing)


def read_state_revision(settings: Settings) -> str | None:
    """Read the revision of the state; None when there is no state yet.

    StorageError when the data directory had one that is missing.
    """
    traces = find_traces(settings)
    require_present(settings, traces)
    if not settings.database_url and not settings.state_file.exists():
        return None
    db = open_database(settings)
    try:
        with reading(db) as connection:
            found = read_revision(connection)
    finally:
        db.dispose()
    if found is None:
        require_new(settings, traces)
    return found


def _find_missing_columns(settings: Settings) -> dict[str, tuple[str, ...]]:
    root = settings.facts_root
    found = {table.name: find_missing_columns(read_newest(root, table)) for table in list_tables(root)}
    return {name: columns for name, columns in found.items() if columns}


@contextmanager
def _copy_state(settings: Settings, scratch: Path | None) -> Iterator[Settings]:
    """Copy the SQLite state to a data directory of the block's own."""
    around = scratch or settings.data
    size = _size(settings.state_file) + measure_log(settings.state_file)  # commits in the log make the copy longer
    with translate_io_errors(around):
        free = shutil.disk_usage(around).free
    if free < _COPIES * size:
        raise UsageError(
            f"{around} has {free:,} bytes of room, and trying the upgrade needs {_COPIES * size:,}: "
            "name a folder on another disk by --scratch."
        )
    with private(), translate_io_errors(around), open_scratch_folder(_SCRATCH, around) as folder:
        copy = replace(settings, data=folder)
        if size:
            dump_state(settings, copy.state_file)
        yield copy


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _migrate_copy(copy: Settings) -> tuple[tuple[str, ...], float]:
    db = open_database(copy)
    try:
        with writing(db) as connection:
            done = _migrate(connection)
        with reading(db) as connection:
            _check_copy(connection)
    finally:
        db.dispose()
    return done


def _migrate(connection: Connection) -> tuple[tuple[str, ...], float]:
    before, started = read_shape(connection), time.monotonic()
    try:
        migrate(connection)
    except IntegrityError as error:  # rows that a new rule doesn't allow
        reason = str(error.orig).strip().partition("\n")[0].rstrip(".")
        raise StorageError(f"A migration fails over the rows of this state: {reason}.") from error
    seconds = time.monotonic() - started
    return tuple(describe_changes(before, read_shape(connection))), seconds


def _check_copy(connection: Connection) -> None:
    """Raise StorageError unless the migrated copy is sound."""
    sound = connection.execute(text("PRAGMA integrity_check")).scalar()
    if sound != "ok":
        raise StorageError(f"The migrated copy is damaged: {sound}.")
    dangling = connection.execute(text("PRAGMA foreign_key_check")).all()
    if dangling:
        count = format_count(len(dangling), "row refers", "rows refer")
        raise StorageError(f"In the migrated copy {count} to nothing, the first in {dangling[0][0]}.")


def _try_and_roll_back(settings: Settings) -> tuple[tuple[str, ...], float]:
    db = open_database(settings, is_unhurried=True)
    try:
        with writing(db) as connection, connection.begin_nested() as savepoint:
            # Running processes wait for the tables meanwhile: give up early rather than hold them up for long.
            connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"))
            connection.execute(text(f"SET LOCAL statement_timeout = '{_STATEMENT_SECONDS}s'"))
            done = _migrate(connection)
            savepoint.rollback()
            return done
    except StorageError as error:
        advice = "Nothing was changed. On a restored backup it can be tried without holding up anybody."
        raise StorageError(f"{error} {advice}") from error
    finally:
        db.dispose()

"""Tries at a scratch place the restore of a backup, and the migrations of a state.

A state of PostgreSQL needs an empty database for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from sqlalchemy import MetaData, text

from reelport.errors import StorageError, UsageError
from reelport.facts.loading.verification import verify
from reelport.server.backup.archive import Archive, Manifest
from reelport.server.backup.restore import restore_backup
from reelport.server.backup.state_dump import (
    SQLITE,
    check_state_file,
    dump_state,
    list_tables,
    load_state,
    name_database,
)
from reelport.server.settings import Settings
from reelport.server.state.database import opened, upgrade, writing
from reelport.storage.locked_folders import open_scratch_folder

_PREFIX = "reelport-verify-"
_FUNCTIONS = text("SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = current_schema::regnamespace")


def find_faults(
    archive: Archive, manifest: Manifest, settings: Settings, scratch: Path | None, scratch_database: str | None = None
) -> list[str]:
    """List the faults of a backup; none when it was restored and gave the same reports.

    `scratch` is where it is restored to for the while; the system's folder for temporary files when None. A state of
    PostgreSQL goes into the empty database at the address `scratch_database`.
    """
    if faults := archive.list_faults(manifest):
        return faults
    if scratch is not None and not scratch.is_dir():
        raise UsageError(f"{scratch} is no folder: name one with as much room as the backup has bytes.")
    with open_scratch_folder(_PREFIX, scratch) as folder:
        place = replace(settings, data=folder / "data", database_url="", files_url="", facts_url="")
        with _lend_database(manifest.database, place, scratch_database) as address:
            restore_backup(archive, manifest, replace(place, database_url=address), check_secret=False)
        damage = None if address else check_state_file(place.state_file)
        return [
            *([] if damage is None else [damage]),
            *(f"{table.table}: {finding}" for table in verify(place.facts_root) for finding in table.findings),
        ]


def try_upgrade(settings: Settings, scratch: Path | None, scratch_database: str | None = None) -> None:
    """Migrate a copy of the state at a scratch place; StorageError if it fails or is damaged."""
    with open_scratch_folder(_PREFIX, scratch) as folder:
        place = replace(settings, data=folder / "data", database_url="")
        place.data.mkdir()
        dump = folder / "dump" if settings.database_url else place.state_file
        dump_state(settings, dump)
        with _lend_database(name_database(settings), place, scratch_database) as address:
            copy = replace(place, database_url=address)
            if address:
                load_state(copy, dump)
            with opened(copy) as db:
                upgrade(db)
        if not address and (damage := check_state_file(place.state_file)):
            raise StorageError(damage)


def _lend_database(database: str, place: Settings, scratch_database: str | None) -> AbstractContextManager[str]:
    """Lend an empty database of a kind for the block: its address, empty for SQLite."""
    if database == SQLITE:
        if scratch_database is not None:
            raise UsageError("--scratch-database: the state is SQLite's, and needs none.")
        return nullcontext("")
    if scratch_database is None:
        raise UsageError(
            "The state is PostgreSQL's: name an empty database to restore it into (--scratch-database "
            "postgresql://…). It is emptied again afterwards."
        )
    return _lend_named_database(place, scratch_database)


@contextmanager
def _lend_named_database(settings: Settings, address: str) -> Iterator[str]:
    if not address:
        raise UsageError("--scratch-database is empty: name a database.")
    place = replace(settings, database_url=address)
    if list_tables(place):
        raise UsageError("The database of --scratch-database isn't empty: name a new one.")
    try:
        yield address
    finally:
        with opened(place) as db, writing(db) as connection:
            found = MetaData()
            found.reflect(connection)
            found.drop_all(connection)
            for function in connection.execute(_FUNCTIONS).scalars().all():
                connection.execute(text(f"DROP FUNCTION {function}"))

"""Tries at a scratch place what can go wrong: the restore of a backup, and the migrations of a state."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from reelport.errors import StorageError, UsageError
from reelport.facts.loading.verification import verify
from reelport.server.backup.archive import Archive
from reelport.server.backup.manifest import Manifest
from reelport.server.backup.probes import find_differences
from reelport.server.backup.restore import restore_backup
from reelport.server.backup.state_dump import SQLITE, check_state_file, dump_state, load_state, name_database
from reelport.server.settings import Settings
from reelport.server.state.database import open_database, upgrade
from reelport.storage.scratch_folder import open_scratch_folder


def find_faults(
    archive: Archive, manifest: Manifest, settings: Settings, scratch: Path | None, scratch_database: str | None = None
) -> list[str]:
    """List the faults of a backup; none when it was restored and gave the same reports.

    `scratch` is where it is restored to for the while; the system's folder for temporary files when None. A state of
    PostgreSQL goes into the empty database at the address `scratch_database`, or when None into a server of its own.
    """
    faults = archive.find_damage(manifest)
    if faults:
        return faults
    if scratch is not None and not scratch.is_dir():
        raise UsageError(f"{scratch} is no folder: name one with as much room as the backup has bytes.")
    with open_scratch_folder("reelport-verify-", scratch) as folder:
        place = replace(settings, data=folder / "data", database_url="", files_url="", facts_url="")
        damage = _restore(archive, manifest, place, scratch, scratch_database)
        tables = verify(place.facts_root)
        return [
            *([] if damage is None else [damage]),
            *(f"{table.table}: {finding}" for table in tables for finding in table.findings),
            *find_differences(settings, place.facts_root, manifest.versions, manifest.probes, folder),
        ]


def try_upgrade(settings: Settings, scratch: Path | None, scratch_database: str | None = None) -> None:
    """Migrate a copy of the state at a scratch place, as `find_faults` lends one.

    StorageError when a migration fails, or leaves a damaged state.
    """
    with open_scratch_folder("reelport-verify-", scratch) as folder:
        place = replace(settings, data=folder / "data", database_url="")
        place.data.mkdir()
        dump = folder / "dump" if settings.database_url else place.state_file
        dump_state(settings, dump)
        with _lend_database(name_database(settings), place, scratch, scratch_database) as address:
            copy = replace(place, database_url=address)
            if address:
                load_state(copy, dump)
            db = open_database(copy)
            try:
                upgrade(db)
            finally:
                db.dispose()
        if not address and (damage := check_state_file(place.state_file)):
            raise StorageError(damage)


def _restore(
    archive: Archive, manifest: Manifest, place: Settings, scratch: Path | None, scratch_database: str | None
) -> str | None:
    """Restore into the scratch place; say what is wrong with the state."""
    with _lend_database(manifest.database, place, scratch, scratch_database) as address:
        restore_backup(archive, manifest, replace(place, database_url=address), check_secret=False)
    return None if address else check_state_file(place.state_file)


def _lend_database(
    database: str, place: Settings, scratch: Path | None, scratch_database: str | None
) -> AbstractContextManager[str]:
    """Lend an empty database of a kind for the block: its address, empty for SQLite."""
    if database == SQLITE:
        if scratch_database is not None:
            raise UsageError("--scratch-database: the state is SQLite's, and needs none.")
        return nullcontext("")
    from reelport.server.backup.scratch_database import named_database, own_server  # noqa: PLC0415 - psycopg, an extra

    return own_server(scratch) if scratch_database is None else named_database(place, scratch_database)

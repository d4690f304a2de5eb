"""Verifies a backup by restoring it to a scratch place and making its reports again."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from reelport.errors import UsageError
from reelport.facts.loading.verification import verify
from reelport.server.backup.archive import Archive
from reelport.server.backup.manifest import Manifest
from reelport.server.backup.probes import find_differences
from reelport.server.backup.restore import restore_backup, restore_files
from reelport.server.backup.state_dump import SQLITE, check_dump
from reelport.server.settings import Settings


def find_faults(archive: Archive, manifest: Manifest, settings: Settings, scratch: Path | None) -> list[str]:
    """List the faults of a backup; none when it was restored and gave the same reports.

    `scratch` is where it is restored to for the while; the system's folder for temporary files when None. The dump of
    a PostgreSQL database is only listed, as there is no database to load it into.
    """
    faults = archive.find_damage(manifest)
    if faults:
        return faults
    if scratch is not None and not scratch.is_dir():
        raise UsageError(f"{scratch} is no folder: name one with as much room as the backup has bytes.")
    with tempfile.TemporaryDirectory(prefix="reelport-verify-", dir=scratch) as folder:
        place = replace(settings, data=Path(folder) / "data", database_url="", files_url="", facts_url="")
        if manifest.database == SQLITE:
            restore_backup(archive, manifest, place, check_secret=False)
        else:
            restore_files(archive, manifest, place)
        damage = check_dump(manifest.database, archive.locate(manifest.state))
        tables = verify(place.facts_root)
        return [
            *([] if damage is None else [damage]),
            *(f"{table.table}: {finding}" for table in tables for finding in table.findings),
            *find_differences(settings, place.facts_root, manifest.versions, manifest.probes, Path(folder)),
        ]

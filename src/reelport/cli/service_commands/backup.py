"""`backup`, `restore` and `verify-backup`: keep the service's data elsewhere."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators

from reelport.cli.output.listing import PrintJson, print_fields
from reelport.cli.service_commands.access import Data, open_state, use_settings
from reelport.errors import StorageError
from reelport.wording import format_count

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from reelport.server.backup.kept_backups import Manifest

Archive = Annotated[Path, Parameter(help="The folder of the backups.")]
Id = Annotated[str | None, Parameter(help="Which backup; the newest by default.")]


def backup(
    to: Archive,
    *,
    keep: Annotated[
        int | None,
        Parameter(
            validator=validators.Number(gte=1), help="Keep so many of the newest backups, and delete the others."
        ),
    ] = None,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """Back up the state, the tables and the finished reports.

    The service may run. A folder holds many backups, and each file once: the next one reads only what is
    new. The secret is never in it.

    Example: reelport backup backups --keep 14
    """
    from reelport.server.backup.incremental_backup import create_backup
    from reelport.server.backup.kept_backups import Archive

    archive = Archive(to.absolute())
    with open_state(data) as (settings, db):
        made = create_backup(db, settings, archive, datetime.now(UTC))
        _record_end(db)
    gone = () if keep is None else archive.prune(keep)
    print_fields({**_describe(made), "deleted": len(gone)}, as_json=json)


def restore(
    source: Archive,
    *,
    id: Id = None,  # noqa: A002 - the option's name
    without_damaged: Annotated[
        bool,
        Parameter(
            help="Leave out table files that are damaged or missing in the archive. Load their days again afterwards."
        ),
    ] = False,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """Restore a backup into an empty data directory.

    The secret that its keys were made under must be there. Problems are told before anything is changed.
    Finished reports that are damaged or missing in the archive are left out, with a warning.
    After a restore that was killed, run the command again: it begins anew. Tables and reports go to the
    object store that REELPORT_FACTS_URL and REELPORT_FILES_URL name; what is there already stays.

    Example: reelport restore backups --data restored
    """
    from reelport.server.backup.kept_backups import FACTS, FILES, Archive
    from reelport.server.backup.restore import restore_backup

    settings = use_settings(data=data)
    archive = Archive(source.absolute())
    found = archive.read(id)
    left_out = restore_backup(archive, found, settings, without_damaged=without_damaged)
    reports, facts = ([file for file in left_out if file.store == store] for store in (FILES, FACTS))
    if reports:
        count = format_count(len(reports), "finished report is", "finished reports are")
        _warn(count, [file.name for file in reports], "They are shown as expired, and can be asked for again.")
    if facts:
        count = format_count(len(facts), "file of the tables is", "files of the tables are")
        _warn(
            count,
            [file.name for file in facts],
            "Load their days anew (--replace-days): their reports fail until then.",
        )
    lists = {"reports_left_out": reports, "facts_left_out": facts}
    told = {name: [file.name for file in files] if json else len(files) for name, files in lists.items()}
    places = ", ".join(filter(None, (str(settings.data), settings.facts_url, settings.files_url)))
    print_fields({**_describe(found), **told, "restored_to": places}, as_json=json)


def verify_backup(
    source: Archive,
    *,
    id: Id = None,  # noqa: A002 - the option's name
    scratch: Annotated[
        Path | None, Parameter(help="The folder for the temporary restore; otherwise the system's temporary folder.")
    ] = None,
    scratch_database: Annotated[
        str | None, Parameter(help="An empty database to restore a state of PostgreSQL into, emptied afterwards.")
    ] = None,
    json: PrintJson = False,
) -> None:
    """Restore a backup to a temporary place, and check every file of it.

    The exit status is 1 if anything differs. Needs neither the secret nor the data directory.

    Example: reelport verify-backup backups
    """
    from reelport.server.backup.kept_backups import Archive
    from reelport.server.backup.restore import find_faults
    from reelport.server.settings import read_settings

    archive = Archive(source.absolute())
    found = archive.read(id)
    faults = find_faults(archive, found, read_settings(), scratch, scratch_database)
    if faults:
        raise StorageError("\n".join(faults))
    print_fields({**_describe(found), "verified": "restored, and every file of it is whole"}, as_json=json)


def _record_end(db: Engine) -> None:
    """Record the backup's end for `/metrics`, if the state can be written: it is whole anyway."""
    from reelport.server.state.database import writing
    from reelport.server.state.tallies import record_backup

    try:
        with writing(db) as connection:
            record_backup(connection, datetime.now(UTC))
    except StorageError as error:
        print(f"reelport: warning: /metrics doesn't tell of this backup: {error}", file=sys.stderr)


def _warn(count: str, names: list[str], then: str) -> None:
    from reelport.server.backup.kept_backups import list_some

    left_out = f"{count} damaged or missing in the archive, and left out: {list_some(names)}."
    print(f"reelport: warning: {left_out} {then}", file=sys.stderr)


def _describe(manifest: Manifest) -> dict[str, object]:
    return {
        "backup": manifest.id,
        "files": len(manifest.files),
        "bytes": sum(stored.size for stored in manifest.contents),
    }

"""`backup`, `restore` and `verify-backup`: keep the service's data elsewhere."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators

from reelport.cli.output.listing import PrintJson, print_fields
from reelport.cli.service_commands.access import Data, open_state
from reelport.errors import StorageError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from reelport.server.backup.archive import Manifest
    from reelport.server.settings import Settings

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
    from reelport.server.backup.archive import Archive
    from reelport.server.backup.create import create_backup

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
            negative="",
            help="Leave out table files that are damaged or missing in the archive. Load their days again afterwards.",
        ),
    ] = False,
    json: PrintJson = False,
    data: Data = None,
) -> None:
    """Restore a backup into an empty data directory.

    The secret that its keys were made under must be there. What is wrong is said before anything is touched.
    Finished reports that are damaged or missing in the archive are left out, with a warning.
    One that was killed is begun anew by the next. Tables and reports go to the object store that
    REELPORT_FACTS_URL and REELPORT_FILES_URL name, where they are set: what is there already stays.

    Example: reelport restore backups --data restored
    """
    from reelport.server.backup.archive import FACTS, FILES, Archive
    from reelport.server.backup.damage import name_days
    from reelport.server.backup.restore import restore_backup
    from reelport.server.settings import read_settings
    from reelport.storage.durable import set_readers

    settings = read_settings(data=data)
    set_readers(settings.readers)
    archive = Archive(source.absolute())
    found = archive.read(id)
    left_out = restore_backup(archive, found, settings, without_damaged=without_damaged)
    reports, facts = ([file for file in left_out if file.store == store] for store in (FILES, FACTS))
    _warn_of_reports([file.name for file in reports])
    _warn_of_facts(name_days(archive, found, facts))
    lists = {"reports_left_out": reports, "facts_left_out": facts}
    told = {name: [file.name for file in files] if json else len(files) for name, files in lists.items()}
    print_fields({**_describe(found), **told, "restored_to": _list_places(settings)}, as_json=json)


def verify_backup(
    source: Archive,
    *,
    id: Id = None,  # noqa: A002 - the option's name
    scratch: Annotated[
        Path | None, Parameter(help="The folder for the temporary restore; otherwise the system's temporary folder.")
    ] = None,
    scratch_database: Annotated[
        str | None,
        Parameter(
            help="An empty database to restore a state of PostgreSQL into, emptied afterwards; by default a server "
            "of its own is started for the while."
        ),
    ] = None,
    json: PrintJson = False,
) -> None:
    """Restore a backup to a scratch place, check every file, and make its reports again.

    The exit status is 1 when anything differs. Neither secret nor data directory is needed.

    Example: reelport verify-backup backups
    """
    from reelport.server.backup.archive import Archive
    from reelport.server.backup.check import find_faults
    from reelport.server.settings import read_settings

    archive = Archive(source.absolute())
    found = archive.read(id)
    faults = find_faults(archive, found, read_settings(), scratch, scratch_database)
    if faults:
        raise StorageError("\n".join(faults))
    print_fields({**_describe(found), "verified": "restored, and its reports are the same"}, as_json=json)


def _record_end(db: Engine) -> None:
    """Record for `/metrics` that a backup has ended.

    A backup is whole also where the state can't be written.
    """
    from reelport.server.state.database import writing
    from reelport.server.state.tallies import record_backup

    try:
        with writing(db) as connection:
            record_backup(connection, datetime.now(UTC))
    except StorageError as error:
        print(f"reelport: warning: /metrics doesn't tell of this backup: {error}", file=sys.stderr)


def _warn_of_reports(names: list[str]) -> None:
    from reelport.wording import format_count

    if names:
        count = format_count(len(names), "finished report is", "finished reports are")
        _warn(count, names, "They are shown as expired, and can be asked for again.")


def _warn_of_facts(days: list[str]) -> None:
    from reelport.wording import format_count

    if days:
        count = format_count(len(days), "file of the tables is", "files of the tables are")
        _warn(count, days, "Load these days anew (--replace-days): their reports fail until then.")


def _warn(count: str, names: list[str], then: str) -> None:
    from reelport.server.backup.damage import list_some

    left_out = f"{count} damaged or missing in the archive, and left out: {list_some(names)}."
    print(f"reelport: warning: {left_out} {then}", file=sys.stderr)


def _list_places(settings: Settings) -> str:
    return ", ".join(filter(None, (str(settings.data), settings.facts_url, settings.files_url)))


def _describe(manifest: Manifest) -> dict[str, object]:
    return {
        "backup": manifest.id,
        "files": len(manifest.files),
        "bytes": sum(stored.size for stored in manifest.contents),
        "reports_compared": len(manifest.probes),
    }

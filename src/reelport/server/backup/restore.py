"""Restores a backup into an empty data directory, or tries to at a scratch place.

What is wrong is told before anything is touched. A PostgreSQL takes the state whole, and only while it is empty: of two
restores the second fails. A restore that is killed after that knows the state as its own by its directory's mark. To
try a restore, or the migrations of a state, a PostgreSQL's state needs an empty database.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import MetaData, select, text

from reelport.errors import ReelportError, StorageError, UsageError
from reelport.facts.layout import (
    FILE_NAME,
    UNFINISHED_NAME,
    begin_restore,
    end_restore,
    read_unfinished,
)
from reelport.facts.loading.verification import verify
from reelport.facts.log.snapshot import ABSENT
from reelport.facts.log.table_identity import RECORD, restore_identity
from reelport.server import credentials
from reelport.server.backup.kept_backups import FACTS, FILES, Archive, BackedUpFile, Manifest, Stored
from reelport.server.backup.state_dump import (
    POSTGRESQL,
    SQLITE,
    check_state_file,
    describe_address,
    dump_state,
    find_tool_problem,
    list_tables,
    load_state,
    name_database,
)
from reelport.server.settings import Settings
from reelport.server.state import state_record
from reelport.server.state.database import opened, upgrade, writing
from reelport.server.state.own_tables import read_tables_identity
from reelport.server.state.revisions import describe_newer_revision
from reelport.server.state.tables import REPORTS
from reelport.storage.durable import private, strip_draft, translate_io_errors
from reelport.storage.locked_folders import claim_folder, open_scratch_folder
from reelport.wire import ReportStatus
from reelport.wording import format_count

if TYPE_CHECKING:
    from reelport.server.backup.object_store_restore import Bucket


_RESTORED = frozenset(
    {"facts", "files", "cache", "state.db", state_record.NAME, RECORD, FILE_NAME, UNFINISHED_NAME}
    | {f"state.db-{kind}" for kind in ("journal", "wal", "shm", "writer")}
)
"""What an unfinished restore may have left in a data directory, beside drafts of these files."""
_ROOM = 1.05
"""Free bytes that a restore asks for, as a multiple of the backup's."""
_BLOCK = 512
"""Bytes of a block in which the system counts what a file takes."""


def restore_backup(
    archive: Archive,
    manifest: Manifest,
    settings: Settings,
    *,
    check_secret: bool = True,
    without_damaged: bool = False,
) -> tuple[BackedUpFile, ...]:
    """Restore a backup into the data directory of these settings, and into its empty database.

    UsageError lists every reason why that can't be; nothing was touched then. Return what is left out: finished reports
    that are damaged or missing in the archive, which are expired then, and with `without_damaged` such data files of
    tables. StorageError names all else that is damaged. After a kill only a restore may use the directory.
    """
    needed = manifest.list_needed(without_damaged=without_damaged)
    # Names the backup and the database that its state was loaded into, to know that of a killed restore again.
    loaded = f"{manifest.id} {manifest.state.sha256} {describe_address(settings)}"
    with _lock(settings.data):
        is_loaded = bool(settings.database_url) and read_unfinished(settings.data) == loaded
        wrong = list(_find_problems(manifest, settings, check_secret=check_secret, is_loaded=is_loaded))
        if missing := {content for content in needed if not archive.holds(content)}:
            wrong.append(_describe_damage(archive, manifest, missing))
        if wrong:
            raise UsageError("\n".join(wrong))
        with translate_io_errors(settings.data):
            settings.data.chmod(0o777 & ~settings.readers.denied_bits)
            for path in _list_leftovers(settings):  # first: what is left may fill the disk
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        begin_restore(settings.data, loaded if is_loaded else manifest.id)
        lost = _restore_files(archive, manifest, settings, needed)
        if manifest.database == SQLITE:
            archive.copy_out(manifest.state, settings.data, settings.state_file.name)
        elif not is_loaded or not list_tables(settings):
            load_state(settings, archive.locate(manifest.state))
            begin_restore(settings.data, loaded)
        kept = {file.name for file in {*manifest.files} - lost if file.store == FILES}
        _bring_up_to_date(settings, kept, [name for name, at in manifest.versions.items() if at != ABSENT])
        end_restore(settings.data)
        for bucket in _list_buckets(manifest, settings):
            with suppress(StorageError):  # all is restored: a mark that stays is in nobody's way
                bucket.finish()
    return tuple(file for file in manifest.files if file in lost)


@contextmanager
def _lock(data: Path) -> Iterator[None]:
    """Let one restore at a time use the directory; one made for it goes if it fails early."""
    is_new = not data.exists()
    with translate_io_errors(data), private():
        data.mkdir(parents=True, exist_ok=True)
    try:
        with claim_folder(data):
            yield
    except BlockingIOError:
        raise UsageError(f"Another restore into {data} is running.") from None
    except ReelportError:
        if is_new:
            with suppress(OSError):  # it isn't empty: the restore had begun
                data.rmdir()
        raise


def _restore_files(
    archive: Archive, manifest: Manifest, settings: Settings, needed: Collection[Stored]
) -> set[BackedUpFile]:
    """Copy files out, also to object stores; return lost ones, StorageError if one is needed."""

    def refuse(damaged: set[Stored]) -> None:
        if damaged:
            raise StorageError(_describe_damage(archive, manifest, damaged))

    roots = {FACTS: settings.facts_root, FILES: settings.files_root}
    local = _list_local_files(manifest, settings)
    lost = {file for file in local if not archive.copy_out(file.content, roots[file.store], file.name)}
    damaged = {file.content for file in lost if file.content in needed}
    refuse(damaged if archive.is_whole(manifest.state) else {*damaged, manifest.state})
    for bucket in _list_buckets(manifest, settings):
        names = bucket.restore(archive, needed)
        there = {file for file in manifest.files if file.store == bucket.kind and file.name in names}
        refuse({file.content for file in there if file.content in needed})
        lost |= there
    return lost


def _list_local_files(manifest: Manifest, settings: Settings) -> list[BackedUpFile]:
    urls = {FACTS: settings.facts_url, FILES: settings.files_url}
    return [file for file in manifest.files if not urls[file.store]]


def _list_buckets(manifest: Manifest, settings: Settings) -> list[Bucket]:
    if not settings.facts_url and not settings.files_url:
        return []
    from reelport.server.backup.object_store_restore import list_buckets  # noqa: PLC0415 - loads a library that few need

    return list_buckets(manifest, settings)


def _find_problems(manifest: Manifest, settings: Settings, *, check_secret: bool, is_loaded: bool) -> Iterator[str]:
    if newer := describe_newer_revision(manifest.revision):
        yield newer
    if manifest.database != name_database(settings):
        needed = "set" if manifest.database == POSTGRESQL else "don't set"
        yield f"The state was in {manifest.database}: {needed} REELPORT_DATABASE_URL."
    elif problem := find_tool_problem(manifest.database):
        yield problem
    elif settings.database_url and not is_loaded and list_tables(settings):
        yield "The database of REELPORT_DATABASE_URL isn't empty: name a new one."
    if check_secret and manifest.fingerprint is not None:
        yield from _find_secret_problems(manifest.fingerprint, settings)
    for bucket in _list_buckets(manifest, settings):
        yield from bucket.find_problems()
    yield from _find_place_problems(manifest, settings)


def _find_secret_problems(fingerprint: str, settings: Settings) -> Iterator[str]:
    """Say if the secret isn't the one that the keys were made under. None is made here."""
    bring = f"bring {settings.data / credentials.SECRET_FILE} from where you keep it, or set REELPORT_SECRET."
    if settings.secret is None and not (settings.data / credentials.SECRET_FILE).exists():
        yield f"The keys of the backup need their secret, which no backup holds: {bring}"
    elif credentials.load_service_secret(settings).fingerprint != fingerprint:
        yield f"The secret here is another one than the keys of the backup were made under: {bring}"


def _find_place_problems(manifest: Manifest, settings: Settings) -> Iterator[str]:
    data = settings.data
    is_unfinished = read_unfinished(data) is not None
    try:
        with translate_io_errors(data):
            held = {path.name for path in data.iterdir()}
            free = shutil.disk_usage(data).free
            if is_unfinished:  # what the next restore frees before it writes
                found = (file for path in _list_leftovers(settings) for file in (path, *path.rglob("*")))
                free += sum(file.lstat().st_blocks * _BLOCK for file in found)
    except StorageError as error:
        yield str(error)
        return
    own = {credentials.SECRET_FILE} | (_RESTORED if is_unfinished else {UNFINISHED_NAME})
    if {strip_draft(name) for name in held} - own:
        yield (
            f"{data} isn't empty: name a new directory, "
            f"with {credentials.SECRET_FILE} alone in it if that is where the secret is."
        )
    kept = {manifest.state, *(file.content for file in _list_local_files(manifest, settings))}
    needed = int(_ROOM * sum(stored.size for stored in kept))
    if free < needed:
        yield f"{data} has {free:,} bytes of room, and the backup needs {needed:,}."


def _list_leftovers(settings: Settings) -> list[Path]:
    """List what an unfinished restore left: the next one makes it anew."""
    kept = {credentials.SECRET_FILE, UNFINISHED_NAME}
    return [path for path in settings.data.iterdir() if path.name not in kept]


def _bring_up_to_date(settings: Settings, kept: set[str], tables: Iterable[str]) -> None:
    """Migrate the state, mark its tables, and expire reports whose files vanished."""
    with opened(settings) as db, private():
        upgrade(db)
        with writing(db) as connection:
            found = connection.execute(select(REPORTS.c.id, REPORTS.c.file).where(REPORTS.c.file.is_not(None)))
            if lost := [row.id for row in found if row.file not in kept]:
                expired = {"status": ReportStatus.EXPIRED.value, "file": None}
                connection.execute(REPORTS.update().where(REPORTS.c.id.in_(lost)).values(expired))
        if (identity := read_tables_identity(db)) is not None:
            restore_identity(settings.data, settings.facts_root, identity, tables)
        state_record.record_state(settings, is_new=True)


def _describe_damage(archive: Archive, manifest: Manifest, damaged: Collection[Stored]) -> str:
    count = format_count(len(damaged), "object of the backup is", "objects of the backup are")
    named = [(manifest.state, "the state")] if manifest.state in damaged else []
    named += [(file.content, file.name) for file in manifest.files if file.store == FACTS and file.content in damaged]
    lines = [f"{archive.locate(content)}: {what}" for content, what in named]
    ways = ["put them back from another copy of the archive", "restore another backup (--id)"]
    if manifest.list_needed(without_damaged=True).isdisjoint(damaged):
        ways.append("restore without them (--without-damaged) and load their days anew")
    advice = f"What you can do: {'; or '.join(ways)}."
    return "\n".join([f"{count} damaged or missing in {archive.root}:", *lines, advice])


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

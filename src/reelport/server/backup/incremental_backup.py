"""Makes a backup while the service runs: state, reports, tables. Reads only new files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from importlib.metadata import version

from sqlalchemy import Engine, select

from reelport.errors import ReelportError, StorageError, UsageError
from reelport.facts.log.log_files import LOG_FOLDER, commit_name, open_store
from reelport.facts.log.role_copies import find_original
from reelport.facts.log.snapshot import newest_versions, pin
from reelport.facts.tables import TABLES
from reelport.server.backup.kept_backups import FACTS, FILES, Archive, BackedUpFile, Manifest, Stored
from reelport.server.backup.state_dump import dump_state, name_database
from reelport.server.settings import Settings
from reelport.server.state.database import reading
from reelport.server.state.own_tables import refuse_other_tables
from reelport.server.state.revisions import REVISION
from reelport.server.state.secret_fingerprint import read_fingerprint
from reelport.server.state.tables import REPORTS
from reelport.storage.file_store import FileStore
from reelport.storage.local_folder import LocalFolder

_DRAFT = ".part"

_Known = Mapping[tuple[str, str, str], Stored]
"""What the newest backup keeps, by store, name and tag: such a file isn't read again."""


def create_backup(db: Engine, settings: Settings, archive: Archive, now: datetime) -> Manifest:
    """Add a backup to the archive; StorageError when a file that a version needs is gone."""
    if archive.root.resolve().is_relative_to(settings.data.resolve()):
        raise UsageError(f"{archive.root} is in the data directory itself: name a folder elsewhere, on another disk.")
    with archive.writing() as work:
        # The state is read before the tables: what it names is there then. A report that expires meanwhile is left out.
        id_, known = _choose_id(archive, now), _list_known(archive)
        with reading(db) as connection:
            fingerprint = read_fingerprint(connection)
            reports = connection.execute(select(REPORTS.c.file).where(REPORTS.c.file.is_not(None))).scalars().all()
        refuse_other_tables(db, settings)
        dump_state(settings, work / "state")
        with closing(LocalFolder(work).open("state")) as dump:
            state = archive.store(dump)
        (work / "state").unlink()
        versions = dict(newest_versions(settings.facts_root))
        files = (
            *_store_files(archive, settings.report_store, FILES, "", sorted(reports), known),
            *_store_tables(settings, archive, versions, known),
        )
        manifest = Manifest(
            id=id_,
            made_at=now.isoformat(),
            reelport=version("reelport"),
            revision=REVISION,
            database=name_database(settings),
            fingerprint=fingerprint,
            versions=versions,
            state=state,
            files=files,
        )
        archive.add(manifest)
    return manifest


def _choose_id(archive: Archive, now: datetime) -> str:
    """Name a backup by its time. UsageError when a later one is there: names tell the newest."""
    id_ = f"{now:%Y-%m-%dT%H-%M-%S.%f}"[:-3] + "Z"
    newest = max(archive.list_ids(), default="")
    if newest >= id_:
        raise UsageError(f"{archive.root} has a later backup, {newest}: set the clock, or delete that manifest.")
    return id_


def _list_known(archive: Archive) -> _Known:
    """List the files of the newest backup; one that can't be read is no help."""
    try:
        newest = archive.read()
    except ReelportError:
        return {}
    found = {(file.store, file.name, file.tag): file.content for file in newest.files}
    return {key: content for key, content in found.items() if archive.holds(content)}


def _store_tables(
    settings: Settings, archive: Archive, versions: Mapping[str, int], known: _Known
) -> Iterator[BackedUpFile]:
    snapshot = pin(settings.facts_root, versions, versions)
    for table in TABLES:
        store = open_store(settings.facts_root / table)
        names = [name for name in store.list_names() if _belongs(name, versions[table])]
        stored = tuple(_store_files(archive, store, FACTS, f"{table}/", sorted(names), known))
        lost = {f"{table}/{file.path}" for file in snapshot.listing[table]} - {file.name for file in stored}
        if lost:
            raise StorageError(f"{min(lost)} is gone: run `reelport verify`, or back up again.")
        yield from stored


def _belongs(name: str, version: int) -> bool:
    """Whether a backup has a table's file: no draft, later commit, checkpoint or copy by role."""
    if not name.startswith(f"{LOG_FOLDER}/"):
        return not name.endswith(_DRAFT) and find_original(name) is None
    return name.endswith(".json") and name <= commit_name(version)


def _store_files(
    archive: Archive, store: FileStore, store_name: str, prefix: str, names: list[str], known: _Known
) -> Iterator[BackedUpFile]:
    for name in names:
        found = store.find(name)
        if found is None:
            continue
        content = known.get((store_name, prefix + name, found.tag))
        if content is None:
            try:
                file = store.open(name)
            except FileNotFoundError:
                continue
            with closing(file):
                content = archive.store(file)
        yield BackedUpFile(store_name, prefix + name, found.tag, content)

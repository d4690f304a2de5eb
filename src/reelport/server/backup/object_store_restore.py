"""Restores the files of a backup into an object store, a table's log last.

Nothing there is replaced or deleted. A mark says which backup is being restored there, so that a restore that was
killed goes on where it was. The tables' first commits are the last files: without its first commit no version of a
table can be read, and with it all of them can.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from reelport import killpoints
from reelport.errors import StorageError
from reelport.facts.log import table_identity
from reelport.facts.log.log_files import LOG_FOLDER
from reelport.server.backup.kept_backups import FACTS, FILES, Archive, Manifest, Stored, list_some
from reelport.server.files import store_owner
from reelport.server.settings import Settings
from reelport.storage.file_cache import FileCache
from reelport.storage.file_store import read_file
from reelport.storage.local_folder import LocalFolder
from reelport.storage.object_store import ObjectStore
from reelport.storage.s3_address import S3Address

MARK = ".reelport-restore"
"""The file that says which backup is being restored into a prefix."""
_UPLOADS = 4


@dataclass(frozen=True)
class Bucket:
    """A prefix of an object store, and what of a backup belongs there."""

    kind: str
    """Whether tables (`facts`) or finished reports (`files`) belong there."""
    url: str
    files: dict[str, Stored]
    store: ObjectStore
    origin: str
    owner: str | None
    """The fingerprint of the secret whose service the prefix belongs to; None where it has no mark of one."""

    def find_problems(self) -> Iterator[str]:
        """Say why the backup can't be restored there; nothing is touched."""
        marks = {MARK} if self.owner is None else {MARK, store_owner.NAME, store_owner.PLACE_NAME}
        made_anew = f"{table_identity.FOLDER}/"
        try:
            held = {name for name in self.store.list_names() if name not in marks}
            if self.kind == FACTS:
                held = {name for name in held if not name.startswith(made_anew)}
            if self.owner is not None:
                yield from self._find_other_owners(self.owner)
            if (origin := self._read(MARK)) not in {None, self.origin}:
                yield f"{self.url} holds a part of another backup ({origin}): restore that one, or name a new prefix."
            if foreign := sorted(held - self.files.keys() if origin else held):
                yield f"{self.url} isn't empty: it holds {list_some(foreign)}. Name a new prefix."
        except StorageError as error:
            yield str(error)

    def _find_other_owners(self, own: str) -> Iterator[str]:
        if self._read(store_owner.NAME) not in {None, own}:
            yield f"{self.url} holds the reports of a service with another secret: name another prefix."
        if self._read(store_owner.PLACE_NAME) is not None:
            yield (
                f"{self.url} belongs to a service whose state is elsewhere: name another prefix; or, where that one "
                f"never starts again, delete {store_owner.PLACE_NAME} there."
            )

    def restore(self, archive: Archive, needed: Collection[Stored]) -> frozenset[str]:
        """Upload what is missing there; return the names of files that the archive lacks.

        If one of them is needed, no commit is put, so that no table can be read. Raises StorageError; run again, it
        goes on. The mark stays until `finish`.
        """
        self._claim(MARK, self.origin)
        if self.owner is not None:
            self._claim(store_owner.NAME, self.owner)
        there = {*self.store.list_names()}
        missing = [name for name in self.files if name not in there]
        commits = [name for name in missing if f"/{LOG_FOLDER}/" in name and self.kind == FACTS]
        others = [name for name in missing if name not in commits]
        lost = {name for name in _run_all(others, lambda name: self._upload(archive, name)) if name is not None}
        lost |= {name for name in commits if not archive.is_whole(self.files[name])}
        if not any(self.files[name] in needed for name in lost):
            if commits:
                self._require_own_logs(there)
            for name in sorted(commits, key=lambda name: name.rpartition("/")[2], reverse=True):
                self._commit(archive, name)
        return frozenset(lost)

    def finish(self) -> None:
        """Take the mark away: the whole backup is restored."""
        self.store.delete(MARK)

    def _require_own_logs(self, before: set[str]) -> None:
        """Raise StorageError where somebody else has begun a table: our commits would go on there."""
        if new := sorted(name for name in self.store.list_names() if f"/{LOG_FOLDER}/" in name and name not in before):
            raise StorageError(f"{self.url}: somebody else has begun to write there ({list_some(new)}).")

    def _read(self, name: str) -> str | None:
        with suppress(FileNotFoundError):
            return read_file(self.store, name).decode(errors="replace").strip()
        return None

    def _claim(self, name: str, content: str) -> None:
        """Put a mark unless it is there. StorageError where somebody else was first."""
        with suppress(FileExistsError):
            self.store.put(name, content.encode(), is_new=True)
        if self._read(name) != content:
            raise StorageError(f"{self.url}: somebody else has just begun to write there.")

    def _upload(self, archive: Archive, name: str) -> str | None:
        content = self.files[name]
        if not archive.is_whole(content):
            return name
        self.store.upload(archive.locate(content), name)
        killpoints.reach("restore-upload")
        return None

    def _commit(self, archive: Archive, name: str) -> None:
        """Put a commit on condition that there is none."""
        try:
            self.store.put(name, archive.locate(self.files[name]).read_bytes(), is_new=True)
        except FileExistsError:
            raise StorageError(f"{self.url}/{name}: somebody else has just put this commit.") from None
        killpoints.reach("restore-commit")


def list_buckets(manifest: Manifest, settings: Settings) -> list[Bucket]:
    """List the prefixes that these settings name, for tables and for finished reports."""
    origin = f"{manifest.id} {manifest.state.sha256}"
    found = []
    for store, url in ((FACTS, settings.facts_url), (FILES, settings.files_url)):
        if url:
            # Nothing is read through the cache, and no draft is written.
            unused = settings.cache_root / store
            opened = ObjectStore(S3Address.parse(url), LocalFolder(unused), FileCache(unused, 0))
            files = {file.name: file.content for file in manifest.files if file.store == store}
            found.append(Bucket(store, url, files, opened, origin, manifest.fingerprint if store == FILES else None))
    return found


def _run_all(names: Iterable[str], work: Callable[[str], str | None]) -> list[str | None]:
    """Do the work for each name, for several at a time."""
    with ThreadPoolExecutor(_UPLOADS, thread_name_prefix="restore") as pool:
        return list(pool.map(work, names))

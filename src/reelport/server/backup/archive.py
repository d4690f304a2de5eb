"""The archive: a folder of backups, whose objects are named by SHA-256 and kept once."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from reelport.errors import UsageError
from reelport.server.backup.archive_folder import (
    LOCK,
    MANIFESTS,
    OBJECTS,
    WORK,
    WORK_PREFIX,
    claim_folder,
    is_draft,
    list_work_left,
    name_draft,
)
from reelport.server.backup.manifest import Manifest, Stored, is_digest, parse_manifest
from reelport.storage.durable import make_folder, replace_file, sync_file, sync_folder, translate_io_errors
from reelport.storage.file_store import OpenFile
from reelport.storage.local_folder import LocalFolder
from reelport.storage.modes import private

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Archive:
    """The backups in a folder. Any number of them share their objects."""

    root: Path

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Let one process at a time change the archive; UsageError while another does."""
        claim_folder(self.root)
        with translate_io_errors(self.root), private():
            handle = os.open(self.root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"Another backup into {self.root} is running.") from None
            with translate_io_errors(self.root):
                for left in list_work_left(self._work):
                    shutil.rmtree(left)
            yield
        finally:
            os.close(handle)

    @property
    def _work(self) -> Path:
        return self.root / WORK

    @contextmanager
    def open_work(self) -> Iterator[Path]:
        """Lend a folder for what a backup needs while it is made.

        What a killed one left goes with the next.
        """
        with translate_io_errors(self._work):
            folder = tempfile.TemporaryDirectory(prefix=WORK_PREFIX, dir=self._work)
        with folder as name:
            yield Path(name)

    def list_ids(self) -> tuple[str, ...]:
        """List the backups, the oldest first."""
        with translate_io_errors(self.root):
            return tuple(sorted(path.stem for path in (self.root / MANIFESTS).glob("*.json")))

    def read(self, id_: str | None = None) -> Manifest:
        """Read the manifest of a backup, or of the newest one; UsageError when there is none."""
        if not self.root.is_dir():
            raise UsageError(f"{self.root} isn't there, or is no folder.")
        known = self.list_ids()
        if not known or (id_ is not None and id_ not in known):
            there = f"it holds {', '.join(known[-5:])}" if known else "it holds none"
            raise UsageError(f"{self.root} has no backup{'' if id_ is None else f' {id_!r}'}: {there}.")
        path = self.root / MANIFESTS / f"{id_ or known[-1]}.json"
        with translate_io_errors(path):
            return parse_manifest(path.read_bytes(), str(path))

    def add(self, manifest: Manifest) -> None:
        """Add a backup whose objects are all there: with this it exists."""
        path = self.root / MANIFESTS / f"{manifest.id}.json"
        with translate_io_errors(path), private():
            replace_file(path, manifest.to_json(), is_new=True)

    def store(self, source: OpenFile) -> Stored:
        """Keep the content of an open file, durably, unless it is kept already."""
        part = self.root / OBJECTS / name_draft()
        digest, size = hashlib.sha256(), 0
        with translate_io_errors(part), private():
            try:
                with part.open("xb") as copy:
                    while data := source.read(size, _CHUNK):
                        digest.update(data)
                        copy.write(data)
                        size += len(data)
                stored = Stored(digest.hexdigest(), size)
                # What was read anyway mends an object that has been damaged.
                if self._check(stored) is not None:
                    self._keep(part, stored)
            finally:
                part.unlink(missing_ok=True)
        return stored

    def _keep(self, part: Path, stored: Stored) -> None:
        path = self.locate(stored)
        make_folder(path.parent)
        sync_file(part)
        part.rename(path)
        sync_folder(path.parent)

    def holds(self, stored: Stored) -> bool:
        """Whether an object is there with its size."""
        with suppress(OSError):
            return self.locate(stored).stat().st_size == stored.size
        return False

    def locate(self, stored: Stored) -> Path:
        """Return the path of an object."""
        return self.root / OBJECTS / stored.sha256[:2] / stored.sha256

    def copy_out(self, stored: Stored, root: Path, name: str) -> bool:
        """Copy an object to a new file of a folder, durably.

        Return False, and leave no file, where it is damaged or missing. StorageError when the name would lead out of
        the folder.
        """
        [to] = LocalFolder(root).local_paths([name])
        with translate_io_errors(to):
            make_folder(to.parent)
            with private(), to.open("xb") as copy:
                is_whole = _read_through(self.locate(stored), copy.write) == stored.sha256
            if not is_whole:
                to.unlink()
                return False
            sync_file(to)
            sync_folder(to.parent)
        return True

    def is_whole(self, stored: Stored) -> bool:
        """Whether an object is there with its bytes."""
        with translate_io_errors(self.locate(stored)):
            return _read_through(self.locate(stored), len) == stored.sha256

    def find_damage(self, manifest: Manifest) -> list[str]:
        """List a sentence for each object of a backup that is missing or has other bytes."""
        return [sentence for stored in sorted(manifest.contents, key=repr) if (sentence := self._check(stored))]

    def _check(self, stored: Stored) -> str | None:
        path = self.locate(stored)
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            return f"{path} can't be read: {error.strerror}."
        return None if found == stored.sha256 else f"{path} is damaged: delete it, and the next backup writes it again."

    def prune(self, keep: int) -> tuple[str, ...]:
        """Delete all but the newest backups, and objects that none needs; return the ids that went.

        StorageError, with nothing deleted, when a manifest can't be read: what it needs isn't known.
        """
        with self.writing(), translate_io_errors(self.root):
            known = self.list_ids()
            manifests = [self.read(id_) for id_ in known]
            needed = {stored.sha256 for manifest in manifests[-keep:] for stored in manifest.contents}
            for id_ in known[:-keep]:
                (self.root / MANIFESTS / f"{id_}.json").unlink()
            # Drafts of killed backups go too: this process alone writes now.
            for path in self._list_own_files():
                if path.name not in needed:
                    path.unlink()
        return known[:-keep]

    def _list_own_files(self) -> Iterator[Path]:
        """List objects and drafts: whatever else lies in the folder is somebody else's."""
        objects = self.root / OBJECTS
        yield from (path for path in objects.iterdir() if is_draft(path.name))
        yield from (path for path in objects.glob("??/*") if is_digest(path.name) and path.parent.name == path.name[:2])


def _read_through(source: Path, take: Callable[[bytes], object]) -> str | None:
    """Hand a file's bytes on, and return their SHA-256.

    None where the file is missing, or the disk can't read it.
    """
    digest = hashlib.sha256()
    try:
        file = source.open("rb")
    except FileNotFoundError:
        return None
    with file:
        while (data := _read_chunk(file)) != b"":
            if data is None:
                return None
            digest.update(data)
            take(data)
    return digest.hexdigest()


def _read_chunk(file: BinaryIO) -> bytes | None:
    try:
        return file.read(_CHUNK)
    except OSError as error:
        if error.errno == errno.EIO:
            return None
        raise

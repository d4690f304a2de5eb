"""The archive: a folder of kept backups, whose objects are named by SHA-256 and kept once."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reelport.errors import NewerData, StorageError, UsageError
from reelport.facts.tables import MONTH, TABLES
from reelport.storage.durable import make_folder, private, replace_file, sync_file, sync_folder, translate_io_errors
from reelport.storage.file_store import OpenFile
from reelport.storage.local_folder import LocalFolder
from reelport.storage.locked_folders import claim_folder, open_scratch_folder
from reelport.wording import format_count

FACTS, FILES = STORES = ("facts", "files")
"""The stores that files are backed up from: the tables, and the finished reports."""
_MANIFESTS, _OBJECTS, _WORK = "backups", "objects", "work"
_FORMAT = 1
_CHUNK = 1 << 20
_SHOWN = 3
_DIGEST = re.compile("[0-9a-f]{64}")
_DRAFT = re.compile(r"[0-9a-f]{16}\.part")


@dataclass(frozen=True, slots=True)
class Stored:
    """One object of the archive: the SHA-256 in hex that it is named by, and its bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class BackedUpFile:
    """A file of the tables or a finished report; its `tag` tells if it was written again."""

    store: str
    name: str
    tag: str
    content: Stored


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole backup; `fingerprint` is that of the secret, None before the first key."""

    id: str
    made_at: str
    reelport: str
    revision: str
    database: str
    fingerprint: str | None
    versions: Mapping[str, int]
    state: Stored
    files: tuple[BackedUpFile, ...]

    @property
    def contents(self) -> frozenset[Stored]:
        """Every object that the backup needs."""
        return frozenset({self.state, *(file.content for file in self.files)})

    def list_needed(self, *, without_damaged: bool) -> frozenset[Stored]:
        """List the objects without which a restore is refused.

        Finished reports are not among them. With `without_damaged` neither are data files of facts, which can be
        loaded anew; other tables are changed row by row.
        """
        files = [file for file in self.files if file.store == FACTS]
        if without_damaged:
            spared = tuple(f"{name}/{MONTH}=" for name, table in TABLES.items() if table.is_fact)
            files = [file for file in files if not file.name.startswith(spared)]
        return frozenset({self.state, *(file.content for file in files)})

    def to_json(self) -> bytes:
        """Write the manifest."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1).encode() + b"\n"


def parse_manifest(text: bytes, place: str) -> Manifest:
    """Read a manifest. NewerData if a newer Reelport wrote it, StorageError if it is damaged."""
    try:
        body: dict[str, Any] = json.loads(text)
        if body.pop("format") > _FORMAT:
            raise NewerData(f"{place} was written by a newer version of Reelport: restore it with that version.")
        body["state"] = _parse_stored(body["state"])
        body["files"] = tuple(map(_parse_file, body["files"]))
        return Manifest(**body)
    except (ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise StorageError(f"{place} is damaged, or no manifest of a backup.") from error


def _parse_stored(body: Mapping[str, Any]) -> Stored:
    if not _DIGEST.fullmatch(body["sha256"]) or not isinstance(body["size"], int) or body["size"] < 0:
        raise ValueError(body)
    return Stored(**body)


def _parse_file(body: Mapping[str, Any]) -> BackedUpFile:
    file = BackedUpFile(**{**body, "content": _parse_stored(body["content"])})
    if file.store not in STORES or not all(isinstance(text, str) for text in (file.name, file.tag)):
        raise ValueError(body)
    return file


@dataclass(frozen=True, slots=True)
class Archive:
    """The backups in a folder. Any number of them share their objects."""

    root: Path

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """Lend a folder for work to one writer at a time; UsageError to another."""
        with translate_io_errors(self.root), private():
            for name in (_MANIFESTS, _OBJECTS, _WORK):
                make_folder(self.root / name)
        try:
            with (
                claim_folder(self.root),
                translate_io_errors(self.root),
                open_scratch_folder("reelport-", self.root / _WORK) as work,
            ):
                yield work
        except BlockingIOError:
            raise UsageError(f"Another backup into {self.root} is running.") from None

    def list_ids(self) -> tuple[str, ...]:
        """List the backups, the oldest first."""
        with translate_io_errors(self.root):
            return tuple(sorted(path.stem for path in (self.root / _MANIFESTS).glob("*.json")))

    def read(self, id_: str | None = None) -> Manifest:
        """Read the manifest of a backup, or of the newest one; UsageError when there is none."""
        if not self.root.is_dir():
            raise UsageError(f"{self.root} isn't there, or is no folder.")
        known = self.list_ids()
        if not known or (id_ is not None and id_ not in known):
            there = f"it holds {', '.join(known[-5:])}" if known else "it holds none"
            raise UsageError(f"{self.root} has no backup{'' if id_ is None else f' {id_!r}'}: {there}.")
        path = self._locate_manifest(id_ or known[-1])
        with translate_io_errors(path):
            return parse_manifest(path.read_bytes(), str(path))

    def _locate_manifest(self, id_: str) -> Path:
        return self.root / _MANIFESTS / f"{id_}.json"

    def add(self, manifest: Manifest) -> None:
        """Add a backup whose objects are all there: with this it exists."""
        path = self._locate_manifest(manifest.id)
        with translate_io_errors(path), private():
            replace_file(path, manifest.to_json(), is_new=True)

    def store(self, source: OpenFile) -> Stored:
        """Keep the content of an open file, durably, unless it is kept already."""
        part = self.root / _OBJECTS / f"{secrets.token_hex(8)}.part"
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
                if self._find_fault(stored) is not None:
                    path = self.locate(stored)
                    make_folder(path.parent)
                    sync_file(part)
                    part.rename(path)
                    sync_folder(path.parent)
            finally:
                part.unlink(missing_ok=True)
        return stored

    def holds(self, stored: Stored) -> bool:
        """Whether an object is there with its size."""
        with suppress(OSError):
            return self.locate(stored).stat().st_size == stored.size
        return False

    def locate(self, stored: Stored) -> Path:
        """Return the path of an object."""
        return self.root / _OBJECTS / stored.sha256[:2] / stored.sha256

    def copy_out(self, stored: Stored, root: Path, name: str) -> bool:
        """Copy an object to a new file of a folder; False, and no file, if it isn't whole."""
        [to] = LocalFolder(root).local_paths([name])
        digest = hashlib.sha256()
        with translate_io_errors(to):
            make_folder(to.parent)
            with private(), to.open("xb") as copy:
                for data in _read_chunks(self.locate(stored)):
                    digest.update(data)
                    copy.write(data)
            if digest.hexdigest() != stored.sha256:
                to.unlink()
                return False
            sync_file(to)
            sync_folder(to.parent)
        return True

    def is_whole(self, stored: Stored) -> bool:
        """Whether an object is there with its bytes."""
        digest = hashlib.sha256()
        with translate_io_errors(self.locate(stored)):
            for data in _read_chunks(self.locate(stored)):
                digest.update(data)
        return self.holds(stored) and digest.hexdigest() == stored.sha256

    def list_faults(self, manifest: Manifest) -> list[str]:
        """List a sentence for each object of a backup that is missing or has other bytes."""
        return [fault for stored in sorted(manifest.contents, key=repr) if (fault := self._find_fault(stored))]

    def _find_fault(self, stored: Stored) -> str | None:
        try:
            if self.is_whole(stored):
                return None
        except StorageError as error:
            return f"{error}."
        return f"{self.locate(stored)} is missing, or damaged: delete it then, and the next backup writes it again."

    def prune(self, keep: int) -> tuple[str, ...]:
        """Delete all but the newest backups, and objects that none needs; return the ids that went.

        StorageError, with nothing deleted, when a manifest can't be read: what it needs isn't known.
        """
        with self.writing(), translate_io_errors(self.root):
            known = self.list_ids()
            manifests = [self.read(id_) for id_ in known]
            needed = {stored.sha256 for manifest in manifests[-keep:] for stored in manifest.contents}
            for id_ in known[:-keep]:
                self._locate_manifest(id_).unlink()
            # Drafts of killed backups go too: this process alone writes now. Whatever else is there is somebody else's.
            objects = self.root / _OBJECTS
            for path in (*objects.glob("*.part"), *objects.glob("??/*")):
                is_object = _DIGEST.fullmatch(path.name) and path.parent.name == path.name[:2]
                if (is_object or _DRAFT.fullmatch(path.name)) and path.name not in needed:
                    path.unlink()
        return known[:-keep]


def list_some(names: list[str]) -> str:
    """List the first few names, and how many more there are."""
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {format_count(len(names) - _SHOWN, 'more file')}"


def _read_chunks(path: Path) -> Iterator[bytes]:
    """Read a file: less of it, or nothing, where the disk can't read it or it is missing."""
    try:
        with path.open("rb") as file:
            while data := file.read(_CHUNK):
                yield data
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.EIO:
            raise

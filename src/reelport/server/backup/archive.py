"""The archive: a folder of backups.

Each has a manifest; their objects are named by SHA-256 and kept once.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from reelport.errors import NewerData, StorageError, UsageError
from reelport.query import ReportQuery
from reelport.storage.durable import make_folder, private, replace_file, sync_file, sync_folder, translate_io_errors
from reelport.storage.file_store import OpenFile
from reelport.storage.local_folder import LocalFolder

MARKER = "reelport-archive.json"
"""The file by which an archive is known."""
FACTS, FILES = STORES = ("facts", "files")
"""The stores that files are backed up from: the tables, and the finished reports."""
_MANIFESTS, _OBJECTS, _WORK, _LOCK = "backups", "objects", "work", "lock"
_WORK_PREFIX = "reelport-"
_FORMAT = 1
_CHUNK = 1 << 20
_DIGEST = re.compile("[0-9a-f]{64}")
_DRAFT = re.compile(r"[0-9a-f]{16}\.part")
_MARKER_DRAFT = re.compile(re.escape(MARKER) + r"\.[0-9a-f]{12}\.part")
_WORK_FOLDER = re.compile(_WORK_PREFIX + "[a-z0-9_]{8}")


@dataclass(frozen=True, slots=True)
class Stored:
    """One object of the archive: the SHA-256 in hex that it is named by, and its bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class BackedUpFile:
    """A file of the tables (`facts`) or a finished report (`files`).

    `tag` tells whether it was written again since.
    """

    store: str
    name: str
    tag: str
    content: Stored


@dataclass(frozen=True, slots=True)
class Probe:
    """A report that was made at the backup: the restored tables must give the same bytes."""

    query: ReportQuery
    channels: tuple[str, ...]
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole backup.

    `versions` are those of the tables; `fingerprint` is the secret's, None before the first key.
    """

    id: str
    made_at: str
    reelport: str
    revision: str
    database: str
    fingerprint: str | None
    versions: Mapping[str, int]
    state: Stored
    files: tuple[BackedUpFile, ...]
    probes: tuple[Probe, ...]

    @property
    def contents(self) -> frozenset[Stored]:
        """Every object that the backup needs."""
        return frozenset({self.state, *(file.content for file in self.files)})

    def to_json(self) -> bytes:
        """Write the manifest."""
        probes = [{**asdict(probe), "query": probe.query.to_wire()} for probe in self.probes]
        fields = {name: getattr(self, name) for name in self.__slots__ if name not in {"files", "probes", "state"}}
        files = [asdict(file) for file in self.files]
        body = {"format": _FORMAT, **fields, "state": asdict(self.state), "files": files, "probes": probes}
        return json.dumps(body, indent=1).encode() + b"\n"


def parse_manifest(text: bytes, place: str) -> Manifest:
    """Read a manifest. NewerData if a newer Reelport wrote it, StorageError if it is damaged."""
    try:
        body: dict[str, Any] = json.loads(text)
        if body.pop("format") > _FORMAT:
            raise NewerData(f"{place} was written by a newer version of Reelport: restore it with that version.")
        body["state"] = _parse_stored(body["state"])
        body["files"] = tuple(map(_parse_file, body["files"]))
        body["probes"] = tuple(map(_parse_probe, body["probes"]))
        return Manifest(**body)
    except (ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise StorageError(f"{place} is damaged, or no manifest of a backup.") from error


def _is_digest(text: object) -> bool:
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def _parse_stored(body: Mapping[str, Any]) -> Stored:
    if not _is_digest(body["sha256"]) or not isinstance(body["size"], int) or body["size"] < 0:
        raise ValueError(body)
    return Stored(**body)


def _parse_file(body: Mapping[str, Any]) -> BackedUpFile:
    file = BackedUpFile(**{**body, "content": _parse_stored(body["content"])})
    if file.store not in STORES or not all(isinstance(text, str) for text in (file.name, file.tag)):
        raise ValueError(body)
    return file


def _parse_probe(body: Mapping[str, Any]) -> Probe:
    return Probe(**{**body, "query": ReportQuery.from_wire(body["query"]), "channels": tuple(body["channels"])})


@dataclass(frozen=True, slots=True)
class Archive:
    """The backups in a folder. Any number of them share their objects."""

    root: Path

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Let one process at a time change the archive; UsageError while another does."""
        _claim_folder(self.root)
        with translate_io_errors(self.root), private():
            handle = os.open(self.root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"Another backup into {self.root} is running.") from None
            with translate_io_errors(self.root):
                for left in _list_work_left(self._work):
                    shutil.rmtree(left)
            yield
        finally:
            os.close(handle)

    @property
    def _work(self) -> Path:
        return self.root / _WORK

    @contextmanager
    def open_work(self) -> Iterator[Path]:
        """Lend a folder for what a backup needs while it is made.

        What a killed one left goes with the next.
        """
        with translate_io_errors(self._work):
            folder = tempfile.TemporaryDirectory(prefix=_WORK_PREFIX, dir=self._work)
        with folder as name:
            yield Path(name)

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
        path = self.root / _MANIFESTS / f"{id_ or known[-1]}.json"
        with translate_io_errors(path):
            return parse_manifest(path.read_bytes(), str(path))

    def add(self, manifest: Manifest) -> None:
        """Add a backup whose objects are all there: with this it exists."""
        path = self.root / _MANIFESTS / f"{manifest.id}.json"
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
        return self.root / _OBJECTS / stored.sha256[:2] / stored.sha256

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
                (self.root / _MANIFESTS / f"{id_}.json").unlink()
            # Drafts of killed backups go too: this process alone writes now.
            for path in self._list_own_files():
                if path.name not in needed:
                    path.unlink()
        return known[:-keep]

    def _list_own_files(self) -> Iterator[Path]:
        """List objects and drafts: whatever else lies in the folder is somebody else's."""
        objects = self.root / _OBJECTS
        yield from (path for path in objects.iterdir() if _DRAFT.fullmatch(path.name))
        yield from (
            path for path in objects.glob("??/*") if _is_digest(path.name) and path.parent.name == path.name[:2]
        )


def _claim_folder(root: Path) -> None:
    """Make a new or empty folder an archive, durably.

    UsageError for a folder that holds something else, and for an archive with a file where a folder should be.
    """
    with translate_io_errors(root), private():
        make_folder(root)
        if not _is_marked(root):
            foreign = [path for path in root.iterdir() if not _MARKER_DRAFT.fullmatch(path.name)]
            if foreign:
                raise UsageError(_describe_foreign(root, foreign))
            replace_file(root / MARKER, json.dumps({"archive": _FORMAT}).encode() + b"\n")
        for folder in (root / _MANIFESTS, root / _OBJECTS, root / _WORK):
            if not folder.is_dir() and (folder.exists() or folder.is_symlink()):
                raise UsageError(f"{folder} should be a folder of the archive, and is none: move it elsewhere.")
            make_folder(folder)


def _is_marked(root: Path) -> bool:
    path = root / MARKER
    try:
        if json.loads(path.read_bytes())["archive"] > _FORMAT:
            raise NewerData(f"{root} is an archive of a newer version of Reelport: back up with that version.")
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError) as error:
        content = json.dumps({"archive": _FORMAT})
        raise StorageError(f"{path} is damaged: if this is an archive, write {content} into it.") from error
    return True


def _describe_foreign(root: Path, foreign: list[Path]) -> str:
    own = (_MANIFESTS, _OBJECTS, _WORK, _LOCK)
    shown = min(foreign, key=lambda path: (path.name in own, path.name))
    sentence = f"{root} holds something else ({shown.name}): name an empty or a new folder."
    inner = root / _MANIFESTS
    return f"{sentence} {inner} is an archive: did you mean that one?" if (inner / MARKER).is_file() else sentence


def _list_work_left(work: Path) -> Iterator[Path]:
    """List the folders that killed backups left in the folder for work."""
    for path in work.iterdir():
        if _WORK_FOLDER.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            yield path


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

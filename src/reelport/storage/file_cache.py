"""A bounded local cache of a store's immutable files, for libraries that read by path.

Several processes share it. A file in it is whole: it is fetched under another name, made durable and renamed. What a
process reads stays: it lists the names in a file of its own, which it keeps locked, so that a killed process holds
nothing. What is not held goes when the cache is full, least recently used first.

A cache lies for years on a disk that may rot, and outlives the processes that fetched into it. What is wrong in it is
fetched again.

A file was last used at the time of its last access. That of its last modification stays: a comparison with a digest
goes by it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Collection, Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkstemp

from reelport.errors import StorageError
from reelport.storage.digests import DIGITS, DigestCheck, FileDamaged, compute_digest
from reelport.storage.durable import make_folder, private, sync_folder, translate_io_errors
from reelport.storage.file_store import OpenFile, check_name

_FILES, _PARTS, _HOLDS, _DIGESTS, _LOCK = "files", "parts", "holds", "digests", "lock"
_FETCHES = 4
"""Files that one process fetches at the same time."""
_CHUNK_BYTES = 1 << 20

Open = Callable[[str], OpenFile]
_DIGEST_FORM = re.compile(f"[0-9a-f]{{{DIGITS}}}")


@dataclass(slots=True)
class Fetched:
    """The bytes that were fetched into caches."""

    bytes: int = 0


class _Hold:
    """A process's locked list of names that must stay, in each cache that it reads from."""

    def __init__(self) -> None:
        self.fetched = Fetched()
        self._adding = threading.Lock()
        self._handles: dict[Path, tuple[int, Path]] = {}
        self._released = False

    def add(self, folder: Path, names: Sequence[str]) -> None:
        """Add these names to the list in this folder of holds."""
        with self._adding:
            if self._released:  # by a report that was given up: its list would stay as long as the process
                raise StorageError("Whoever fetched these files has ended.")
            if folder not in self._handles:
                handle, path = mkstemp(prefix=f"{os.getpid()}-", dir=folder)
                fcntl.flock(handle, fcntl.LOCK_EX)
                self._handles[folder] = handle, Path(path)
            _append(self._handles[folder][0], "".join(f"{name}\n" for name in names).encode())

    def release(self) -> None:
        with self._adding:
            self._released = True
            for handle, path in self._handles.values():
                path.unlink(missing_ok=True)
                os.close(handle)
            self._handles.clear()


_PROCESS = _Hold()
"""What is fetched outside any `holding` stays until the process ends."""
_holding: ContextVar[_Hold] = ContextVar("holding", default=_PROCESS)


@contextmanager
def holding() -> Iterator[Fetched]:
    """Keep what is fetched within the block until its end, and no longer; count its bytes."""
    hold = _Hold()
    token = _holding.set(hold)
    try:
        yield hold.fetched
    finally:
        _holding.reset(token)
        hold.release()


@dataclass(frozen=True, slots=True)
class FileCache:
    """The cache of one store; `most_bytes` bounds it, but for what is just being read."""

    root: Path
    most_bytes: int
    folder: str = ""
    """What the names of this store's files begin with in the cache, which several stores may share."""
    check_bytes: int = 0
    """Bytes that one fetch compares with digests before this process first reads them; 0: it keeps no digests."""

    def fetch(self, names: Sequence[str], open_file: Open, damaged: Collection[str] = ()) -> tuple[Path, ...]:
        """Hold these files, fetch those that are missing or damaged, and return their paths."""
        for name in names:
            check_name(name, str(self.root))
        with translate_io_errors(self.root, FileNotFoundError), private():
            self._hold(names)
            damaged = self._find_damaged(names).union(damaged)
            missing = [name for name in names if name in damaged or not self._touch(name)]
            if missing:
                try:
                    self._fetch_all(missing, open_file, damaged)
                except OSError as error:
                    if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                        raise
                    # The disk is smaller than the setting says: what nobody reads makes room.
                    self._delete_surplus(0)
                    self._fetch_all(missing, open_file, damaged)
                self.delete_surplus()
        return tuple(map(self.path, names))

    def path(self, name: str) -> Path:
        """Return the path of a file's copy, which need not be there."""
        return self.root / _FILES / f"{self.folder}{name}"

    def adopt(self, path: Path, name: str) -> None:
        """Take a whole file of this disk as the copy of what was put under the name."""
        with translate_io_errors(path), private():
            self._hold([name])
            make_folder(self.path(name).parent)
            if self.check_bytes:
                self._record_digest(name, compute_digest(path))
            try:
                path.rename(self.path(name))
            except OSError as error:
                self._locate_digest(name).unlink(missing_ok=True)
                if error.errno != errno.EXDEV:
                    raise
                path.unlink()  # the cache is on another disk: whoever reads it fetches it
        self.delete_surplus()

    def forget(self, name: str) -> None:
        """Delete a file's copy: the file is deleted."""
        with translate_io_errors(self.root), suppress(NotADirectoryError):
            self.path(name).unlink(missing_ok=True)
            self._locate_digest(name).unlink(missing_ok=True)

    def delete_surplus(self) -> None:
        """Delete the least recently used files that nobody holds, until the rest fits."""
        self._delete_surplus(self.most_bytes)

    def _delete_surplus(self, most_bytes: int) -> None:
        with self._lock(fcntl.LOCK_EX):
            self._delete_dead_parts()
            files = sorted((used_at(found), path, found.st_size) for path, found in _walk(self.root / _FILES))
            surplus = sum(size for _, _, size in files) - most_bytes
            if surplus <= 0:
                return
            held = self._read_held()
            for _, path, size in files:
                if surplus <= 0:
                    return
                if (own := path.relative_to(self.root / _FILES)).as_posix() not in held:
                    path.unlink(missing_ok=True)
                    (self.root / _DIGESTS / own).unlink(missing_ok=True)
                    surplus -= size

    def _locate_digest(self, name: str) -> Path:
        """Locate the digest of a copy, which needn't be durable: half of one proves nothing."""
        return self.root / _DIGESTS / f"{self.folder}{name}"

    def _record_digest(self, name: str, digest: str) -> None:
        own = self._locate_digest(name)
        make_folder(own.parent)
        own.write_text(digest, "ascii")

    def _is_damaged(self, name: str, check: DigestCheck) -> bool:
        """Whether the bytes of a copy are not those that were fetched, as far as the check goes."""
        try:
            found = self._locate_digest(name).read_text("ascii")
        except (OSError, UnicodeDecodeError):
            return False
        try:
            check.require(self.path(name), found if _DIGEST_FORM.fullmatch(found) else None)
        except FileDamaged:
            return True
        return False

    def _find_damaged(self, names: Sequence[str]) -> frozenset[str]:
        """Find the files whose copies have rotted; others may read them until they are replaced."""
        if not self.check_bytes:
            return frozenset()
        check = DigestCheck(self.check_bytes)
        return frozenset(name for name in names if self._is_damaged(name, check))

    def _hold(self, names: Sequence[str]) -> None:
        for folder in (_FILES, _PARTS, _HOLDS):
            make_folder(self.root / folder)
        with self._lock(fcntl.LOCK_SH):
            _holding.get().add(self.root / _HOLDS, [f"{self.folder}{name}" for name in names])

    def _touch(self, name: str) -> bool:
        with suppress(FileNotFoundError):
            note_use(self.path(name))
            return True
        return False

    def _fetch_all(self, names: Sequence[str], open_file: Open, damaged: Container[str]) -> None:
        fetched = _holding.get().fetched

        def fetch(name: str) -> int:
            return self._fetch_file(name, open_file, is_damaged=name in damaged)

        with ThreadPoolExecutor(min(_FETCHES, len(names)), thread_name_prefix="fetch") as pool:
            fetched.bytes += sum(pool.map(fetch, names))

    def _fetch_file(self, name: str, open_file: Open, *, is_damaged: bool) -> int:
        part = self.root / _PARTS / hashlib.sha256(f"{self.folder}{name}".encode()).hexdigest()
        with _open_locked(part) as handle:
            if not is_damaged and self._touch(name):
                part.unlink()
                return 0
            try:
                with closing(open_file(name)) as source:
                    size, digest = _copy(source, handle)
            except BaseException:  # a Ctrl-C too leaves no half copy; it is raised again
                part.unlink()
                raise
            make_folder(self.path(name).parent)
            if self.check_bytes:
                self._record_digest(name, digest)
            part.rename(self.path(name))
            sync_folder(self.path(name).parent)
        return size

    def _delete_dead_parts(self) -> None:
        """Delete what killed fetches left: living ones keep theirs locked."""
        for path in (self.root / _PARTS).iterdir():
            with suppress(OSError), path.open("rb") as part:
                fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The name may be another fetch's by now, which has locked a file of its own.
                if _is_at(part.fileno(), path):
                    path.unlink()

    def _read_held(self) -> frozenset[str]:
        """Read what living processes hold, and delete the lists of dead ones."""
        held: set[str] = set()
        for path in (self.root / _HOLDS).iterdir():
            with suppress(FileNotFoundError), path.open("rb") as listed:
                try:
                    fcntl.flock(listed, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    held.update(listed.read().decode().splitlines())
                else:
                    path.unlink(missing_ok=True)
        return frozenset(held)

    @contextmanager
    def _lock(self, kind: int) -> Iterator[None]:
        handle = os.open(self.root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, kind)
            yield
        finally:
            os.close(handle)


@contextmanager
def _open_locked(part: Path) -> Iterator[int]:
    while True:
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_at(handle, part):
                yield handle
                return
        finally:
            os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.fstat(handle).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _copy(source: OpenFile, handle: int) -> tuple[int, str]:
    """Write a whole file over whatever a killed fetch has left; return its bytes and digest."""
    os.ftruncate(handle, 0)
    position, digest = 0, hashlib.sha256()
    while chunk := source.read(position, _CHUNK_BYTES):
        _write_whole(handle, chunk)
        digest.update(chunk)
        position += len(chunk)
    os.fsync(handle)
    return position, digest.hexdigest()


def _append(handle: int, content: bytes) -> None:
    """Write all of it at the end, or nothing: what is added next begins a line."""
    size = os.fstat(handle).st_size
    try:
        _write_whole(handle, content)
    except OSError:
        os.ftruncate(handle, size)
        os.lseek(handle, size, os.SEEK_SET)
        raise


def _write_whole(handle: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for found, _, names in os.walk(folder):
        for name in names:
            path = Path(found, name)
            with suppress(FileNotFoundError):
                yield path, path.stat()


def note_use(path: Path) -> None:
    """Note that the file is used now. OSError where that fails."""
    try:
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
    except PermissionError:  # who may write to another's file may only set both times to now: it is compared anew
        os.utime(path)


def used_at(status: os.stat_result) -> int:
    """When the file of this status was last used or written, in nanoseconds."""
    return max(status.st_atime_ns, status.st_mtime_ns)

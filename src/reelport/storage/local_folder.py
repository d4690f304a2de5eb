"""A folder of this machine as a file store: durable by fsync, whole by rename."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from reelport import killpoints
from reelport.errors import StorageError
from reelport.storage.durable import make_folder, private, replace_file, sync_file, sync_folder, translate_io_errors
from reelport.storage.file_store import StoredFile, check_name, is_behind

_READ_NOWAIT = getattr(os, "RWF_NOWAIT", None)


@dataclass(slots=True)
class LocalFile:
    """An open file of a local folder."""

    path: Path
    descriptor: int
    size: int

    def read(self, position: int, count: int) -> bytes:
        with translate_io_errors(self.path):
            return os.pread(self.descriptor, count, position)

    def read_cached(self, position: int, count: int) -> bytes | None:
        """Read from the page cache only; None without cached bytes or such a read."""
        if _READ_NOWAIT is None:
            return None
        buffer = bytearray(count)
        try:
            read = os.preadv(self.descriptor, [buffer], position, _READ_NOWAIT)
        except OSError:
            # Nothing is cached, or the file system doesn't support such reads.
            return None
        return bytes(memoryview(buffer)[:read])

    def close(self) -> None:
        os.close(self.descriptor)


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """The files below a folder. It need not exist: without it the store is empty."""

    root: Path

    def list_names(self, under: str = "", *, after: str = "") -> Iterator[str]:
        folder = self._locate(under) if under else self.root
        with translate_io_errors(folder):
            yield from (name for name in _walk(folder, f"{under}/" if under else "") if is_behind(name, after))

    def list(self, under: str = "") -> Iterator[StoredFile]:
        return (found for name in self.list_names(under) if (found := self.find(name)) is not None)

    def find(self, name: str) -> StoredFile | None:
        path = self._locate(name)
        with translate_io_errors(path), suppress(FileNotFoundError, NotADirectoryError):
            status = path.stat()
            return _describe(name, status) if stat.S_ISREG(status.st_mode) else None
        return None

    def describe(self, name: str) -> str:
        return str(self.root / name)

    def open(self, name: str) -> LocalFile:
        path = self._locate(name)
        with translate_io_errors(path, FileNotFoundError):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError as error:
                if self.root.is_dir():
                    raise
                raise StorageError(f"{self.root} isn't there: is its disk there?") from error
            return LocalFile(path, descriptor, os.fstat(descriptor).st_size)

    def put(self, name: str, content: bytes, *, is_new: bool = False) -> None:
        path = self._make_room(name)
        with translate_io_errors(path, FileExistsError), private():
            replace_file(path, content, is_new=is_new)

    def prepare_draft(self, name: str) -> Path:
        return self._make_room(name)

    def put_draft(self, draft: Path, name: str) -> None:
        """Make a draft durable, then rename it: a file so named is whole, crash or not."""
        path = self._make_room(name)
        with translate_io_errors(draft):
            sync_file(draft)
            killpoints.reach("fsync")
            draft.rename(path)
            sync_folder(path.parent)
            killpoints.reach("rename")

    def sync(self, *names: str) -> None:
        paths = [self._locate(name) for name in names]
        with translate_io_errors(self.root):
            for path in paths:
                sync_file(path)
            sync_folder(paths[-1].parent)

    def delete(self, name: str) -> None:
        path = self._locate(name)
        with translate_io_errors(path):
            path.unlink(missing_ok=True)

    def sign(self, name: str, until: datetime) -> str | None:  # noqa: ARG002 - the interface's
        """None: a folder serves no downloads, the service does."""
        return None

    def local_paths(self, names: Iterable[str]) -> tuple[Path, ...]:
        return tuple(map(self._locate, names))

    def fetch_again(self, name: str) -> Path:
        """Return the path of the file itself: nothing is fetched."""
        return self._locate(name)

    def _locate(self, name: str) -> Path:
        """Return the path of a name; StorageError when it would lead out of the folder."""
        check_name(name, str(self.root))
        return self.root / name

    def _make_room(self, name: str) -> Path:
        """Make a new file's folder, none above the store: a lost disk isn't replaced."""
        path = self._locate(name)
        with translate_io_errors(path.parent):
            self.root.parent.stat()
            make_folder(path.parent)
        return path


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(folder / entry.name, f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name


def _describe(name: str, status: os.stat_result) -> StoredFile:
    modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
    return StoredFile(name, status.st_size, modified_at, f"{status.st_ino}-{status.st_mtime_ns}")

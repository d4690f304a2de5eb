"""A part file: written beside its target, hashed and counted, renamed when whole."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from reelport import killpoints
from reelport.client.files.csv_checks import Lines
from reelport.client.files.download_target import translate_io_errors
from reelport.client.files.locks import POSIX, has_name, rename_into_place, try_lock, wait_for_lock
from reelport.errors import StorageError

_AT_ONCE = 1 << 20
_BUFFER = 1 << 16  # bytes of the write buffer: longer pieces bypass it without a copy
_HEADER_BYTES = 1 << 16
_TURNS, _TURN_SECONDS = 40, 0.025


@dataclass(frozen=True, slots=True)
class Position:
    """A position in a part file to rewind to."""

    size: int
    sha256: hashlib._Hash
    lines: Lines


class Part:
    """A locked `.part` file beside the target; closing removes it, unless published or kept.

    Its name comes from the target and the report, so that a later download of the report resumes the file of a killed
    process; while another process has it, the name is random. Opening removes what killed processes left for the same
    target.
    """

    def __init__(self, target: Path, token: str) -> None:
        self.target = target
        self.keep = False
        self._published = False
        with translate_io_errors(target):
            self._file, self.path = _open_part(target, token)
            if hasattr(os, "fchmod"):  # Windows has no file modes.
                with suppress(FileNotFoundError):  # a private file stays private
                    os.fchmod(self._file.fileno(), stat.S_IMODE(target.stat().st_mode))
            _remove_abandoned(target, self.path)
            self.found = os.fstat(self._file.fileno()).st_size
        self.size, self._sha256, self.lines = 0, hashlib.sha256(), Lines()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            # On a full disk the room is worth more than the bytes.
            kept = self.keep and self.size and not isinstance(error, StorageError)
            if not self._published and not kept:
                _close_before_rename(self._file)
                self.path.unlink()
        with suppress(OSError):
            self._file.close()

    @property
    def sha256(self) -> str:
        """The SHA-256 of all bytes written."""
        return self._sha256.hexdigest()

    @property
    def rows(self) -> int:
        """The number of rows written below the header."""
        return self.lines.rows

    def write(self, data: bytes) -> None:
        """Append bytes. Raises StorageError."""
        with translate_io_errors(self.target):
            self._file.write(data)
        self._count(data)

    def position(self) -> Position:
        """Return the present position, to rewind to."""
        return Position(self.size, self._sha256.copy(), copy(self.lines))

    def rewind(self, mark: Position | None = None) -> None:
        """Drop what is after a position; without one all, an earlier process's rest too."""
        self.found = 0
        size = mark.size if mark else 0
        with translate_io_errors(self.target):
            self._file.seek(size)
            self._file.truncate()
        self.size = size
        self._sha256 = mark.sha256.copy() if mark else hashlib.sha256()
        self.lines = copy(mark.lines) if mark else Lines()

    def recover(self) -> bytes:
        """Resume an earlier process's file and return its header; empty when it is of no use.

        Drops the last byte, so that there is always something to request.
        """
        found, self.found = self.found - 1, 0
        with translate_io_errors(self.target):
            self._file.seek(0)
            header = self._file.readline(_HEADER_BYTES)
            if not header.endswith(b"\n") or len(header) > found:
                self.rewind()
                return b""
            self._file.seek(0)
            while self.size < found and (data := self._file.read(min(_AT_ONCE, found - self.size))):
                self._count(data)
            self._file.seek(self.size)
            self._file.truncate()
        return header

    def reserve(self, size: int) -> None:
        """Raise StorageError where the disk lacks room for so many more bytes."""
        if not hasattr(os, "statvfs"):
            return
        with translate_io_errors(self.target):
            disk = os.statvfs(self.path)
        free = disk.f_bavail * disk.f_frsize
        if disk.f_blocks > 0 and free < size - _AT_ONCE:
            raise StorageError(
                f"{self.target} needs {size:,} bytes and the disk has room for {free:,}. "
                "Make room, and run the same again."
            )

    def publish(self, beside: Path | None, content: bytes) -> None:
        """Sync the file, rename it to the target, and write `content` to the file `beside` it.

        When two processes publish to one target, the later one's two files stay together.
        """
        with translate_io_errors(self.target):
            self._file.flush()
            killpoints.reach("client-part")
            os.fsync(self._file.fileno())
            with _write_note(self.target, content) as note, _lock_folder(self.target.parent):
                if beside is not None:
                    beside.unlink(missing_ok=True)
                _close_before_rename(self._file)
                rename_into_place(self.path, self.target)
                self._published = True
                if beside is not None:
                    rename_into_place(note, beside)

    def _count(self, data: bytes) -> None:
        self._sha256.update(data)
        self.lines.feed(data)
        self.size += len(data)


def _open_part(target: Path, token: str) -> tuple[BinaryIO, Path]:
    path = target.with_name(f"{target.name}.{hashlib.sha256(token.encode()).hexdigest()[:8]}.part")
    with suppress(OSError):  # another user's file, or not a regular file
        file = _open(path, 0)
        if try_lock(file.fileno()) and has_name(file.fileno(), path):
            return file, path
        file.close()
    return _open_random(target)


def _open_random(target: Path) -> tuple[BinaryIO, Path]:
    while True:
        path = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
        file = _open(path, os.O_EXCL)
        if not try_lock(file.fileno()) and POSIX:
            # Another process holds it for a moment, to remove what is abandoned; or the disk has no locks.
            with suppress(OSError):
                wait_for_lock(file.fileno())
        # Another process may have removed the file before we locked it.
        if has_name(file.fileno(), path):
            return file, path
        file.close()


def _open(path: Path, more: int) -> BinaryIO:
    flags = os.O_RDWR | os.O_CREAT | more | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=_BUFFER)


def _close_before_rename(file: BinaryIO) -> None:
    """Close a file on Windows, which renames no open files; elsewhere keep it and its lock."""
    if not POSIX:
        file.close()


def _remove_abandoned(target: Path, own: Path) -> None:
    left = re.compile(re.escape(target.name) + r"\.[0-9a-f]{8}\.part")
    with suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            if left.fullmatch(entry.name) and entry.name != own.name and entry.is_file(follow_symlinks=False):
                path = Path(entry.path)
                with suppress(OSError), path.open("r+b") as file:
                    if try_lock(file.fileno()) and has_name(file.fileno(), path):
                        _close_before_rename(file)
                        path.unlink()


@contextmanager
def _write_note(target: Path, content: bytes) -> Iterator[Path]:
    """Write a small synced file, removed in the end unless the block renames it."""
    file, path = _open_random(target)
    try:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        _close_before_rename(file)
        yield path
    finally:
        with suppress(OSError):
            path.unlink()
        file.close()


@contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    """Lock a folder while the block renames files in it, then sync the folder where possible."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        yield  # Windows can't open folders.
        return
    try:
        for _ in range(_TURNS):
            # Don't wait forever: the program that runs us may have locked the folder itself.
            if try_lock(descriptor):
                break
            time.sleep(_TURN_SECONDS)
        yield
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)

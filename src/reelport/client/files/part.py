"""A part file: written beside its target, hashed and counted, renamed when whole."""

from __future__ import annotations

import errno
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
from reelport.client.files.locks import POSIX, has_name, rename_into_place, try_lock, wait_for_lock
from reelport.errors import StorageError, UsageError
from reelport.local_path import refuse_address

_AT_ONCE = 1 << 20
_BUFFER = 1 << 16  # bytes of the write buffer: longer pieces bypass it without a copy
_LONGEST_NAME = 240

# Extensions of other formats in which people expect reports.
_NO_CSV = frozenset({".json", ".jsonl", ".ndjson", ".parquet", ".pq", ".xls", ".xlsx"})
_HEADER_BYTES = 1 << 16
_TURNS, _TURN_SECONDS = 40, 0.025
_BLANK, _ILLEGAL = 32, '<>:"/\\|?*'
_DEVICE = re.compile("CON|PRN|AUX|NUL|CONIN\\$|CONOUT\\$|(COM|LPT)[0-9¹²³]")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def resolve_target(to: str | os.PathLike[str]) -> Path:
    """Resolve a download's path, following symlinks. Raises UsageError for an unusable one."""
    if not os.fspath(to):
        raise UsageError("The name of the file to write the report to is empty.")
    refuse_address(to, "A report is written to this machine: name a file, and copy it on from there.")
    try:
        named = Path(to).expanduser()
        path = named.resolve()
        str(path).encode()
    except (ValueError, RuntimeError, OSError) as error:  # a NUL, bytes that are no text, a home of nobody, a circle
        raise UsageError(f"{str(to)[:200]!r} is no name for a file: {error}.") from error
    if not POSIX and not can_be_named_on_windows(path.name):
        raise UsageError(
            f"{path.name[:80]!r} is no name for a file on Windows: leave out {' '.join(_ILLEGAL)} and a dot or blank "
            "at the end, and take none of its devices' names (CON, NUL, COM1)."
        )
    if len(os.fsencode(path.name)) > _LONGEST_NAME:
        raise UsageError(f"The name {path.name[:40]}… is too long: give a shorter one.")
    with translate_io_errors(path):
        # Check the name as given: a pipe behind /dev/stdout has no path of its own.
        if os.fspath(to).endswith((os.sep, os.altsep or os.sep)) or (
            named.exists() and not stat.S_ISREG(named.stat().st_mode)
        ):
            raise UsageError(f"{to} is no regular file: name a file to write the report to.")
        if not path.parent.is_dir():
            raise UsageError(f"There is no folder {path.parent} to write the report to.")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"The folder {path.parent} can't be written to.")
    return path


def can_be_named_on_windows(name: str) -> bool:
    """Whether Windows allows this name. A colon would open a hidden stream of another file."""
    stem = name.partition(".")[0].rstrip(" ").upper()
    illegal = any(letter in _ILLEGAL or ord(letter) < _BLANK for letter in name)
    return not (illegal or name.endswith((".", " ")) or _DEVICE.fullmatch(stem))


def resolve_csv_target(to: str | os.PathLike[str]) -> Path:
    """Resolve the path of a CSV download. Raises UsageError also for a name of another format."""
    path = resolve_target(to)
    if path.suffix.lower() in _NO_CSV:
        raise UsageError(
            f"{path.name} would hold a CSV: name it .csv. Of a file that was downloaded, `.table()` makes Parquet and "
            "rows, and `reelport report run` writes the form that the name says."
        )
    return path


@contextmanager
def translate_io_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into a StorageError naming the file, with advice on a full disk."""
    try:
        yield
    except OSError as error:
        advice = " Make room, and run the same again." if error.errno in _FULL else ""
        raise StorageError(f"{path} can't be written or read: {error.strerror or error}.{advice}") from error


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

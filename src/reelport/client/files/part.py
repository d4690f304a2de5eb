"""A file in the making: written beside its target, hashed and counted on the way, and put in its place when whole."""

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
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from reelport import killpoints
from reelport.client.files.locks import POSIX, held, put_in_place, still_named
from reelport.client.files.shape import Lines
from reelport.client.files.tally import Tally
from reelport.errors import StorageError, UsageError
from reelport.write_behind import BackgroundSync

_AT_ONCE = 1 << 20
_BUFFER = 1 << 16
"""Bytes that are gathered before they are written: what comes in longer pieces isn't copied."""

_LONGEST_NAME = 240
_NO_CSV = frozenset({".json", ".jsonl", ".ndjson", ".parquet", ".pq", ".xls", ".xlsx"})
"""Extensions of other forms that people expect reports in."""
_HEADER_BYTES = 1 << 16
_TURNS, _TURN_SECONDS = 40, 0.025
_BLANK, _ILLEGAL = 32, '<>:"/\\|?*'
_DEVICE = re.compile("CON|PRN|AUX|NUL|CONIN\\$|CONOUT\\$|(COM|LPT)[0-9¹²³]")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def checked_target(to: str | os.PathLike[str]) -> Path:
    """The file that a download may become, links followed. Raises UsageError before anything is asked for."""
    if not os.fspath(to):
        raise UsageError("The name of the file to write the report to is empty.")
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
        # As it was named: a pipe behind /dev/stdout has no path that leads to it.
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
    """Tell whether Windows has files of this name: what stands after a colon would be a hidden stream of a file."""
    stem = name.partition(".")[0].rstrip(" ").upper()
    illegal = any(letter in _ILLEGAL or ord(letter) < _BLANK for letter in name)
    return not (illegal or name.endswith((".", " ")) or _DEVICE.fullmatch(stem))


def checked_csv_target(to: str | os.PathLike[str]) -> Path:
    """The same, and UsageError for a name that promises what a download isn't: it is a CSV."""
    path = checked_target(to)
    if path.suffix.lower() in _NO_CSV:
        raise UsageError(
            f"{path.name} would hold a CSV: name it .csv. Of a file that was downloaded, `.table()` makes Parquet and "
            "rows, and `reelport report run` writes the form that the name says."
        )
    return path


@contextmanager
def translate_io_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into a StorageError."""
    try:
        yield
    except OSError as error:
        advice = " Make room and download it again." if error.errno in _FULL else ""
        raise StorageError(f"{path} can't be written or read: {error.strerror or error}.{advice}") from error


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a part that it can be taken back to."""

    size: int
    tally: Tally


class Part:
    """A `.part` file beside the target, its own while it is open. Unless it is published or kept it goes away.

    Its name comes from the target and the report, so that whoever downloads the report again goes on with
    what a killed process left. Another process that is at it has it locked: this one then writes into a file
    of its own. What others left of other reports for the same target is taken away.
    """

    def __init__(self, target: Path, token: str) -> None:
        self.target = target
        self.keep = False
        self._published = False
        with translate_io_errors(target):
            self._file, self.path = _opened(target, token)
            self._keep_mode()
            _tidy(target, self.path)
            self.found = os.fstat(self._file.fileno()).st_size
        self.size, self._tally = 0, Tally()
        self._ahead = BackgroundSync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            # Of a disk that is full the room is worth more than what was written.
            kept = self.keep and self.size and not isinstance(error, StorageError)
            if not self._published and not kept:
                _free(self._file)
                self.path.unlink()
        with suppress(OSError):
            # Its descriptor may soon be another file's.
            self._ahead.wait()
        with suppress(OSError):
            self._file.close()

    @property
    def sha256(self) -> str:
        """The SHA-256 of all that was written."""
        return self._tally.sha256

    @property
    def lines(self) -> Lines:
        """The lines of all that was written."""
        return self._tally.lines

    @property
    def rows(self) -> int:
        """The rows below the header of all that was written."""
        return self._tally.rows

    def told(self, rows: int) -> None:
        """Nothing is written yet, and what will be has so many rows: none need be counted."""
        self._tally = Tally(rows)

    def write(self, data: bytes, ends: int | None = None) -> None:
        """Append bytes; `ends` is how many lines end in them, where that is known already.

        Raises StorageError when the disk takes no more.
        """
        with translate_io_errors(self.target):
            self._file.write(data)
            self._ahead.count_written(len(data))
        self._count(data, ends)

    def mark(self) -> Mark:
        """Where it is now."""
        return Mark(self.size, self._tally.copy())

    def rewind(self, mark: Mark | None = None) -> None:
        """Forget everything after the mark; everything without one, what was found too."""
        self.found = 0
        size = mark.size if mark else 0
        with translate_io_errors(self.target):
            self._file.seek(size)
            self._file.truncate()
        self.size = size
        self._tally = mark.tally.copy() if mark else Tally()

    def recover(self) -> bytes:
        """Take over what was found, less its last byte so that there is something to ask for: its header.

        An empty header when there is nothing to go on with.
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
        """Raise StorageError now where the disk has no room for so many bytes more."""
        if not hasattr(os, "statvfs"):
            return
        with translate_io_errors(self.target):
            disk = os.statvfs(self.path)
        free = disk.f_bavail * disk.f_frsize
        if disk.f_blocks > 0 and free < size - _AT_ONCE:
            raise StorageError(
                f"{self.target} needs {size:,} bytes and the disk has room for {free:,}. "
                "Make room and download it again."
            )

    def publish(self, beside: Path | None, content: bytes) -> None:
        """Make it durable and give it the target's name, in place of what had it; `content` is put beside it.

        Of two that publish under one name the last one's file and what is beside it stay together.
        """
        with translate_io_errors(self.target):
            self._file.flush()
            killpoints.reach("client-part")
            self._ahead.wait()
            os.fsync(self._file.fileno())
            with _noted(self.target, content) as note, _folder(self.target.parent):
                if beside is not None:
                    beside.unlink(missing_ok=True)
                _free(self._file)
                put_in_place(self.path, self.target)
                self._published = True
                if beside is not None:
                    put_in_place(note, beside)

    def _count(self, data: bytes, ends: int | None = None) -> None:
        self._tally.feed(data, ends)
        self.size += len(data)

    def _keep_mode(self) -> None:
        """What only its owner could read stays so."""
        if not hasattr(os, "fchmod"):
            return  # Windows has no such modes.
        with suppress(FileNotFoundError):
            os.fchmod(self._file.fileno(), stat.S_IMODE(self.target.stat().st_mode))


def _opened(target: Path, token: str) -> tuple[BinaryIO, Path]:
    """A part that is ours alone: the report's own where nobody else has it, else one with a name of chance."""
    path = target.with_name(f"{target.name}.{hashlib.sha256(token.encode()).hexdigest()[:8]}.part")
    with suppress(OSError):  # of another user, or no file at all
        file = _open(path, 0)
        if held(file.fileno()) and still_named(file.fileno(), path):
            return file, path
        file.close()
    return _of_chance(target)


def _of_chance(target: Path) -> tuple[BinaryIO, Path]:
    """A new file with a part's name of chance, locked."""
    while True:
        path = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
        file = _open(path, os.O_EXCL)
        held(file.fileno())
        # Whoever tidies up may have come before the lock.
        if still_named(file.fileno(), path):
            return file, path
        file.close()


def _open(path: Path, more: int) -> BinaryIO:
    flags = os.O_RDWR | os.O_CREAT | more | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=_BUFFER)


def _free(file: BinaryIO) -> None:
    """Close a file whose name is to change where no open one can have another; elsewhere its lock is still of use."""
    if not POSIX:
        file.close()


def _tidy(target: Path, own: Path) -> None:
    """Take away the parts for this target that nobody is at any more."""
    left = re.compile(re.escape(target.name) + r"\.[0-9a-f]{8}\.part")
    with suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            if left.fullmatch(entry.name) and entry.name != own.name and entry.is_file(follow_symlinks=False):
                _remove_unless_held(Path(entry.path))


def _remove_unless_held(path: Path) -> None:
    with suppress(OSError), path.open("r+b") as file:
        if held(file.fileno()) and still_named(file.fileno(), path):
            _free(file)
            path.unlink()


@contextmanager
def _noted(target: Path, content: bytes) -> Iterator[Path]:
    """A small file, whole and durable, that goes away unless it is given another name."""
    file, path = _of_chance(target)
    try:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        _free(file)
        yield path
    finally:
        with suppress(OSError):
            path.unlink()
        file.close()


@contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """Do something to a folder's names while no other download does; durable at the end, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        yield  # Windows opens no folders.
        return
    try:
        for _ in range(_TURNS):
            # Not for ever: a program that runs us may have the folder locked itself.
            if held(descriptor):
                break
            time.sleep(_TURN_SECONDS)
        yield
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""SHA-256 digests of files that never change: taken when written, compared when read.

What reads Parquet checks no bytes: a file that rots on its disk can give other numbers without an error.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TypeVar

from reelport.errors import StorageError

CHECKED_BYTES = 64_000_000
"""Bytes that a report or view compares before it reads them: 0.05 s of a core. Later ones compare what exceeds it."""
DIGITS = 64
"""Hexadecimal digits of a digest."""
_MOST_PROVEN = 100_000
"""Files of which a process remembers that their bytes were right."""
_MOST_BEGUN = 1_000
"""Files of which a process remembers how far their bytes were compared."""
_CHUNK_BYTES = 1 << 20
_Key = tuple[str, int, int, int]
"""Path, inode, size and time of the last modification."""
_PROVEN: dict[_Key, None] = {}
_BEGUN: dict[_Key, _Comparison] = {}
_T = TypeVar("_T")


class FileDamaged(StorageError):
    """A file's bytes are not those that were written."""


def compute_digest(path: Path) -> str:
    """Compute the digest of a whole file, about 1.3 GB a second. OSError when it can't be read."""
    with _open_unnoticed(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_intact(path: Path, digest: str) -> bool:
    """Whether the file's bytes are those of the digest. OSError when it can't be read."""
    return compute_digest(path) == digest


def require_digest(path: Path, digest: str) -> None:
    """Raise FileDamaged where the file's bytes are not the digest's, OSError if unreadable."""
    if not is_intact(path, digest):
        raise _tell_damaged(path)


def _tell_damaged(path: Path) -> FileDamaged:
    return FileDamaged(f"{path}: its bytes are not those that were written")


@dataclass(frozen=True, slots=True)
class CheckedFiles:
    """What came of comparing files: their number, and the wrong ones."""

    files: int = 0
    damaged: tuple[Path, ...] = ()


def check_files(files: Iterable[tuple[Path, str]]) -> CheckedFiles:
    """Compare files with their digests; a vanished one doesn't count, an unreadable is wrong."""
    count, damaged = 0, []
    for path, digest in files:
        count += 1
        try:
            if not is_intact(path, digest):
                damaged.append(path)
        except FileNotFoundError:
            count -= 1
        except OSError:
            damaged.append(path)
    return CheckedFiles(count, tuple(damaged))


class _Comparison:
    """How far the bytes of one file were compared: `offset` of them went into the digest."""

    def __init__(self) -> None:
        self.offset = 0
        self._digest = hashlib.sha256()

    def read_on(self, path: Path, until: int) -> None:
        """Take the bytes that come next, up to an offset or to the end of the file."""
        with path.open("rb", buffering=0) as file:
            file.seek(self.offset)
            while chunk := file.read(min(_CHUNK_BYTES, until - self.offset)):
                self._digest.update(chunk)
                self.offset += len(chunk)

    def require(self, path: Path, digest: str) -> None:
        """Raise FileDamaged where the bytes that were taken are not those of the digest."""
        if self._digest.hexdigest() != digest:
            raise _tell_damaged(path)


class DigestCheck:
    """Compares files before this process first reads them, up to so many bytes of them.

    One check serves one report. What exceeds its bytes is read as it is, and compared further by the checks of later
    ones: in the long run all of it. One that was written to since is compared anew. A file without a digest can't be.
    """

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes

    def require(self, path: Path, digest: str | None) -> None:
        """Raise FileDamaged where the bytes are not those that were written; a gone file passes."""
        try:
            status = path.stat()
            key = str(path), status.st_ino, status.st_size, status.st_mtime_ns
            if digest is None or key in _PROVEN or not self._left:
                return
            # No other thread goes on with what is taken out.
            comparison = _BEGUN.pop(key, None) or _Comparison()
            before, until = comparison.offset, min(comparison.offset + self._left, status.st_size)
            comparison.read_on(path, until)
        except OSError:
            return
        self._left -= comparison.offset - before
        if comparison.offset == until < status.st_size:
            _remember(_BEGUN, _MOST_BEGUN, key, comparison)
        else:
            comparison.require(path, digest)
            _remember(_PROVEN, _MOST_PROVEN, key, None)


def _remember(known: dict[_Key, _T], most: int, key: _Key, value: _T) -> None:
    if len(known) >= most:
        known.clear()
    known[key] = value


def _open_unnoticed(path: Path) -> BufferedReader:
    """Open a file for a look that is no use of it, where the system lets us.

    Systems that note few accesses note that of a file which nobody used for a day: to such a look it would seem newer
    than one that was used yesterday.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOATIME", 0))
    except PermissionError:  # only a file's owner may ask for that
        return path.open("rb")
    return os.fdopen(handle, "rb")

"""SHA-256 digests of files that never change: taken when written, compared when read.

What reads Parquet checks no bytes: a file that rots on its disk can give other numbers without an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reelport.errors import StorageError

CHECKED_BYTES = 64_000_000
"""Bytes that a report or view compares before it reads them: 0.05 s of a core. Larger files are left to `verify`."""
DIGITS = 64
"""Hexadecimal digits of a digest."""
_MOST_PROVEN = 100_000
"""Files of which a process remembers that their bytes were right."""
_Key = tuple[str, int, int, int]
"""Path, inode, size and time of the last modification."""
_PROVEN: dict[_Key, None] = {}


class FileDamaged(StorageError):
    """A file's bytes are not those that were written."""


def compute_digest(path: Path) -> str:
    """Compute the digest of a whole file, about 1.3 GB a second. OSError when it can't be read."""
    with path.open("rb") as file:
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


class DigestCheck:
    """Compares files before this process first reads them, up to so many bytes of them.

    One check serves one report. A file that exceeds what is left of its bytes is read as it is; the check of a later
    report compares it, unless it is larger than all of them. One that was written to since is compared anew. A file
    without a digest can't be.
    """

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes

    def require(self, path: Path, digest: str | None) -> None:
        """Raise FileDamaged where the bytes are not those that were written; a gone file passes."""
        try:
            status = path.stat()
            key = str(path), status.st_ino, status.st_size, status.st_mtime_ns
            if digest is None or key in _PROVEN or status.st_size > self._left:
                return
            self._left -= status.st_size
            is_right = is_intact(path, digest)
        except OSError:
            return
        if not is_right:
            raise _tell_damaged(path)
        if len(_PROVEN) >= _MOST_PROVEN:
            _PROVEN.clear()
        _PROVEN[key] = None

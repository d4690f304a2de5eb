"""Chooses SQLite's journal for the state.

That is the write-ahead log (WAL) where WAL is safe, else the rollback journal. WAL needs a local file system, and a
SQLite without the reset race (sqlite.org/wal.html#walresetbug): of two connections that write or checkpoint at the same
instant one may not see that the other reset the log, and commits are lost. Every SQLite from 3.7.0 has the race but
those named below.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path

LOCAL = frozenset(
    {"apfs", "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "reiserfs", "tmpfs", "xfs", "zfs"}
)
"""Local file systems: the write-ahead log needs memory that all of its processes share."""
_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Journal:
    """A journal mode of SQLite, and why it was chosen."""

    mode: str
    reason: str


def choose_journal(folder: Path, version: tuple[int, int, int] = sqlite3.sqlite_version_info) -> Journal:
    """Choose the journal for a state in `folder`."""
    if not is_write_ahead_safe(version):
        return Journal("TRUNCATE", "as the write-ahead log of this SQLite has a known race")
    kind = detect_file_system(folder)
    if kind not in LOCAL:
        return Journal(
            "TRUNCATE", f"as a write-ahead log needs a local file system and this one is {kind or 'unknown'}"
        )
    return Journal("WAL", f"as this SQLite is free of the race of its write-ahead log, on a local file system ({kind})")


def is_write_ahead_safe(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite loses no commits when the write-ahead log is reset."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51, 0) or (3, 44, 6) <= version < (3, 45, 0)


def detect_file_system(path: Path, mounts: Path = _MOUNTS) -> str:
    """Detect the type of the file system that holds a path, existing or not.

    Empty when the system doesn't tell.
    """
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    best, kind = Path(), ""
    whole = path.resolve()
    for line in lines:
        before, _, after = line.partition(" - ")
        at = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), before.split()[4]))
        # Of two mounts on one folder the later one counts.
        if whole.is_relative_to(at) and len(at.parts) >= len(best.parts):
            best, kind = at, after.split()[0]
    return kind

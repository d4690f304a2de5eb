"""Which journal SQLite keeps the state with: the write-ahead log where it is free of its race and on a local disk.

The race (sqlite.org/wal.html#walresetbug): of two connections that write or checkpoint at the same instant one may not
see that the other reset the log, and commits are lost. Every SQLite from 3.7.0 has it but those named below.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path

LOCAL = frozenset(
    {"apfs", "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "reiserfs", "tmpfs", "xfs", "zfs"}
)
"""File systems of one machine: the write-ahead log needs memory that all of its processes share."""
_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Journal:
    """The mode that SQLite is set to, and why it is that one."""

    mode: str
    reason: str


def choose_journal(folder: Path, version: tuple[int, int, int] = sqlite3.sqlite_version_info) -> Journal:
    """The journal for a state that lies in `folder`."""
    if not is_write_ahead_safe(version):
        return Journal("TRUNCATE", "as the write-ahead log of this SQLite has a known race")
    kind = detect_file_system(folder)
    if kind not in LOCAL:
        return Journal(
            "TRUNCATE", f"as a write-ahead log needs a local file system and this one is {kind or 'unknown'}"
        )
    return Journal("WAL", f"as this SQLite is free of the race of its write-ahead log, on a local file system ({kind})")


def is_write_ahead_safe(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite is free of the race that could lose commits when a write-ahead log was reset."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51, 0) or (3, 44, 6) <= version < (3, 45, 0)


def detect_file_system(path: Path, mounts: Path = _MOUNTS) -> str:
    """The type of the file system in which a path lies, or will lie; empty where the system doesn't say."""
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

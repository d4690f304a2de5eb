"""Chooses SQLite's journal for the state.

That is the write-ahead log (WAL) on a local file system, for its processes share memory; else the rollback journal.
What makes the log safe with every SQLite is in `write_ahead`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

LOCAL = frozenset(
    {"apfs", "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "reiserfs", "tmpfs", "xfs", "zfs"}
)
"""Local file systems: the write-ahead log needs memory that all of its processes share."""
WRITE_AHEAD = "WAL"
_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Journal:
    """A journal mode of SQLite, and why it was chosen."""

    mode: str
    reason: str

    @property
    def is_write_ahead(self) -> bool:
        """Whether readers and a writer keep out of each other's way."""
        return self.mode == WRITE_AHEAD


def choose_journal(folder: Path) -> Journal:
    """Choose the journal for a state in `folder`."""
    kind = detect_file_system(folder)
    if kind in LOCAL:
        return Journal(WRITE_AHEAD, f"as the file system is local ({kind})")
    return Journal("TRUNCATE", f"as a write-ahead log needs a local file system and this one is {kind or 'unknown'}")


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

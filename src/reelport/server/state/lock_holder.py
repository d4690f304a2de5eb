"""Finds the process that keeps a SQLite state locked for writing.

Linux tells it in `/proc/locks`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROCESSES = Path("/proc")
_LOCKS = _PROCESSES / "locks"


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds a lock, who started it, and what it does.

    `ticks` of CPU time that it took are hundredths of a second on most systems. `states` are those of its threads by
    ps(1): `T` is stopped, `D` waits for the disk.
    """

    pid: int
    parent: int
    ticks: int
    states: frozenset[str]


def find_holder(file: Path) -> Holder | None:
    """Find the process that holds the one writer's lock of this file.

    None when nobody does, or when the system doesn't tell: it is not Linux, or the process is another user's or of
    another container.
    """
    with suppress(OSError):
        found = file.stat()
        return next((_read_holder(pid) for pid in _list_writers(found.st_ino) if _has_open(pid, found)), None)
    return None


def _list_writers(inode: int) -> Iterator[int]:
    """Yield processes with an exclusive lock of a file of this inode number, on any disk."""
    for line in _LOCKS.read_text().splitlines():
        match line.split():
            case [_, _, _, "WRITE", pid, place, *_] if place.endswith(f":{inode}") and int(pid) > 0:
                yield int(pid)


def _has_open(pid: int, file: os.stat_result) -> bool:
    """Whether the process has this very file open.

    The device in `/proc/locks` isn't that of `stat` everywhere, as on btrfs.
    """
    with suppress(OSError):
        for each in (_PROCESSES / str(pid) / "fd").iterdir():
            with suppress(FileNotFoundError):
                if os.path.samestat(each.stat(), file):
                    return True
    return False


def _read_holder(pid: int) -> Holder:
    """Read what the system tells of a process; OSError when it has ended."""
    _, parent, *rest = _read_fields(_PROCESSES / str(pid) / "stat")
    states = frozenset(_read_fields(each)[0] for each in (_PROCESSES / str(pid) / "task").glob("*/stat"))
    return Holder(pid, int(parent), int(rest[9]) + int(rest[10]), states)


def _read_fields(stat: Path) -> list[str]:
    """Read the fields of proc(5) from the third on, which is the state.

    The name before them stands in brackets, and may hold any character.
    """
    return stat.read_text(errors="replace").rpartition(")")[2].split()

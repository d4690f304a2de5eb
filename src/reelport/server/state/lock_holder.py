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
_STOPPED = frozenset({"T", "t"})


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds a lock, who started it, and what it does.

    `ticks` of CPU time that it took are hundredths of a second on most systems. `states` are those of its threads by
    ps(1).
    """

    pid: int
    parent: int
    ticks: int
    states: frozenset[str]

    @property
    def is_stopped(self) -> bool:
        """Whether every thread is stopped, by a signal or a debugger."""
        return bool(self.states) and self.states <= _STOPPED


def find_holder(file: Path) -> Holder | None:
    """Find the process that holds the one writer's lock of this file.

    None when nobody does, or when the system doesn't tell: it is not Linux, or the process is of another container.
    """
    with suppress(OSError):
        found = file.stat()
        holders = (pid for pid, place in _list_writers() if _is_lock_of(file, found, pid, place))
        return next(map(_read_holder, holders), None)
    return None


def _list_writers() -> Iterator[tuple[int, str]]:
    """Yield process and place (device and inode) of each exclusive lock of a file."""
    for line in _LOCKS.read_text().splitlines():
        match line.split():
            case [_, "FLOCK" | "POSIX", _, "WRITE", pid, place, *_] if int(pid) > 0:
                yield int(pid), place


def _is_lock_of(file: Path, found: os.stat_result, pid: int, place: str) -> bool:
    """Whether a process's lock at this place is one of the file.

    The device isn't that of `stat` everywhere, as on btrfs: what the process has open tells, where we may see it.
    """
    *device, inode = place.split(":")
    if inode != str(found.st_ino):
        return False
    try:
        return any(os.path.samestat(each, found) for each in _list_open(pid, file.name))
    except PermissionError:
        return [int(number, 16) for number in device] == [os.major(found.st_dev), os.minor(found.st_dev)]


def _list_open(pid: int, name: str) -> Iterator[os.stat_result]:
    """Yield the files of this name that a process has open.

    Others may lie on a disk that hangs.
    """
    for each in (_PROCESSES / str(pid) / "fd").iterdir():
        with suppress(FileNotFoundError):
            if Path(each.readlink()).name == name:
                yield each.stat()


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

"""When a file was made: no program can set it, and no `chown` or restart changes it."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

_HERE = -100
"""AT_FDCWD: a relative path begins at the process's folder."""
_BIRTH_TIME = 0x800
"""STATX_BTIME, in what is asked for and in what is told."""


class _Time(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_int64), ("nanoseconds", ctypes.c_uint32), ("_", ctypes.c_int32)]


class _Statx(ctypes.Structure):
    """The start of Linux's `struct statx`, and the room that the system writes the rest into."""

    _fields_ = [("told", ctypes.c_uint32), ("_", ctypes.c_uint32 * 15), ("read", _Time), ("born", _Time)]
    _fields_ += [("_rest", ctypes.c_uint8 * 160)]


def read_birth_time(path: Path) -> int | None:
    """Read when a file was made, in nanoseconds; None where the file system doesn't tell.

    Python's own `stat` tells it only outside Linux. OSError where the file can't be reached.
    """
    if sys.platform != "linux":
        return getattr(path.stat(), "st_birthtime_ns", None)
    statx = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
    found = _Statx()
    if statx is None or statx(_HERE, bytes(path), 0, _BIRTH_TIME, ctypes.byref(found)):
        path.stat()
        return None
    born = found.born.seconds * 1_000_000_000 + found.born.nanoseconds
    return born if found.told & _BIRTH_TIME and born else None

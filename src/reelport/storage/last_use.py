"""When a file was last used, for whoever deletes the least recently used ones.

It is the time of its last access. That of its last modification stays, for a comparison with a digest goes by it.
"""

from __future__ import annotations

import os
import time
from io import BufferedReader
from pathlib import Path


def note_use(path: Path) -> None:
    """Note that the file is used now. OSError where that fails."""
    try:
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
    except PermissionError:  # who may write to another's file may only set both times to now: it is compared anew
        os.utime(path)


def used_at(status: os.stat_result) -> int:
    """When the file of this status was last used or written, in nanoseconds."""
    return max(status.st_atime_ns, status.st_mtime_ns)


def open_unnoticed(path: Path) -> BufferedReader:
    """Open a file for a look that is no use of it, where the system lets us.

    Systems that note few accesses note that of a file which nobody used for a day: to such a look it would seem newer
    than one that was used yesterday.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOATIME", 0))
    except PermissionError:  # only a file's owner may ask for that
        return path.open("rb")
    return os.fdopen(handle, "rb")

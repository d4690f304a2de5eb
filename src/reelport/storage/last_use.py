"""When a file was last used, for whoever deletes the least recently used ones.

It is the time of its last access. That of its last modification stays, for a comparison with a digest goes by it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path


def note_use(path: Path) -> None:
    """Note that the file is used now. OSError where that fails."""
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def used_at(status: os.stat_result) -> int:
    """When the file of this status was last used or written, in nanoseconds."""
    return max(status.st_atime_ns, status.st_mtime_ns)

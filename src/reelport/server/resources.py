"""Cores and memory that the control group allows, and how freed memory is given back.

Control groups of version 1 and 2 are read. Neither Python before 3.13 nor the engine, to which we name its threads,
looks there.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_MEMBERSHIP = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60
"""Bytes from which a limit is none: version 1 writes a number of about 2**63."""


def count_cores(membership: Path = _MEMBERSHIP, groups: Path = _GROUPS) -> int:
    """Count the cores that this process may use: by affinity, and by quota rounded up."""
    quotas = [
        *(_parse_quota(text) for text in _read_all(membership, groups, "", "cpu.max")),
        *(_read_old_quota(folder) for folder in _list_folders(membership, groups, "cpu")),
    ]
    limits = [math.ceil(quota) for quota in quotas if quota is not None]
    return max(1, min([len(os.sched_getaffinity(0)), *limits]))


def find_memory_limit(membership: Path = _MEMBERSHIP, groups: Path = _GROUPS) -> int | None:
    """Find the bytes that the control group's processes may use together; None without a limit."""
    texts = [
        *_read_all(membership, groups, "", "memory.max"),
        *_read_all(membership, groups, "memory", "memory.limit_in_bytes"),
    ]
    limits = [int(text) for text in texts if text.isdigit() and int(text) < _UNLIMITED]
    return min(limits, default=None)


def _read_all(membership: Path, groups: Path, controller: str, name: str) -> Iterator[str]:
    """Read a file of the group and of those that it lies in: the least limit counts."""
    for folder in _list_folders(membership, groups, controller):
        with suppress(OSError):
            yield (folder / name).read_text().strip()


def _list_folders(membership: Path, groups: Path, controller: str) -> Iterator[Path]:
    """List the folders of the group and of those above it; some of them may not exist.

    In version 2 the name of the controller is "". In a container the path may be the host's, of which only the root
    is seen.
    """
    root = groups / controller
    with suppress(OSError):
        for line in membership.read_text().splitlines():
            _, names, path = line.split(":", 2)
            if controller in names.split(","):
                folder = root / path.strip("/")
                yield from (each for each in (folder, *folder.parents) if each == root or root in each.parents)
                return


def _parse_quota(text: str) -> float | None:
    """Parse `cpu.max`, microseconds of computing in a period, to cores; `max` is no limit."""
    quota, _, period = text.partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _read_old_quota(folder: Path) -> float | None:
    with suppress(OSError, ValueError):
        quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return quota / period if quota > 0 and period > 0 else None
    return None


def release_memory() -> bool:
    """Return freed memory to the system; False if none, or without `malloc_trim`."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    return trim is not None and bool(trim(0))

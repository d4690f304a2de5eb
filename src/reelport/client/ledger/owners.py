"""Row owners: which process works on a row, and whether that process is still alive.

An owner is `host:pid:start:number`: `start` tells a process from a later one with the same pid, `number` one flow
of a process from another. On this machine we look for the process; for another machine only its lease counts.
"""

from __future__ import annotations

import itertools
import os
import socket
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

LEASE = timedelta(minutes=5)
"""How long an owner on another machine counts as alive after its last heartbeat."""

_numbers = itertools.count(1)


def new_owner() -> str:
    """Make an owner for one flow of this process."""
    pid = os.getpid()
    return f"{_read_host()}:{pid}:{_read_start(pid) or ''}:{next(_numbers)}"


def is_gone(owner: str, leased_until: datetime | None, now: datetime) -> bool:
    """Whether an owner's process has ended; for another machine, whether its lease has expired."""
    expired = leased_until is None or now >= leased_until
    host, _, rest = owner.rpartition(":")[0].rpartition(":")[0].rpartition(":")
    if host != _read_host() or not rest.isdecimal() or os.name != "posix":
        return expired
    start = owner.split(":")[-2]
    found = _read_start(int(rest))
    if found is not None:
        return found != start
    return not _is_running(int(rest)) or (not start and expired)


def describe_owner(owner: str) -> str:
    """Format an owner for people: `host:pid`."""
    return owner.rsplit(":", 2)[0]


@cache
def _read_host() -> str:
    return socket.gethostname().replace(":", "-") or "localhost"


def _read_start(pid: int) -> str | None:
    """Return the boot's id and the process's start in ticks; None where unknown or ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        fields = stat.rpartition(b")")[2].split()
        # A zombie has ended, but its parent hasn't collected it yet.
        return None if fields[0] in {b"Z", b"X"} else f"{_read_boot_id()}{int(fields[19])}"
    except (OSError, IndexError, ValueError):
        return None


@cache
def _read_boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8] + "-"
    except OSError:
        return ""


def _is_running(pid: int) -> bool:
    if Path("/proc/self/stat").exists():
        return False  # /proc would have listed it.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True

"""Processes that are stopped for a while, as a machine stops them that is suspended or out of memory."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.patience import until

from reelport.testing import Service


def freeze(pid: int) -> None:
    """Stop a process; returns once all of its threads are stopped.

    A thread that waits for a core or the disk goes on until it is stopped, and could take a lock or commit meanwhile.
    """
    os.kill(pid, signal.SIGSTOP)
    assert until(partial(_is_frozen, pid))


def freeze_unlocked(service: Service, pid: int) -> None:
    """Stop a process of a service when it doesn't hold the lock of the state: nobody else could write it meanwhile."""
    lock = service.settings.state_file.with_name("state.db-writer").stat().st_ino

    def is_unlocked() -> bool:
        freeze(pid)
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        if any(each[4:5] == [str(pid)] and each[5].endswith(f":{lock}") for each in locks):
            os.kill(pid, signal.SIGCONT)
            return False
        return True

    assert until(is_unlocked)


def _is_frozen(pid: int) -> bool:
    """Whether every thread of a process is stopped: its state in `stat` comes after the name, which may hold `)`."""
    states = set()
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # a thread that has ended since the listing
            states.add(stat.read_text().rpartition(")")[2].split()[0])
    return states == {"T"}

"""Locks on open files, by the system: gone with the process that held them, whatever became of it."""

from __future__ import annotations

import os
from pathlib import Path


def held(descriptor: int) -> bool:
    """Whether the open file is ours alone from now until it is closed. False where the system has no such locks."""
    try:
        import fcntl  # noqa: PLC0415 - not every system has it
    except ImportError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def still_named(descriptor: int, path: Path) -> bool:
    """Whether the open file still has its name: who had it before may have renamed it or taken it away."""
    try:
        found = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))

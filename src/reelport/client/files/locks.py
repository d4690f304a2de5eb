"""Locks on open files, by the system: gone with the process that held them, whatever became of it.

Where there is no `fcntl`, on Windows, they are portalocker's, and a file that is open can't be renamed or removed:
what has to be done in another order there is done here.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

if sys.platform == "win32":
    POSIX = False
else:
    try:
        import fcntl
    except ImportError:
        POSIX = False
    else:
        POSIX = True

_TURN_SECONDS, _TURNS = 0.05, 40
"""How often it is tried to give a file a name that a program has open, a scanner of viruses perhaps."""


def held(descriptor: int) -> bool:
    """Whether the open file is ours alone from now until it is closed. False where the disk has no such locks."""
    try:
        if sys.platform != "win32" and POSIX:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            _lock_elsewhere(descriptor)
    except OSError:
        return False
    return True


def hold(descriptor: int) -> None:
    """Wait until the open file is ours alone, until it is closed."""
    if sys.platform != "win32" and POSIX:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    while not held(descriptor):
        time.sleep(_TURN_SECONDS)


def still_named(descriptor: int, path: Path) -> bool:
    """Whether the open file still has its name: who had it before may have renamed it or taken it away."""
    try:
        found = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))


def remove_folder(folder: Path, lock: Path, descriptor: int) -> None:
    """Take away a folder whose lock file is ours, as far as it can be, and let go of the lock."""
    from shutil import rmtree  # noqa: PLC0415 - it loads three ways to pack files, and most commands remove no folder

    rmtree(folder, ignore_errors=True)
    os.close(descriptor)
    if not POSIX:
        with suppress(OSError):  # Whoever has the lock by now has the folder too.
            lock.unlink()
            folder.rmdir()


def put_in_place(part: Path, target: Path) -> None:
    """Give a closed file the target's name. Raises OSError; where others may have the target open, after a while."""
    for _ in range(0 if POSIX else _TURNS):
        with suppress(PermissionError):
            part.replace(target)
            return
        time.sleep(_TURN_SECONDS)
    part.replace(target)


def _lock_elsewhere(descriptor: int) -> None:
    """Lock by portalocker. Raises OSError while another has it."""
    from portalocker import LockFlags, exceptions, lock  # noqa: PLC0415 - only Windows needs it

    try:
        lock(descriptor, LockFlags.EXCLUSIVE | LockFlags.NON_BLOCKING)
    except exceptions.LockException as error:
        raise BlockingIOError(str(error)) from error

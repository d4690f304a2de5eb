"""Locks on open files by the operating system, which releases them when their process ends.

Windows has no `fcntl`, there portalocker locks, and renames or removes no open file: it gets another order of steps.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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

LOCK = "lock"  # the name of the file by which a folder is locked
# Pause and number of tries to rename onto a file that another program (a virus scanner, say) has open.
_TURN_SECONDS, _TURNS = 0.05, 40


def try_lock(descriptor: int) -> bool:
    """Lock an open file until it closes. False if another process has it, or no disk locks."""
    try:
        if sys.platform != "win32" and POSIX:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            _lock_elsewhere(descriptor)
    except OSError:
        return False
    return True


def wait_for_lock(descriptor: int) -> None:
    """Wait for the lock of an open file, and hold it until the file is closed."""
    if sys.platform != "win32" and POSIX:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    while not try_lock(descriptor):
        time.sleep(_TURN_SECONDS)


def has_name(descriptor: int, path: Path) -> bool:
    """Whether the open file has its name: a former holder may have renamed or removed it."""
    try:
        found = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))


def try_lock_folder(folder: Path) -> int | None:
    """Make the folder where missing and lock it; None when another process holds the lock."""
    while True:
        # Private, whatever will lie in it: perhaps rows of a file that its owner alone may read.
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            continue  # The process that held it is just removing it.
        ours = try_lock(descriptor)
        if ours and has_name(descriptor, folder / LOCK):
            return descriptor
        os.close(descriptor)
        if not ours:
            return None


def remove_folder(folder: Path, descriptor: int) -> None:
    """Remove a folder that we have locked, as far as possible, and release the lock."""
    from shutil import rmtree  # noqa: PLC0415 - it loads three ways to pack files, and most commands remove no folder

    rmtree(folder, ignore_errors=True)
    os.close(descriptor)
    if not POSIX:
        with suppress(OSError):  # Another process may hold the lock by now, and then owns the folder.
            (folder / LOCK).unlink()
            folder.rmdir()


def rename_into_place(part: Path, target: Path) -> None:
    """Rename a closed file to the target. Raises OSError; on Windows, after retries."""
    for _ in range(0 if POSIX else _TURNS):
        with suppress(PermissionError):
            part.replace(target)
            return
        time.sleep(_TURN_SECONDS)
    part.replace(target)


@contextmanager
def replace_whole(target: Path) -> Iterator[Path]:
    """Give a path to write to in the block; after it, the file is synced and replaces `target`."""
    part = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        with part.open("r+b") as file:  # Windows can't sync a file opened for reading.
            os.fsync(file.fileno())
        rename_into_place(part, target)
    finally:
        with suppress(OSError):
            part.unlink()


def _lock_elsewhere(descriptor: int) -> None:
    from portalocker import LockFlags, exceptions, lock  # noqa: PLC0415 - only Windows needs it

    try:
        lock(descriptor, LockFlags.EXCLUSIVE | LockFlags.NON_BLOCKING)
    except exceptions.LockException as error:
        raise BlockingIOError(str(error)) from error

"""Locked folders: one for a process at a time, and scratch folders.

A lock tells a living process's folder from a dead one: the system releases it however a process ends. Whoever opens a
scratch folder first deletes those that killed processes have left of its prefix.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import gettempdir, mkdtemp

from reelport.storage.durable import translate_io_errors

_NAMELESS_SECONDS = 3600
"""Age from which a folder that was never locked is dead: a living one is locked and named at once."""
Delete = Callable[[Path], object]
_delete = partial(shutil.rmtree, ignore_errors=True)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other processes out of the block; not where the file system has no locks.

    StorageError when the folder can't be opened.
    """
    with translate_io_errors(folder):
        handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def claim_folder(folder: Path) -> Iterator[None]:
    """Keep a folder from others that claim it; BlockingIOError if somebody has it.

    StorageError when the folder can't be opened or locked.
    """
    with translate_io_errors(folder):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with translate_io_errors(folder, BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@contextmanager
def open_scratch_folder(prefix: str, parent: Path | None, delete: Delete = _delete) -> Iterator[Path]:
    """Make a folder for the block below the parent, after `delete_dead_folders` there.

    Without a parent it lies in the system's folder for temporary files. StorageError when it can't be made.
    """
    around = Path(gettempdir() if parent is None else parent)
    with translate_io_errors(around):
        delete_dead_folders(prefix, around, delete)
        made = Path(mkdtemp(prefix=f".{prefix}", dir=around))
        handle = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
    folder = made.with_name(made.name.removeprefix("."))
    try:
        # Locked first and named then: what has the name and no lock is dead.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        made.rename(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(made, ignore_errors=True)
        os.close(handle)


def delete_dead_folders(prefix: str, around: Path, delete: Delete = _delete) -> None:
    """Delete this user's folders of this prefix that no process holds.

    Root deletes those of the owner of `around`, too: of a service whose data these are.
    """
    long_ago = time.time() - _NAMELESS_SECONDS
    for folder in (*around.glob(f"{prefix}*"), *around.glob(f".{prefix}*")):
        # Suppressed: it is locked, another user's, or has just gone.
        with suppress(OSError):
            if folder.name.startswith(prefix) or folder.lstat().st_mtime < long_ago:
                _delete_if_dead(folder, delete)


def _delete_if_dead(folder: Path, delete: Delete) -> None:
    """Delete a folder that nobody holds. OSError for one that somebody does, or no folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(handle)
        owners = {os.geteuid()} | ({folder.parent.stat().st_uid} if os.geteuid() == 0 else set())
        if found.st_uid in owners and os.path.samestat(found, folder.lstat()):
            delete(folder)
    finally:
        os.close(handle)

"""The folders that running loads work in: each is locked by its process, so those of killed ones are told and cleared.

A lock goes with its process, however that ends; neither a time nor a process number says as much.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

from reelport.facts.durable import translate_io_errors
from reelport.facts.log.delta_log import LOG_FOLDER
from reelport.facts.tables import TABLES

SPILL = ".work"
"""The folder under the tables' root that holds them."""
LOCK = "lock"
"""The file in each of them that its process keeps locked. Where files can't be locked there is none."""
_CLAIMED = "claimed"
"""The file in each of them that names files elsewhere which go when its process is gone, one a line."""


@contextmanager
def open_work_folder(root: Path) -> Iterator[Path]:
    """A folder of this load's own, which goes when the block ends; what killed loads left is cleared first."""
    spill = root / SPILL
    with translate_io_errors(root):
        spill.mkdir(parents=True, exist_ok=True)
        with _lock_spill(spill):
            _clear_dead_folders(root)
            folder = Path(mkdtemp(prefix=f"{os.getpid()}-", dir=spill))
            lock = _lock_own_folder(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def claim_file(folder: Path, path: Path) -> None:
    """Note a file that is about to be made outside of the work folder: it goes with it if the process is killed."""
    with (folder / _CLAIMED).open("ab") as claimed:
        claimed.write(os.fsencode(path.absolute()) + b"\n")


def clear_dead_folders(root: Path) -> None:
    """Clear away what killed loads left: their folders, and the files elsewhere that they had claimed."""
    spill = root / SPILL
    if spill.is_dir():
        with translate_io_errors(spill), _lock_spill(spill):
            _clear_dead_folders(root)


def list_work_folders(root: Path) -> Iterator[Path]:
    """The folders of loads that run, or that were killed."""
    return (path for path in (root / SPILL).glob("*") if path.is_dir())


def _clear_dead_folders(root: Path) -> None:
    for folder in list_work_folders(root):
        # Another user's folder is theirs to clear, and one that ends just now is gone.
        with suppress(OSError), (folder / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _clear_folder(root, folder)


def _clear_folder(root: Path, folder: Path) -> None:
    claimed = folder / _CLAIMED
    if claimed.exists():
        for name in claimed.read_bytes().splitlines():
            Path(os.fsdecode(name)).unlink(missing_ok=True)
        claimed.unlink()
    if not any(_is_without_log(root / name) for name in TABLES):
        shutil.rmtree(folder)


def _is_without_log(table: Path) -> bool:
    """Whether a first load was killed before its commit: its folder tells that the log was not lost."""
    return table.is_dir() and not (table / LOG_FOLDER).is_dir()


@contextmanager
def _lock_spill(spill: Path) -> Iterator[None]:
    """Keep others from taking a folder that is made, and not locked yet, for a killed one's."""
    handle = os.open(spill, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks: then nothing is cleared either
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _lock_own_folder(folder: Path) -> int | None:
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        (folder / LOCK).unlink()
        return None
    return handle

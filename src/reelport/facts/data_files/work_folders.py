"""Work folders of running loads, each locked: those of killed ones are deleted.

The operating system releases a lock when its process ends, however it ends. Ages and process ids are less reliable.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

from reelport.facts.log.log_files import LOG_FOLDER, find_remote
from reelport.facts.tables import TABLES
from reelport.storage.durable import translate_io_errors
from reelport.storage.locked_folders import lock_folder

SPILL = ".work"
"""The folder under the tables' root that holds the work folders."""
LOCK = "lock"
"""The file in each work folder that its process keeps locked."""
_CLAIMED = "claimed"
"""The file in each work folder that lists unfinished files elsewhere, one a line: to delete if the process dies."""


@contextmanager
def open_work_folder(root: Path) -> Iterator[Path]:
    """Create a work folder for the block; first delete what killed loads left."""
    spill = root / SPILL
    with translate_io_errors(root):
        spill.mkdir(parents=True, exist_ok=True)
        # Locked, so that no new work folder is taken for a dead one before its process has locked it.
        with lock_folder(spill):
            _clear_dead_folders(root)
            folder = Path(mkdtemp(prefix=f"{os.getpid()}-", dir=spill))
            lock = (folder / LOCK).open("wb")
            with suppress(OSError):  # the file system has no locks: then nobody can take the folder for a dead one
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def claim_file(folder: Path, path: Path) -> None:
    """Record an unfinished file elsewhere, to be deleted if the process is killed."""
    with (folder / _CLAIMED).open("ab") as claimed:
        claimed.write(os.fsencode(path.absolute()) + b"\n")


def clear_dead_folders(root: Path) -> None:
    """Delete what killed loads left: work folders, and files claimed elsewhere."""
    spill = root / SPILL
    if spill.is_dir():
        with translate_io_errors(spill), lock_folder(spill):
            _clear_dead_folders(root)


def list_work_folders(root: Path) -> Iterator[Path]:
    """List the work folders of loads that are running or were killed."""
    return (path for path in (root / SPILL).glob("*") if path.is_dir())


def _clear_dead_folders(root: Path) -> None:
    for folder in list_work_folders(root):
        # Suppressed: the folder is another user's, is still locked, or its load has just ended.
        with suppress(OSError), (folder / LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            claimed = folder / _CLAIMED
            if claimed.exists():
                for name in claimed.read_bytes().splitlines():
                    Path(os.fsdecode(name)).unlink(missing_ok=True)
                claimed.unlink()
            if not any(_is_without_log(root / name) for name in TABLES):
                shutil.rmtree(folder)


def _is_without_log(table: Path) -> bool:
    """Whether the table has files and no log: its first load was killed, as folders prove."""
    return find_remote(table) is None and table.is_dir() and not (table / LOG_FOLDER).is_dir()

"""Work folders of running loads, each locked: those of killed ones are deleted.

The operating system releases a lock when its process ends, however it ends. Ages and process ids are less reliable.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from reelport.facts.log.log_files import LOG_FOLDER, find_remote
from reelport.facts.tables import TABLES
from reelport.storage.durable import translate_io_errors
from reelport.storage.locked_folders import delete_dead_folders, open_scratch_folder

SPILL = ".work"
"""The folder under the tables' root that holds the work folders."""
PREFIX = "load-"
"""How the names of work folders begin."""
_CLAIMED = "claimed"
"""The file in each work folder that lists unfinished files elsewhere, to delete if the process dies; NUL ends each."""


@contextmanager
def open_work_folder(root: Path) -> Iterator[Path]:
    """Create a work folder for the block; first delete what killed loads left."""
    with ExitStack() as stack:
        with translate_io_errors(root):
            (root / SPILL).mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(open_scratch_folder(PREFIX, root / SPILL, partial(_delete, root)))
        yield folder


def claim_file(folder: Path, path: Path) -> None:
    """Record an unfinished file elsewhere, to be deleted if the process is killed."""
    with (folder / _CLAIMED).open("ab") as claimed:
        claimed.write(os.fsencode(path.absolute()) + b"\0")


def clear_dead_folders(root: Path) -> None:
    """Delete what killed loads left: work folders, and files claimed elsewhere."""
    delete_dead_folders(PREFIX, root / SPILL, partial(_delete, root))


def list_work_folders(root: Path) -> Iterator[Path]:
    """List the work folders of loads that are running or were killed."""
    return (path for path in (root / SPILL).glob("*") if path.is_dir())


def _delete(root: Path, folder: Path) -> None:
    """Delete a dead work folder and what it claimed; it stays where a table may need its proof."""
    claimed = folder / _CLAIMED
    if claimed.exists():
        for name in claimed.read_bytes().split(b"\0")[:-1]:  # one that was cut may name another file
            Path(os.fsdecode(name)).unlink(missing_ok=True)
        claimed.unlink()
    if not any(_is_without_log(root / name) for name in TABLES):
        shutil.rmtree(folder)


def _is_without_log(table: Path) -> bool:
    """Whether the table has files and no log: its first load was killed, as folders prove."""
    return find_remote(table) is None and table.is_dir() and not (table / LOG_FOLDER).is_dir()

"""Deletes copies by role that can't be read.

Reports read the files themselves then, until `compact` copies them anew.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from reelport.facts.log.data_file import DataFile
from reelport.facts.log.log_files import open_store
from reelport.facts.log.role_copies import choose_paths, find_original, split_digest
from reelport.storage.digests import is_intact


def delete_damaged_copies(
    folder: Path, files: Iterable[DataFile], role: str, channels: Collection[str], is_stopped: Callable[[], bool]
) -> tuple[str, ...]:
    """Delete those of the copies of a table's files that can't be read.

    They are those with rows of the channels in the role, each of which is compared with its digest. Returns their
    names. Those that are left when `is_stopped` stay. Raises StorageError when the store fails, or lets one not be
    deleted.
    """
    store = open_store(folder.absolute())
    names = choose_paths(store, {file.path: file.rows for file in files}, role, channels)
    copies = [name for name in names if find_original(name)]
    paths = zip(copies, store.local_paths(copies), strict=True)
    wrong = [name for name, path in paths if not is_stopped() and not _is_right(name, path)]
    # What this machine has of an object store's may have rotted here: then the store's own serves all others.
    damaged = [name for name in wrong if not _is_right(name, store.fetch_again(name))]
    for name in damaged:
        store.delete(name)
    return tuple(damaged)


def _is_right(name: str, path: Path) -> bool:
    """Whether nothing is wrong with a copy; an error that is not its own says nothing of it."""
    told = split_digest(name)
    try:
        return told is not None and is_intact(path, told[1])
    except OSError as error:
        return error.errno != errno.EIO

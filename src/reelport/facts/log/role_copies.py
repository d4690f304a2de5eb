"""Copies of data files by role: which exist, and which hold a channel's rows.

A copy holds those rows of one data file that have a channel in one role, sorted by that channel. Data files never
change, and no other file gets the name of one: so a copy is right for as long as its file is read, and whoever wants
rows by that role may read either. No log names a copy. The copy of a large file is in parts, by a hash of the channel:
a part has few row groups, whose descriptions would else be more to read than the rows of one channel. The name that a
copy is stored by also has its digest, so that there is never one without the other.

Reports read the files themselves where a copy can't be read. Such a copy is deleted, until `compact` writes it anew.
"""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from reelport.facts.log.log_entry import DataFile
from reelport.facts.log.log_files import LOG_FOLDER, open_store
from reelport.facts.tables import Table
from reelport.storage.digests import DIGITS, is_intact
from reelport.storage.file_store import FileStore

ROLES = ("publisher_channel_id", "claimer_channel_id")
"""The columns by which there are copies; the files themselves are sorted by owner."""
LEAST_ROWS = 16_384
"""Rows of a file below which it has no copy: it is read whole about as fast."""
WHOLE, PARTS = "all", tuple("0123456789abcdef")
"""The one part of a copy, or each of several by the first digit of the channel's MD5."""
_SPLIT_FROM_ROWS = 400_000
"""Rows of a file from which its copies are in parts."""
_PREFIX, _SUFFIX = "_by_", "_channel_id"
_DATA = ".parquet"
_DIGESTED = re.compile(rf"(.+)\.([0-9a-f]{{{DIGITS}}}){re.escape(_DATA)}")


def list_roles(table: Table) -> tuple[str, ...]:
    """List the columns by which the files of a table have copies."""
    names = {column.name for column in table.columns} if table.is_fact else set()
    return tuple(role for role in ROLES if role in names)


def list_parts(rows: int) -> tuple[str, ...]:
    """List the parts of the copies of a data file of so many rows."""
    return PARTS if rows >= _SPLIT_FROM_ROWS else (WHOLE,)


def find_part(channel: str) -> str:
    """Find the part that the rows of a channel are in, where there are several."""
    return hashlib.md5(channel.encode(), usedforsecurity=False).hexdigest()[0]


def name_copy(path: str, role: str, part: str) -> str:
    """Name a part of a data file's copy; other readers of Delta tables ignore such folders."""
    return f"{_PREFIX}{role.removesuffix(_SUFFIX)}/{part}/{path}"


def add_digest(name: str, digest: str) -> str:
    """Give the name by which a copy is stored: its own, with its digest."""
    return f"{name.removesuffix(_DATA)}.{digest}{_DATA}"


def split_digest(stored: str) -> tuple[str, str] | None:
    """Split the name of a stored copy into its own and its digest; None for any other name."""
    found = _DIGESTED.fullmatch(stored)
    return None if found is None else (f"{found[1]}{_DATA}", found[2])


def find_original(stored: str) -> str | None:
    """Find the path of the data file that this is a copy of; None when it is no copy."""
    folder, _, rest = (split_digest(stored) or (stored, ""))[0].partition("/")
    return rest.partition("/")[2] if folder.startswith(_PREFIX) else None


def is_data_file(name: str) -> bool:
    """Whether a file of a table's store is a data file, whether a commit names it or not."""
    return name.endswith(_DATA) and not name.startswith(f"{LOG_FOLDER}/") and find_original(name) is None


def choose_paths(store: FileStore, files: Mapping[str, int], role: str, channels: Collection[str]) -> tuple[str, ...]:
    """Choose what to read for the rows in which one of the channels has the role.

    Of each file, given by its path and rows, that is the parts of its copy that hold them, or the file itself where one
    of those is missing.
    """
    wanted = {WHOLE, *map(find_part, channels)}
    names = {
        path: [name_copy(path, role, part) for part in list_parts(rows) if part in wanted]
        for path, rows in files.items()
    }
    existing = find_copies(store, (name for found in names.values() for name in found))
    return tuple(
        name
        for path, found in names.items()
        for name in (map(existing.__getitem__, found) if existing.keys() >= set(found) else (path,))
    )


def find_copies(store: FileStore, names: Iterable[str]) -> Mapping[str, str]:
    """Find those of the named copies that exist: the names that they are stored by."""
    wanted = frozenset(names)
    folders = {name.rpartition("/")[0] for name in wanted}
    found = ((split_digest(stored), stored) for folder in folders for stored in store.list_names(folder))
    return {told[0]: stored for told, stored in found if told is not None and told[0] in wanted}


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

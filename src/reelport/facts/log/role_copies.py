"""Copies of data files by role: which exist, and which hold a channel's rows.

A copy holds those rows of one data file that have a channel in one role, sorted by that channel. Data files never
change, and no other file gets the name of one: so a copy is right for as long as its file is read, and whoever wants
rows by that role may read either. No log names a copy. The name that a copy is stored by also has its digest, so that
there is never one without the other. Reports read the files themselves where a copy can't be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from reelport.facts.log.log_files import LOG_FOLDER
from reelport.facts.tables import Table
from reelport.storage.digests import DIGITS
from reelport.storage.file_store import FileStore

ROLES = ("publisher_channel_id", "claimer_channel_id")
"""The columns by which there are copies; the files themselves are sorted by owner."""
LEAST_ROWS = 16_384
"""Rows of a file below which it has no copy: it is read whole about as fast."""
_PREFIX, _SUFFIX = "_by_", "_channel_id"
_DATA = ".parquet"
_DIGESTED = re.compile(rf"(.+)\.([0-9a-f]{{{DIGITS}}}){re.escape(_DATA)}")


def list_roles(table: Table) -> tuple[str, ...]:
    """List the columns by which the files of a table have copies."""
    names = {column.name for column in table.columns} if table.is_fact else set()
    return tuple(role for role in ROLES if role in names)


def name_copy(path: str, role: str) -> str:
    """Name a data file's copy; other readers of Delta tables ignore such folders."""
    return f"{_PREFIX}{role.removesuffix(_SUFFIX)}/{path}"


def add_digest(name: str, digest: str) -> str:
    """Give the name by which a copy is stored: its own, with its digest."""
    return f"{name.removesuffix(_DATA)}.{digest}{_DATA}"


def split_digest(stored: str) -> tuple[str, str] | None:
    """Split the name of a stored copy into its own and its digest; None for any other name."""
    found = _DIGESTED.fullmatch(stored)
    return None if found is None else (f"{found[1]}{_DATA}", found[2])


def find_original(stored: str) -> str | None:
    """Find the path of the data file that this is a copy of; None when it is no copy."""
    folder, _, path = (split_digest(stored) or (stored, ""))[0].partition("/")
    return path if folder.startswith(_PREFIX) else None


def is_data_file(name: str) -> bool:
    """Whether a file of a table's store is a data file, whether a commit names it or not."""
    return name.endswith(_DATA) and not name.startswith(f"{LOG_FOLDER}/") and find_original(name) is None


def choose_paths(store: FileStore, paths: Iterable[str], role: str) -> tuple[str, ...]:
    """Choose what to read for rows with the role: copies, or files that have none."""
    names = {path: name_copy(path, role) for path in paths}
    existing = find_copies(store, names.values())
    return tuple(existing.get(name, path) for path, name in names.items())


def find_copies(store: FileStore, names: Iterable[str]) -> Mapping[str, str]:
    """Find those of the named copies that exist: the names that they are stored by."""
    wanted = frozenset(names)
    folders = {name.rpartition("/")[0] for name in wanted}
    found = ((split_digest(stored), stored) for folder in folders for stored in store.list_names(folder))
    return {told[0]: stored for told, stored in found if told is not None and told[0] in wanted}

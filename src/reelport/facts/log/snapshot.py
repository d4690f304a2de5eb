"""Pin a snapshot of tables: one version of each, and which of its files a query must read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from reelport.errors import StorageError
from reelport.facts.log.log_entry import DataFile
from reelport.facts.log.log_files import find_commit_tag, open_store
from reelport.facts.log.role_copies import choose_paths, find_original
from reelport.facts.log.table_identity import find_newest
from reelport.facts.tables import OWNER, TABLES, find_table

ABSENT = -1
"""The version of a table that doesn't exist yet: it has no files."""
KEPT_LISTINGS = 4 * len(TABLES)
"""Versions whose files stay in memory, about 500 bytes a file: the newest of each table, and some that are pinned."""


@dataclass(frozen=True)
class Snapshot:
    """Tables at one version each, readable for 72 hours after files are replaced."""

    root: Path
    versions: Mapping[str, int]
    listing: Mapping[str, tuple[DataFile, ...]]
    reads_copies: bool = True

    def without_copies(self) -> Snapshot:
        """The same snapshot, of which no copies by role are read."""
        return replace(self, reads_copies=False)

    def files(
        self,
        table: str,
        start: date | None = None,
        end: date | None = None,
        channels: frozenset[str] | None = None,
        role: str = OWNER,
    ) -> tuple[str, ...]:
        """List the paths of `data_files`, fetched if need be; by another role, those of copies."""
        chosen = self.data_files(table, start, end, channels if role == OWNER else None)
        return self.paths(table, chosen, channels, role)

    def paths(
        self,
        table: str,
        chosen: Iterable[DataFile],
        channels: frozenset[str] | None = None,
        role: str = OWNER,
    ) -> tuple[str, ...]:
        """List the paths of these data files as `files` does; no other is fetched."""
        store, paths = open_store((self.root / table).absolute()), [file.path for file in chosen]
        if channels is not None and role != OWNER and self.reads_copies:
            paths = list(choose_paths(store, paths, role))
        return tuple(map(str, store.local_paths(paths)))

    def has_copies(self, table: str, start: date, end: date, role: str) -> bool:
        """Whether `files` lists a copy by the role, whose existence is looked up and nothing else."""
        store = open_store((self.root / table).absolute())
        paths = [file.path for file in self.data_files(table, start, end)]
        return self.reads_copies and any(map(find_original, choose_paths(store, paths, role)))

    def data_files(
        self,
        table: str,
        start: date | None = None,
        end: date | None = None,
        channels: frozenset[str] | None = None,
    ) -> tuple[DataFile, ...]:
        """List files that may hold rows of these days (inclusive), in a fixed order.

        `channels` also leaves out files without a row *owned* by one of these channels: give
        it only for queries by owner. Raises KeyError when the table is not pinned.
        """
        chosen = [file for file in self.listing[table] if not TABLES[table].is_fact or file.touches(start, end)]
        if channels is not None:
            owners = sorted(channels)
            chosen = [file for file in chosen if _may_own(file, owners)]
        return tuple(chosen)


def _may_own(file: DataFile, owners: list[str]) -> bool:
    if file.low_owner is None or file.high_owner is None:
        return True
    low, high = file.low_owner.encode(), file.high_owner.encode()
    return any(low <= owner.encode() <= high for owner in owners)


def pin(root: Path, tables: Iterable[str], versions: Mapping[str, int] | None = None) -> Snapshot:
    """Pin the tables at these versions, or at their newest where `versions` doesn't name them.

    Raises StorageError when a version is gone or can't be read, NewerData when a newer Reelport wrote it.
    """
    pinned: dict[str, int] = {}
    listing: dict[str, tuple[DataFile, ...]] = {}
    for name in sorted(set(tables)):
        wanted = versions.get(name) if versions is not None else None
        version = newest_version(root, name) if wanted is None else wanted
        pinned[name] = version
        listing[name] = ()
        if version != ABSENT:
            tag = find_commit_tag(open_store(root / name), version)
            if tag is None:
                raise StorageError(f"version {version} of {root / name} is gone")
            listing[name] = _list_files_at(root, name, version, tag)
    return Snapshot(root, MappingProxyType(pinned), MappingProxyType(listing))


def newest_versions(root: Path) -> Mapping[str, int]:
    """The newest version of every table, -1 for those that don't exist yet."""
    return {name: newest_version(root, name) for name in TABLES}


def newest_version(root: Path, name: str) -> int:
    """The newest version of the table, -1 when it doesn't exist yet; StorageError when it did."""
    found = find_newest(root, find_table(name).name)
    return ABSENT if found is None else found


@lru_cache(maxsize=KEPT_LISTINGS)
def _list_files_at(root: Path, name: str, version: int, _identity: str) -> tuple[DataFile, ...]:
    from reelport.facts.log.delta_log import list_files_at  # noqa: PLC0415 - slow to import, and needed by few

    return list_files_at(root / name, TABLES[name], version)

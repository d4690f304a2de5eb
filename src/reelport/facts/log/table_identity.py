"""Marks beside a service's tables: which they are, and which of them exist.

A table that isn't there reads as one without rows. Where it was lost, or where the address of an object store is
missing or wrong, reports would be empty, and backups too. So a random identity lies beside the tables, which the data
directory and the state record; and a mark of each table that was ever committed to.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from reelport.errors import StorageError
from reelport.facts.log.log_files import describe_place, find_newest_commit, find_remote, open_store
from reelport.facts.tables import TABLES
from reelport.storage.durable import give_to_owner, make_folder, private, translate_io_errors
from reelport.storage.file_store import FileStore, read_file
from reelport.storage.local_folder import LocalFolder

FOLDER = "_tables"
"""The folder beside the tables that holds the marks."""
IDENTITY = "identity"
"""The name there of the file with the identity."""
RECORD = "facts.tables"
"""The file of a data directory that records the identity of its tables."""


def identify_tables(data: Path, root: Path, *, make: bool = False, known: str | None = None) -> str | None:
    """Return the identity of the tables in `root`; None where they have none yet.

    `known` is that of the service's tables, by its state; where that says nothing, the data directory's record counts.
    StorageError where they are others, or gone. With `make` they are given one, and it is recorded.
    """
    record = None if known is not None else _read(LocalFolder(data), RECORD)
    found, expected = _read(_open_marks(root), IDENTITY), known or record
    if expected is not None and expected != found:
        raise StorageError(_describe_others(root, expected, None if record is None else data / RECORD, found))
    if not make:
        return found
    if found is None:
        with suppress(FileExistsError):  # another process was first
            _put(root, IDENTITY, f"{secrets.token_hex(8)}\n".encode(), is_new=True)
        found = read_file(_open_marks(root), IDENTITY).decode("utf-8", "replace").strip()
    if _read(LocalFolder(data), RECORD) != found:
        _record(data, found)
    return found


def restore_identity(data: Path, root: Path, identity: str, tables: Iterable[str]) -> None:
    """Mark tables that were restored as those that they were."""
    _mark(root, tables)
    _put(root, IDENTITY, f"{identity}\n".encode())
    _record(data, identity)


def _describe_others(root: Path, expected: str, record: Path | None, found: str | None) -> str:
    place = describe_place(root / FOLDER)
    who, what = record or "the state", "are not there" if found is None else "are others"
    return (
        f"The tables that {who} knows {what}: {place}/{IDENTITY} "
        f"{'is missing' if found is None else f'says {found}'}. Reports of them would be wrong. Set REELPORT_FACTS_URL "
        "as it was (or unset it), for commands by hand too; or bring the tables back. "
        f"{'' if record is None else f'If a wrong address was used here before, delete {record}. '}"
        f"If the tables of this place are to be used in their stead, write {expected} into that file."
    )


@lru_cache(maxsize=1000)
def note_table(root: Path, name: str) -> None:
    """Note that a table exists; from now on it isn't taken for one that was never made."""
    _mark(root, [name])


def was_made(root: Path, name: str) -> bool:
    """Whether a table was ever committed to."""
    return _open_marks(root).find(name) is not None


def find_newest(root: Path, name: str) -> int | None:
    """Find a table's newest version; None if it was never made, StorageError if it is missing."""
    found = find_newest_commit(root / name)
    if found is not None or not was_made(root, name):
        return found
    if (found := find_newest_commit(root / name)) is not None:  # another process has made it just now
        return found
    raise StorageError(
        f"{describe_place(root / name)} is missing: the table was there, and reports would be empty. Bring it back, or "
        f"restore a backup. To begin it anew, delete {describe_place(root / FOLDER)}/{name}."
    )


def mark_tables(root: Path) -> None:
    """Mark the tables that are there: a killed load may have left that out."""
    _mark(root, (name for name in TABLES if find_newest_commit(root / name) is not None))


def _record(data: Path, identity: str) -> None:
    LocalFolder(data).put(RECORD, f"{identity}\n".encode())
    give_to_owner(data / RECORD)


def _mark(root: Path, tables: Iterable[str]) -> None:
    store = _make_marks(root)
    for name in tables:
        if store.find(name) is None:
            _put(root, name, b"")


def _put(root: Path, name: str, content: bytes, *, is_new: bool = False) -> None:
    _make_marks(root).put(name, content, is_new=is_new)
    _give(root / FOLDER, root / FOLDER / name)


@private()
def _make_marks(root: Path) -> FileStore:
    folder = root / FOLDER
    if find_remote(folder) is None:
        missing = [made for made in (root, folder) if not made.exists()]
        with translate_io_errors(folder):
            make_folder(folder)
        _give(folder, *missing)
    return _open_marks(root)


def _give(folder: Path, *paths: Path) -> None:
    """Give what root has made in a folder to the service's user, who reads it."""
    if find_remote(folder) is None:
        for path in paths:
            give_to_owner(path)


def _open_marks(root: Path) -> FileStore:
    return open_store(root / FOLDER)


def _read(store: FileStore, name: str) -> str | None:
    if store.find(name) is None:
        return None
    return read_file(store, name).decode("utf-8", "replace").strip()

"""A file store's interface: what tables and reports need of where files lie.

A store that is added implements `FileStore` and is chosen where stores are opened: `Settings.report_store` for report
files, `log_files.open_store` for a table. `tests/storage/test_file_store.py` is the contract that it must pass.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from reelport.errors import StorageError


class StoredFile(NamedTuple):
    """What a listing says of a file; one written again has another `tag`."""

    name: str
    size: int
    modified_at: datetime
    tag: str


class OpenFile(Protocol):
    """An open file, any range of it; stays readable when deleted or put again.

    Where a store can't keep it, reads raise StorageError, and never give bytes of another file.
    """

    @property
    def size(self) -> int:
        """The bytes of the file when it was opened."""

    def read(self, position: int, count: int) -> bytes:
        """Read up to `count` bytes from this position; fewer only at the file's end."""

    def read_cached(self, position: int, count: int) -> bytes | None:
        """Read what can be had without waiting, up to `count` bytes; None when nothing can."""

    def close(self) -> None:
        """Free what the open file holds."""


class FileStore(Protocol):
    """Files by name. A name is a relative path with slashes, such as `month=2026-01/x.parquet`.

    Every operation raises StorageError when the store fails (DiskFull when it has no room), and for a name that would
    lead out of the store.
    """

    def list_names(self, under: str = "", *, after: str = "") -> Iterator[str]:
        """Yield the names of files and drafts below this folder, in no order, behind `after`."""

    def list(self, under: str = "") -> Iterator[StoredFile]:
        """Yield every such file with its size and time, which may take longer than names alone."""

    def find(self, name: str) -> StoredFile | None:
        """Find one file; None when there is none of this name."""

    def describe(self, name: str) -> str:
        """Name the place of a file, for messages."""

    def open(self, name: str) -> OpenFile:
        """Open a file. FileNotFoundError without it, StorageError without the store."""

    def put(self, name: str, content: bytes, *, is_new: bool = False) -> None:
        """Write a file: durable, whole or as before. `is_new`: FileExistsError for one there."""

    def prepare_draft(self, name: str) -> Path:
        """Return the path of a draft of this name. One never put stays listed."""

    def put_draft(self, draft: Path, name: str) -> None:
        """Turn a complete draft into a file, as `put` does; the draft is gone then."""

    def sync(self, *names: str) -> None:
        """Return once these files of one folder, which a library wrote itself, are durable."""

    def delete(self, name: str) -> None:
        """Delete a file or a draft if it exists."""

    def sign(self, name: str, until: datetime) -> str | None:
        """Make a link to download the file until then; None if the store serves none."""

    def local_paths(self, names: Iterable[str]) -> tuple[Path, ...]:
        """Return local paths at which libraries can read these files, in the same order."""

    def fetch_again(self, name: str) -> Path:
        """Return a local path as `local_paths` does; a copy, which was found damaged, is made anew."""


def check_name(name: str, place: str) -> None:
    """Raise StorageError for a name that would lead out of the store, which lies in this place."""
    if "\0" in name or not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise StorageError(f"{name!r} is no name of a file in {place}")


def is_behind(name: str, after: str) -> bool:
    """Whether a name comes behind another in the order of their bytes, which need not be UTF-8."""
    return os.fsencode(name) > os.fsencode(after)


def read_file(store: FileStore, name: str) -> bytes:
    """Read a whole file. FileNotFoundError when there is none."""
    with closing(store.open(name)) as file:
        return file.read(0, file.size)

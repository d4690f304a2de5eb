"""The interface of a file store: all that fact tables and report files need of the place where they lie.

A store that is added implements `FileStore` and is chosen where stores are opened: `Settings.report_store` for report
files, `delta_log.open_store` for a table. `tests/storage/test_file_store.py` is the contract that it must pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol


class StoredFile(NamedTuple):
    """What a listing tells of a file. A file that is written again under its name gets another `tag`."""

    name: str
    size: int
    modified_at: datetime
    tag: str


class OpenFile(Protocol):
    """A file that is open for reading, any range of it. It stays readable when it is deleted or put again meanwhile."""

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

    def list_names(self, under: str = "") -> Iterator[str]:
        """Yield the name of every file below this folder, in no order: of those that are put, and of drafts."""

    def list(self, under: str = "") -> Iterator[StoredFile]:
        """Yield every such file with its size and time, which may take longer than names alone."""

    def find(self, name: str) -> StoredFile | None:
        """Find one file; None when there is none of this name."""

    def open(self, name: str) -> OpenFile:
        """Open a file. FileNotFoundError when there is none, StorageError when the whole store is out of reach."""

    def put(self, name: str, content: bytes, *, is_new: bool = False) -> None:
        """Write a file: durable when this returns, and complete or as before if the process is killed.

        With `is_new`, raise FileExistsError if there is such a file: of several writers one wins.
        """

    def prepare_draft(self, name: str) -> Path:
        """Return the local path at which to write a draft of this name. A draft that is never put stays listed."""

    def put_draft(self, draft: Path, name: str) -> None:
        """Turn a complete draft into a file, as `put` does; the draft is gone then."""

    def sync(self, *names: str) -> None:
        """Return once these files of one folder, which a library wrote itself, are durable."""

    def delete(self, name: str) -> None:
        """Delete a file or a draft if it exists."""

    def sign(self, name: str, until: datetime) -> str | None:
        """Make a link by which anyone can download the file until then; None when the store serves no downloads."""

    def local_paths(self, names: Iterable[str]) -> tuple[Path, ...]:
        """Return local paths at which libraries can read these files, in the same order."""


def read_file(store: FileStore, name: str) -> bytes:
    """Read a whole file. FileNotFoundError when there is none."""
    with closing(store.open(name)) as file:
        return file.read(0, file.size)

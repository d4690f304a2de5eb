"""The implementations of the file store that the contract is tried on, each by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reelport.storage.file_store import FileStore
from reelport.storage.local_folder import LocalFolder


def _open_folder(place: Path) -> FileStore:
    return LocalFolder(place / "files")


STORES: dict[str, Callable[[Path], FileStore]] = {"local folder": _open_folder}
"""Each opens its store in a folder of the test's own; opened again there, it finds what it held."""

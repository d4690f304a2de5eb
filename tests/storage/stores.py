"""The implementations of the file store that the contract is tried on, each by its name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from tests.storage.object_server import BUCKET

from reelport.storage.file_cache import FileCache
from reelport.storage.file_store import FileStore
from reelport.storage.local_folder import LocalFolder
from reelport.storage.object_store import ObjectStore
from reelport.storage.s3_address import S3Address


def _open_folder(place: Path) -> FileStore:
    return LocalFolder(place / "files")


def open_bucket(place: Path, *, signs: bool = True) -> ObjectStore:
    """Open a prefix of the tests' bucket that is this folder's own, in the store that the environment names."""
    address = S3Address(BUCKET, hashlib.sha256(str(place).encode()).hexdigest())
    return ObjectStore(address, LocalFolder(place / "drafts"), FileCache(place / "cache", 1_000_000), signs)


STORES: dict[str, Callable[[Path], FileStore]] = {"local folder": _open_folder, "object store": open_bucket}
"""Each opens its store in a folder of the test's own; opened again there, it finds what it held."""

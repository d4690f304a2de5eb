"""Bytes that stay: what is synced to the disk before anybody relies on it, and the disk's refusals in clear words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reelport.errors import DiskFull, StorageError
from reelport.facts.modes import private

_SENTENCES = {
    errno.ENOSPC: "the disk is full: make room and run it again",
    errno.EDQUOT: "the disk quota is used up: make room and run it again",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EIO: "the disk reports an input/output error",
    errno.EMFILE: "too many files are open",
    errno.ENOTDIR: "a part of the path is no directory",
    errno.EEXIST: "a file stands in the way",
}

_FULL = ("no space left", "os error 28", "errno 28", "disk full", "disk is full")


@contextmanager
def storage_errors(place: Path) -> Iterator[None]:
    """Turn the operating system's refusals inside the block into a StorageError that names the place."""
    try:
        yield
    except OSError as error:
        raise storage_error(f"{error.filename or place}: {reason_of(error)}", error) from error


def storage_error(sentence: str, error: OSError) -> StorageError:
    """What to raise for a refusal of the operating system: DiskFull where there is no room."""
    full = error.errno in {errno.ENOSPC, errno.EDQUOT} or full_disk(str(error)) is not None
    return DiskFull(sentence) if full else StorageError(sentence)


def reason_of(error: OSError) -> str:
    """Why the operating system refused, in words that say what to do where there is something."""
    return _SENTENCES.get(error.errno or 0) or full_disk(str(error)) or error.strerror or str(error)


def full_disk(message: str) -> str | None:
    """The sentence for a full disk when a library's message tells of one."""
    lowered = message.lower()
    if any(words in lowered for words in _FULL):
        return _SENTENCES[errno.ENOSPC]
    return None


def sync_file(path: Path) -> None:
    """Return once the file's bytes are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Return once the folder's names are on the disk."""
    sync_file(path)


@private()
def make_folder(path: Path) -> None:
    """Make the folder and those above it, each synced into its parent."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


@private()
def write_whole(path: Path, content: bytes) -> None:
    """Write the file so that it is there whole, or not at all, even after a power cut."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        sync_file(part)
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)

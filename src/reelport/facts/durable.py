"""Bytes that stay: what is synced to the disk before anybody relies on it, and the disk's refusals in clear words."""

from __future__ import annotations

import errno
import os
import pwd
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reelport.errors import DiskFull, StorageError
from reelport.facts.modes import private

_SENTENCES = {
    errno.ENOSPC: "the disk is full: make room",
    errno.EDQUOT: "the disk quota is used up: make room",
    errno.EROFS: "the file system is read-only: mount it for writing too, or use another data directory",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EIO: "the disk reports an input/output error",
    errno.EMFILE: "too many files are open",
    errno.ENOTDIR: "a part of the path is no directory",
    errno.EEXIST: "a file stands in the way",
}

_NUMBER = re.compile(r"(?:os error |errno )(\d+)", re.IGNORECASE)
_NAMED = re.compile(r"(?:file|directory|path) (/\S+/)\S+(?=.*os error)")
"""The folder of the file that a library's message is about; a path with blanks isn't told from its words."""
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_FULL = ("no space left", "os error 28", "errno 28", "disk full", "disk is full")


@contextmanager
def translate_io_errors(place: Path) -> Iterator[None]:
    """Turn the operating system's refusals inside the block into a StorageError that names the place."""
    try:
        yield
    except OSError as error:
        path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else place
        raise to_storage_error(f"{path}: {describe_os_error(error, path)}", error) from error


def to_storage_error(sentence: str, error: OSError) -> StorageError:
    """What to raise for a refusal of the operating system: DiskFull where there is no room."""
    full = error.errno in {errno.ENOSPC, errno.EDQUOT} or full_disk_sentence(str(error)) is not None
    return DiskFull(sentence) if full else StorageError(sentence)


def describe_os_error(error: OSError, place: Path | None = None) -> str:
    """Why the operating system refused, in words that say what to do where there is something.

    Where permission is denied, and the place is given, they say whose it is.
    """
    if error.errno in _SENTENCES:
        return _describe_errno(error.errno, place)
    return describe_message(str(error), place) or error.strerror or to_plain_line(str(error))


def describe_message(message: str, place: Path | None = None) -> str | None:
    """The same when a library's message tells of the refusal, by its number or by a full disk's words; else None."""
    if sentence := full_disk_sentence(message):
        return sentence
    found = _NUMBER.search(message)
    if found is None:
        return None
    named = _NAMED.search(to_plain_line(message))
    return _describe_errno(int(found[1]), place if named is None else Path(named[1]))


def to_plain_line(message: str) -> str:
    """A library's message on one line, without what colours it on a terminal."""
    return " ".join(_ESCAPES.sub("", message).replace("↳", " ").split())


def _describe_errno(number: int, place: Path | None) -> str:
    sentence = _SENTENCES.get(number) or os.strerror(number).lower()
    return f"{sentence}{_describe_owner(place)}" if place and number in {errno.EACCES, errno.EPERM} else sentence


def _describe_owner(place: Path) -> str:
    """Whose the nearest place is that there is, and what to do."""
    for near in (place, *place.parents):
        with suppress(OSError):
            found = near.stat()
            try:
                owner = pwd.getpwuid(found.st_uid).pw_name
            except KeyError:
                owner = str(found.st_uid)
            mode = stat.filemode(found.st_mode)
            return f": {near} is the user {owner}'s, with the mode {mode}; run this as that user, or change the mode"
    return ""


def full_disk_sentence(message: str) -> str | None:
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
def write_atomically(path: Path, content: bytes) -> None:
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

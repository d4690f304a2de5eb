"""Durable writes (fsync, atomic replace), their modes, and words for the system's errors.

Tables, state, report files and spill files are written by several libraries, so one umask applies to all of them. The
umask is set for the whole process while a `private` block is open, and restored after the last one.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path

from reelport.errors import DiskFull, StorageError


class Readers(StrEnum):
    """Who may read a data directory."""

    OWNER = "owner"
    GROUP = "group"

    @property
    def denied_bits(self) -> int:
        """The permission bits that no file or folder may have."""
        return 0o077 if self is Readers.OWNER else 0o027

    def needed_bits(self, mode: int) -> int:
        """The permission bits, beyond the owner's, that such a file needs for them."""
        if self is Readers.OWNER:
            return 0
        if stat.S_ISDIR(mode):
            return 0o050
        return 0o040 if stat.S_ISREG(mode) else 0


class _UmaskState:
    """The process's state: the number of open blocks, and the umask from before the first one."""

    readers = Readers.OWNER
    changing = threading.Lock()
    blocks = 0
    before = 0


def set_readers(readers: Readers) -> None:
    """Set who may read what this process writes, from the next `private` block on."""
    _UmaskState.readers = readers


@contextmanager
def private() -> Iterator[None]:
    """Inside the block, create files and folders with the permissions that `set_readers` chose."""
    with _UmaskState.changing:
        _UmaskState.blocks += 1
        if _UmaskState.blocks == 1:
            _UmaskState.before = os.umask(_UmaskState.readers.denied_bits)
    try:
        yield
    finally:
        with _UmaskState.changing:
            _UmaskState.blocks -= 1
            if _UmaskState.blocks == 0:
                os.umask(_UmaskState.before)


def give_to_owner(path: Path) -> None:
    """Give a file that root has written to the owner of its folder, where it can."""
    if os.geteuid() == 0:
        with suppress(OSError):
            owner = path.parent.stat()
            os.chown(path, owner.st_uid, owner.st_gid)


FULL_DISK = "the disk is full: make room"
_SENTENCES = {
    errno.ENOSPC: FULL_DISK,
    errno.EDQUOT: "the disk quota is used up: make room",
    errno.EROFS: "the file system is read-only: mount it for writing too, or use another data directory",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EIO: "the disk reports an input/output error",
    errno.EMFILE: "too many files are open: raise their limit (ulimit -n)",
    errno.ENOLCK: "the file system has no locks, or none are left: use a local file system, or mount it with locks",
    errno.ENOTDIR: "a part of the path is no directory",
    errno.EEXIST: "a file stands in the way",
}

_NUMBER = re.compile(r"(?:os error |errno )(\d+)", re.IGNORECASE)
_NAMED = re.compile(r"(?:file|directory|path) (/\S+/)\S+(?=.*os error)")
"""Finds the folder of the file that a library's message is about; not if the path has blanks."""
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_DRAFT_SUFFIX = ".part"
_DRAFT = re.compile(r"\.[0-9a-f]{12}" + re.escape(_DRAFT_SUFFIX))
_FULL = ("no space left", "os error 28", "errno 28", "disk full", "disk is full")


@contextmanager
def translate_io_errors(place: Path, *passing: type[OSError]) -> Iterator[None]:
    """Turn an OSError into a StorageError naming the path, unless it is to pass."""
    try:
        yield
    except passing:
        raise
    except OSError as error:
        path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else place
        raise to_storage_error(f"{path}: {describe_os_error(error, path)}", error) from error


def to_storage_error(sentence: str, error: OSError) -> StorageError:
    """Make the StorageError for an OSError: a DiskFull when the disk is full."""
    full = error.errno in {errno.ENOSPC, errno.EDQUOT} or full_disk_sentence(str(error)) is not None
    return DiskFull(sentence) if full else StorageError(sentence)


def describe_os_error(error: OSError, place: Path | None = None) -> str:
    """Describe an OSError, with what to do about it where possible.

    If permission is denied and `place` is given, also name the owner of the file or folder.
    """
    if error.errno in _SENTENCES:
        return _describe_errno(error.errno, place)
    return describe_message(str(error), place) or error.strerror or to_plain_line(str(error))


def describe_message(message: str, place: Path | None = None) -> str | None:
    """Describe a system error in a message, by number or words of a full disk; or None."""
    if sentence := full_disk_sentence(message):
        return sentence
    found = _NUMBER.search(message)
    if found is None:
        return None
    named = _NAMED.search(to_plain_line(message))
    return _describe_errno(int(found[1]), place if named is None else Path(named[1]))


def to_plain_line(message: str) -> str:
    """Put a library's message on one line, without terminal escape sequences."""
    return " ".join(_ESCAPES.sub("", message).replace("↳", " ").split())


def _describe_errno(number: int, place: Path | None) -> str:
    sentence = _SENTENCES.get(number) or os.strerror(number).lower()
    return f"{sentence}{_describe_owner(place)}" if place and number in {errno.EACCES, errno.EPERM} else sentence


def _describe_owner(place: Path) -> str:
    """Name the owner of the nearest existing folder of the path, and say what to do."""
    for near in (place, *place.parents):
        with suppress(OSError):
            found = near.stat()
            try:
                import pwd  # noqa: PLC0415 - Windows has none, where a client loads this for the names of settings

                owner = pwd.getpwuid(found.st_uid).pw_name
            except KeyError:
                owner = str(found.st_uid)
            mode = stat.filemode(found.st_mode)
            return f": {near} is the user {owner}'s, with the mode {mode}; run this as that user, or change the mode"
    return ""


def full_disk_sentence(message: str) -> str | None:
    """Return the sentence for a full disk if a library's message reports one, else None."""
    lowered = message.lower()
    if any(words in lowered for words in _FULL):
        return FULL_DISK
    return None


def sync_file(path: Path) -> None:
    """Return once the file's bytes are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Return once the folder's entries are on the disk."""
    sync_file(path)


@private()
def make_folder(path: Path) -> None:
    """Create the folder and its parents, and sync each new one's entry in its parent."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


def replace_file(path: Path, content: bytes, *, is_new: bool = False) -> None:
    """Write the file atomically and durably, with the mode of the file that it replaces.

    With `is_new`, raise FileExistsError if there is such a file.
    """
    part = path.with_name(f"{path.name}.{secrets.token_hex(6)}{_DRAFT_SUFFIX}")
    try:
        part.write_bytes(content)
        with suppress(FileNotFoundError):
            part.chmod(stat.S_IMODE(path.stat().st_mode))
        sync_file(part)
        if is_new:
            path.hardlink_to(part)  # which never replaces anything, as a rename would
        else:
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    sync_folder(path.parent)


def strip_draft(name: str) -> str:
    """Return the file's name if this is that of a killed `replace_file`'s draft; else the name."""
    found = _DRAFT.search(name)
    return name if found is None or found.end() != len(name) else name[: found.start()]

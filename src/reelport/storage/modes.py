"""Set who may read what is written into a data directory: owner, or group too.

Tables, state, report files and spill files are written by several libraries, so one umask applies to all of them. The
umask is set for the whole process while a `private` block is open, and restored after the last one.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path


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

"""Who may read what this process writes into a data directory: its owner alone, or its group too; never others.

The one rule for tables, state, finished files and what spills, whichever library writes them: the process's mask for
new files. It holds for the whole process while a block is open, and is what it was after the last one.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum


class Readers(StrEnum):
    """Who may read a data directory."""

    OWNER = "owner"
    GROUP = "group"

    @property
    def denied_bits(self) -> int:
        """The bits that no file and no folder may have."""
        return 0o077 if self is Readers.OWNER else 0o027

    def needed_bits(self, mode: int) -> int:
        """The bits beyond the owner's that what has this mode needs, a file or a folder, for them to read it."""
        if self is Readers.OWNER:
            return 0
        if stat.S_ISDIR(mode):
            return 0o050
        return 0o040 if stat.S_ISREG(mode) else 0


class _UmaskState:
    """What this process goes by: how many blocks are open, and its mask from before the first one."""

    readers = Readers.OWNER
    changing = threading.Lock()
    blocks = 0
    before = 0


def set_readers(readers: Readers) -> None:
    """Say for whom this process writes, from the next block of `private` on."""
    _UmaskState.readers = readers


@contextmanager
def private() -> Iterator[None]:
    """Within the block new files and folders are for those who may read them, whatever the process's mask was."""
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

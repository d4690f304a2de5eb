"""Syncs the file of a write-ahead log for all threads of a process, and knows of errors.

Linux tells an error of writing a file back to each open descriptor once, and not to one that is opened after somebody
was told. So a few descriptors stay open, one for each sync that runs at the same time: whoever else was told of an
error, each of them is told too. What could not be written counts as written afterwards, so that later syncs succeed
beside a hole in the log, at which SQLite would end its recovery. It may stay a hole: ext4 keeps blocks that could not
be written for the first time as unwritten, whatever is written into them later. So no sync is believed after one that
failed, until the log was copied into the state and emptied.
"""

from __future__ import annotations

import os
import queue
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from reelport.errors import StorageError
from reelport.storage.durable import translate_io_errors

PARALLEL_SYNCS = 4
"""Syncs that run at the same time; others wait. One that came while another one runs would else end after both."""
_Identity = tuple[int, int]


class _Descriptor:
    """A descriptor of the file of a path, for one sync at a time."""

    def __init__(self, path: Path) -> None:
        self.number: int | None = None
        self._path = path
        self._opened: _Identity | None = None
        self._finalize: Callable[[], object] = lambda: None

    def follow(self) -> None:
        """Open the file that is there now, unless it is open; close one that is there no more."""
        if _identify(self._path) == self._opened:
            return
        self.close()
        with suppress(FileNotFoundError):
            self.number = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            found = os.fstat(self.number)
            self._opened = (found.st_dev, found.st_ino)
            self._finalize = weakref.finalize(self, os.close, self.number)

    def close(self) -> None:
        """Close the file, if one is open."""
        self._finalize()
        self.number = self._opened = None


class LogFile:
    """One log as one process uses it. Each method may be called by any thread."""

    def __init__(self, path: Path, sync: Callable[[int], object] = os.fdatasync) -> None:
        self._path = path
        self._sync = sync
        self._free: queue.SimpleQueue[_Descriptor] = queue.SimpleQueue()
        for _ in range(PARALLEL_SYNCS):
            self._free.put(_Descriptor(path))
        self._watched: _Identity | None = None
        self._counting = threading.Lock()
        self._failures = 0
        self._emptied_failures = 0

    def watch(self) -> None:
        """Open the file that is there, unless it is open: the next sync knows of all errors since."""
        with translate_io_errors(self._path):
            found = _identify(self._path)
            if found != self._watched:
                self._for_each_free(_Descriptor.follow)
                self._watched = found

    def sync(self) -> None:
        """Return once what was written into the file before is on the disk; without a file at once.

        StorageError when the disk fails, or failed before and the log wasn't emptied since.
        """
        own = self._free.get()
        try:
            with translate_io_errors(self._path):
                own.follow()
                if own.number is not None:
                    self._sync_open_file(own.number)
        finally:
            self._free.put(own)
        if self.is_doubtful:
            raise StorageError(f"{self._path}: the disk reported an error: what was written may not be kept.")

    def close(self) -> None:
        """Close the file, which `watch` and `sync` open again."""
        self._watched = None
        self._for_each_free(_Descriptor.close)

    def doubt(self) -> None:
        """Note that the disk failed: what is in the log may have a hole."""
        with self._counting:
            self._failures += 1

    @property
    def failures(self) -> int:
        """How often the disk failed."""
        return self._failures

    @property
    def is_doubtful(self) -> bool:
        """Whether the disk failed since the log was emptied."""
        return self._failures != self._emptied_failures

    def trust_emptied(self, failures: int) -> None:
        """Believe syncs again: the log was copied and emptied after so many failures.

        Its end is synced first, or an earlier one might come back with its hole. StorageError when the disk fails.
        """
        with translate_io_errors(self._path), self._path.open("rb") as file:
            self._sync_open_file(file.fileno())
        self._emptied_failures = failures

    def _sync_open_file(self, number: int) -> None:
        try:
            self._sync(number)
        except OSError:
            self.doubt()
            raise

    def _for_each_free(self, do: Callable[[_Descriptor], object]) -> None:
        """Call `do` with each descriptor that no sync uses."""
        taken = []
        try:
            with suppress(queue.Empty):
                while True:
                    taken.append(self._free.get_nowait())
                    do(taken[-1])
        finally:
            for each in taken:
                self._free.put(each)


def _identify(path: Path) -> _Identity | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino

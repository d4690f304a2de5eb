"""Syncs the file of a write-ahead log for all threads of a process, and knows of errors.

Linux tells an error of writing a file back to each open descriptor once, and not to one that is opened after somebody
was told. So the descriptor stays open: whoever else was told of an error, the next sync here is too. What could not be
written counts as written afterwards, so that later syncs succeed beside a hole in the log, at which SQLite would end
its recovery. So none is believed after one that failed, until the log was copied into the state.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from reelport.errors import StorageError
from reelport.storage.durable import translate_io_errors

_Identity = tuple[int, int]


class LogFile:
    """One log as one process uses it. Each method may be called by any thread."""

    def __init__(self, path: Path, sync: Callable[[int], object] = os.fdatasync) -> None:
        self._path = path
        self._sync = sync
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._close_file: Callable[[], object] = lambda: None
        self._opened: _Identity | None = None
        self._waiting: set[object] = set()
        self._begun = 0
        self._failed = 0
        self._failures = 0
        self._copied_failures = 0

    def watch(self) -> None:
        """Open the file that is there, unless it is open: the next sync knows of all errors since."""
        with translate_io_errors(self._path):
            if self._identify() != self._opened:
                with self._lock:
                    self._open()

    def sync(self) -> None:
        """Return once what was written into the file before is on the disk; without a file at once.

        Threads that come while one syncs share the next sync. StorageError when the disk fails, or failed before and
        the log wasn't copied since.
        """
        seen = self._begun
        self._waiting.add(own := object())
        with self._lock, suppress(FileNotFoundError), translate_io_errors(self._path, FileNotFoundError):
            self._waiting.discard(own)
            if self._begun == seen:
                self._open()
                self._begun += 1
                self._sync_open_file()
            if self._failed > seen or self.is_doubtful:
                raise StorageError(f"{self._path}: the disk reported an error: what was written may not be kept.")

    @property
    def waiting(self) -> int:
        """The number of threads that wait for a sync which has not begun."""
        return len(self._waiting)

    def close(self) -> None:
        """Close the file, which `watch` and `sync` open again."""
        with self._lock:
            self._close_file()
            self._descriptor = self._opened = None

    def doubt(self) -> None:
        """Note that the disk failed elsewhere: what is in the log may have a hole."""
        self._failures += 1

    @property
    def failures(self) -> int:
        """How often the disk failed."""
        return self._failures

    @property
    def is_doubtful(self) -> bool:
        """Whether the disk failed since the log was copied."""
        return self._failures != self._copied_failures

    def trust(self, failures: int) -> None:
        """Believe syncs again: the log was copied whole after so many failures."""
        self._copied_failures = failures

    def _sync_open_file(self) -> None:
        if self._descriptor is None:
            return
        try:
            self._sync(self._descriptor)
        except OSError:
            self._failed = self._begun
            self._failures += 1
            raise

    def _open(self) -> None:
        """Open the file that is there now, and close one that is there no more."""
        if self._identify() == self._opened:
            return
        self._close_file()
        self._descriptor = self._opened = None
        with suppress(FileNotFoundError):
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            found = os.fstat(self._descriptor)
            self._opened = (found.st_dev, found.st_ino)
            self._close_file = weakref.finalize(self, os.close, self._descriptor)

    def _identify(self) -> _Identity | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

"""Syncs a long file while it is written, so that the last fsync is short."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache

_STRIDE = 64 << 20


class BackgroundSync:
    """Syncs a file in a background thread after every 64 MiB written to it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._room = _STRIDE
        self._syncing: Future[None] | None = None

    def count_written(self, size: int) -> None:
        """Count bytes just written. Raises OSError when an earlier sync failed.

        The system reports that only once.
        """
        self._room -= size
        if self._room <= 0 and (self._syncing is None or self._syncing.done()):
            self.wait()
            self._room = _STRIDE
            # When no thread can be started, the fsync at the end does all the work.
            with suppress(RuntimeError):
                self._syncing = _get_thread().submit(_sync, self._descriptor)

    def wait(self) -> None:
        """Wait for the running sync, if any. Raises OSError when it failed."""
        if self._syncing is not None:
            syncing, self._syncing = self._syncing, None
            syncing.result()


def _sync(descriptor: int) -> None:
    sync = getattr(os, "fdatasync", os.fsync)  # not every system has the lighter one
    sync(descriptor)


@cache
def _get_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "reelport-sync")

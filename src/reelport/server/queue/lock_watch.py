"""Ends a process of the service that is stopped while it keeps the SQLite state locked.

SQLite has one writer, so nobody else can ask, claim or finish until that process goes on. What it had not committed is
rolled back, as with any process that is killed.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from reelport.server.settings import Settings
from reelport.server.state.lock_holder import Holder, find_holder

FROZEN_LOOKS = 15
"""Looks without any change after which the lock's holder is ended.

At one a second that is before others, who wait 30 seconds, are refused. Seconds are not counted: they also pass while
the whole machine is paused.
"""
_LOOK_SECONDS = 1.0
_log = structlog.get_logger(__name__)


def watch_lock(settings: Settings, excuse: Callable[[int], None], ending: threading.Event) -> None:
    """Look once a second until `ending`, if the state is SQLite's.

    `excuse` is as for LockWatch.
    """
    watch = None if settings.database_url else LockWatch(settings.state_file, excuse)
    while watch is not None and not ending.wait(_LOOK_SECONDS):
        try:
            watch.look()
        except Exception:  # noqa: BLE001 - whatever it was, the next look must come
            _log.exception("the look at the state's lock failed")


class LockWatch:
    """Looks again and again at who holds the lock of a state.

    It ends only children of this process. `excuse` is told the id of a process before it is ended, which is no fault
    of what it was doing.
    """

    def __init__(self, state: Path, excuse: Callable[[int], None]) -> None:
        self._files = [state.with_name(f"{state.name}{suffix}") for suffix in ("-writer", "")]
        self._log_file = state.with_name(f"{state.name}-wal")
        self._excuse = excuse
        self._seen: object = None
        self._looks = 0

    def look(self) -> None:
        """End the holder when it was stopped at each look since the one FROZEN_LOOKS before.

        Nobody has committed meanwhile. One that isn't stopped is left: it may wait for a disk or for a reader.
        """
        holder = next((found for file in self._files if (found := find_holder(file)) is not None), None)
        seen = (holder, self._read_commit_times())
        self._looks = self._looks + 1 if seen == self._seen else 0
        self._seen = seen
        if holder is not None and self._looks >= FROZEN_LOOKS and _may_end(holder):
            self._looks = 0
            self._end(holder.pid)

    def _read_commit_times(self) -> tuple[int, ...]:
        """Read when log and state were last written, which each commit changes."""
        times = []
        for file in (self._log_file, *self._files):
            with suppress(OSError):
                times.append(file.stat().st_mtime_ns)
        return tuple(times)

    def _end(self, pid: int) -> None:
        self._excuse(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _log.warning("a stopped process that kept the state locked is ended", pid=pid)


def _may_end(holder: Holder) -> bool:
    return holder.parent == os.getpid() and holder.is_stopped

"""Spool files: downloads on their way elsewhere, kept where a restarted command finds them.

They lie in the user's Reelport home. A command deletes its spool file when it succeeds. Abandoned ones are deleted by
the first command after two days: the service keeps a report no longer than that.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reelport.catalog import Limit
from reelport.client.files.locks import has_name, remove_folder, try_lock
from reelport.client.files.part import translate_io_errors
from reelport.client.settings.config import resolve_home

_FOLDER = "landing"
_FILE, _LOCK = "report.csv", "lock"


@contextmanager
def open_spool(name: str) -> Iterator[Path]:
    """Give a path to download to: the same for a name, unless another process uses it."""
    home = resolve_home(os.environ) / _FOLDER
    with translate_io_errors(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_expired(home)
        place = home / name
        lock = _lock_place(place)
    if lock is None:
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=home) as other:
            yield Path(other) / _FILE
        return
    try:
        yield place / _FILE
    except BrokenPipeError:
        remove_folder(place, place / _LOCK, lock)  # The reader of our output has closed the pipe.
        raise
    except BaseException:  # the partial download stays for the same command, which resumes it
        os.close(lock)
        raise
    remove_folder(place, place / _LOCK, lock)


def _lock_place(place: Path) -> int | None:
    """Create a spool folder if need be, and lock it; None where another process has the lock."""
    place.mkdir(mode=0o700, exist_ok=True)
    try:
        lock = os.open(place / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return None  # Another process has just removed the folder.
    if try_lock(lock) and has_name(lock, place / _LOCK):
        return lock
    os.close(lock)
    return None


def _remove_expired(home: Path) -> None:
    """Remove unused spool folders that are older than a report's retention."""
    before = time.time() - Limit.RETENTION_HOURS.default * 3600
    for place in home.iterdir():
        with suppress(OSError):
            if place.stat().st_mtime < before:
                lock = _lock_place(place)
                if lock is not None:
                    remove_folder(place, place / _LOCK, lock)

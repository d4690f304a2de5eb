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
from reelport.client.files.locks import remove_folder, try_lock_folder
from reelport.client.files.part import translate_io_errors
from reelport.client.settings.config import resolve_home

_FOLDER = "landing"
_FILE = "report.csv"


@contextmanager
def open_spool(name: str) -> Iterator[Path]:
    """Give a path to download to: the same for a name, unless another process uses it."""
    home = resolve_home(os.environ) / _FOLDER
    with translate_io_errors(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_expired(home)
        place = home / name
        lock = try_lock_folder(place)
    if lock is None:
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=home) as other:
            yield Path(other) / _FILE
        return
    try:
        yield place / _FILE
    except BrokenPipeError:
        remove_folder(place, lock)  # The reader of our output has closed the pipe.
        raise
    except BaseException:  # the partial download stays for the same command, which resumes it
        os.close(lock)
        raise
    remove_folder(place, lock)


def _remove_expired(home: Path) -> None:
    before = time.time() - Limit.RETENTION_HOURS.default * 3600
    for place in home.iterdir():
        with suppress(OSError):
            if place.stat().st_mtime < before:
                lock = try_lock_folder(place)
                if lock is not None:
                    remove_folder(place, lock)

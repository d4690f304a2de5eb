"""Where a CSV lands that isn't the file asked for: a place in the user's home that a killed command finds again.

It goes when the command has ended well. What was left and not fetched goes with the first command after two days:
the service has the report no longer than that.
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
from reelport.client.settings.config import home_of

_FOLDER = "landing"
_FILE, _LOCK = "report.csv", "lock"


@contextmanager
def open_spool(name: str) -> Iterator[Path]:
    """A path to download to. The same name leads to the same place, unless another process is at it."""
    home = home_of(os.environ) / _FOLDER
    with translate_io_errors(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        _tidy(home)
        place = home / name
        lock = _locked(place)
    if lock is None:
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=home) as other:
            yield Path(other) / _FILE
        return
    try:
        yield place / _FILE
    except BrokenPipeError:
        remove_folder(place, place / _LOCK, lock)  # Whoever read our output has had enough.
        raise
    except BaseException:  # what was had by then stays for the same command; it goes on
        os.close(lock)
        raise
    remove_folder(place, place / _LOCK, lock)


def _locked(place: Path) -> int | None:
    """A lock on the place, which is made where it isn't there; None where another process has it."""
    place.mkdir(mode=0o700, exist_ok=True)
    try:
        lock = os.open(place / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return None  # Whoever had it took it away just now.
    if try_lock(lock) and has_name(lock, place / _LOCK):
        return lock
    os.close(lock)
    return None


def _tidy(home: Path) -> None:
    """Take away what was left for longer than a report lives, unless somebody is at it."""
    before = time.time() - Limit.RETENTION_HOURS.default * 3600
    for place in home.iterdir():
        with suppress(OSError):
            if place.stat().st_mtime < before:
                lock = _locked(place)
                if lock is not None:
                    remove_folder(place, place / _LOCK, lock)

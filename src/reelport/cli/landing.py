"""Where a CSV lands that isn't the file asked for: a place in the user's home that a killed command finds again.

It goes when the command has ended well. What was left and not fetched goes with the first command after two days:
the service has the report no longer than that.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from reelport.catalog import Limit
from reelport.client.files.locks import held, still_named
from reelport.client.files.part import storage
from reelport.client.settings.config import home_of

_FOLDER = "landing"
_FILE, _LOCK = "report.csv", "lock"


@contextmanager
def landing(name: str) -> Iterator[Path]:
    """A path to download to. The same name leads to the same place, unless another process is at it."""
    home = home_of(os.environ) / _FOLDER
    with storage(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        _tidy(home)
    with _own(home / name) as place:
        try:
            yield place / _FILE
        except BrokenPipeError:
            shutil.rmtree(place, ignore_errors=True)  # Whoever read our output has had enough.
            raise
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _own(place: Path) -> Iterator[Path]:
    """The place, locked by us; one that only we know where another has it."""
    with ExitStack() as until_end:
        with storage(place):
            ours = _locked(place, until_end)
            if not ours:
                other = tempfile.TemporaryDirectory(prefix=f"{place.name}-", dir=place.parent)
                place = Path(until_end.enter_context(other))
        yield place


def _locked(place: Path, until_end: ExitStack) -> bool:
    """Whether the place is ours alone until the end."""
    place.mkdir(mode=0o700, exist_ok=True)
    try:
        lock = os.open(place / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return False  # Whoever had it took it away just now.
    until_end.callback(os.close, lock)
    return held(lock) and still_named(lock, place / _LOCK)


def _tidy(home: Path) -> None:
    """Take away what was left for longer than a report lives, unless somebody is at it."""
    before = time.time() - Limit.RETENTION_HOURS.default * 3600
    for place in home.iterdir():
        with suppress(OSError):
            if place.stat().st_mtime < before:
                with ExitStack() as until_end:
                    if _locked(place, until_end):
                        shutil.rmtree(place, ignore_errors=True)

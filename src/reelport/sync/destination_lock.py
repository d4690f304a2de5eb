"""One sync at a time on a destination: a lock that the system lets go of when its process ends, however it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reelport.client.files.locks import try_lock
from reelport.client.files.part import translate_io_errors
from reelport.errors import UsageError
from reelport.sync.spec import Place

_NAME, _HOLDER = "lock", "holder"
"""Who holds the lock stands in a file of its own: on Windows nobody else reads one that is locked."""


@contextmanager
def locked(place: Place) -> Iterator[Path]:
    """The workshop of a destination, for one process at a time. UsageError, which names the other, while it has it."""
    workshop = place.workshop
    with translate_io_errors(place.path):
        workshop.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(workshop / _NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not try_lock(descriptor):
            other = _read(workshop / _HOLDER)
            raise UsageError(f"Another sync (process {other}) is bringing {place} up to date: wait for it, or stop it.")
        with translate_io_errors(place.path):
            (workshop / _HOLDER).write_text(f"{os.getpid()}\n", "utf-8")
        try:
            yield workshop
        finally:
            (workshop / _HOLDER).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _read(holder: Path) -> str:
    """Which process wrote its number down; `unknown` where none has yet."""
    try:
        return holder.read_text("utf-8", "replace")[:20].strip() or "unknown"
    except OSError:
        return "unknown"

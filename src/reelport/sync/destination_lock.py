"""A lock: one sync at a time at a destination. It ends with its process."""

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
"""The holder's process id is in a second file: on Windows no other process can read a locked one."""


@contextmanager
def lock_destination(place: Place) -> Iterator[Path]:
    """Lock a destination's work folder. UsageError names the process that has it."""
    workshop = place.work_folder
    with translate_io_errors(place.path):
        workshop.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(workshop / _NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not try_lock(descriptor):
            other = _read_holder(workshop / _HOLDER)
            raise UsageError(f"Another sync (process {other}) is bringing {place} up to date: wait for it, or stop it.")
        with translate_io_errors(place.path):
            (workshop / _HOLDER).write_text(f"{os.getpid()}\n", "utf-8")
        try:
            yield workshop
        finally:
            (workshop / _HOLDER).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _read_holder(holder: Path) -> str:
    """Read the id of the process that holds the lock; `unknown` where none has written it yet."""
    try:
        return holder.read_text("utf-8", "replace")[:20].strip() or "unknown"
    except OSError:
        return "unknown"

"""One sync at a time on a destination: a lock that the system lets go of when its process ends, however it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reelport.client.files.locks import held
from reelport.client.files.part import storage
from reelport.errors import UsageError
from reelport.sync.spec import Place

_NAME = "lock"


@contextmanager
def locked(place: Place) -> Iterator[Path]:
    """The workshop of a destination, for one process at a time. UsageError, which names the other, while it has it."""
    workshop = place.workshop
    with storage(place.path):
        workshop.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(workshop / _NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not held(descriptor):
            other = os.read(descriptor, 200).decode("utf-8", "replace").strip() or "unknown"
            raise UsageError(f"Another sync (process {other}) is bringing {place} up to date: wait for it, or stop it.")
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield workshop
    finally:
        os.close(descriptor)

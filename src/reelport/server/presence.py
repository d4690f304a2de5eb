"""Which workers of a data directory are alive: each holds a lock that the system lets go when its process ends.

So a worker that was killed is known to be dead at once, and not only when its lease runs out.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reelport.facts.durable import storage_errors
from reelport.server.bell import Bell
from reelport.server.credentials import short_id
from reelport.server.settings import Settings

_SUFFIX = ".lock"


def new_owner() -> str:
    """A name for this process, unlike any other's of any machine."""
    host = re.sub(r"[^A-Za-z0-9.]+", "", socket.gethostname())[:40] or "host"
    return f"{host}-{os.getpid()}-{short_id()}"


def process_of(owner: str) -> int:
    """The number of the process, on its machine, that bears this name."""
    return int(owner.rsplit("-", 2)[1])


@contextmanager
def present(settings: Settings, owner: str) -> Iterator[Bell]:
    """Be known as alive under this name, with a bell, until the block or the process ends."""
    with storage_errors(settings.workers_root):
        settings.workers_root.mkdir(parents=True, exist_ok=True)
        name = settings.workers_root / f"{owner}{_SUFFIX}"
        # Locked before it has its name: nobody can find it unlocked while we live.
        draft = name.with_suffix(".new")
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        draft.rename(name)
    try:
        with Bell(settings, owner) as bell:
            yield bell
    finally:
        _forget(settings, owner)
        os.close(descriptor)


@contextmanager
def departed(settings: Settings) -> Iterator[tuple[str, ...]]:
    """The workers that died without a farewell, ours to clear up within the block and forgotten after it."""
    locked: dict[str, int] = {}
    try:
        for path in sorted(settings.workers_root.glob(f"*{_SUFFIX}")):
            descriptor = _take(path)
            if descriptor is not None:
                locked[path.name.removesuffix(_SUFFIX)] = descriptor
        yield tuple(locked)
        for owner in locked:
            _forget(settings, owner)
    finally:
        for descriptor in locked.values():
            os.close(descriptor)


def living(settings: Settings) -> tuple[str, ...]:
    """The workers that are alive on this machine."""
    return tuple(path.name.removesuffix(_SUFFIX) for path in _locked(settings))


def spill_of(settings: Settings, owner: str) -> Path:
    """Where a worker puts what doesn't fit into its memory; removed with it."""
    return settings.spill_root / owner


def _locked(settings: Settings) -> Iterator[Path]:
    """The locks that are held. The dead are left as they are: clearing up after them is for `departed`."""
    for path in sorted(settings.workers_root.glob(f"*{_SUFFIX}")):
        if path.exists():
            descriptor = _take(path)
            if descriptor is None:
                yield path
            else:
                os.close(descriptor)


def _take(path: Path) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _forget(settings: Settings, owner: str) -> None:
    shutil.rmtree(spill_of(settings, owner), ignore_errors=True)
    for suffix in (".bell", _SUFFIX):
        (settings.workers_root / f"{owner}{suffix}").unlink(missing_ok=True)

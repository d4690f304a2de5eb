"""Tells which workers live: by locked files in a data directory, or by heartbeats.

Each worker locks a file, and the system unlocks it when the process ends. So a killed worker is known to be dead at
once, not only when its lease runs out. The file holds the name of the worker's supervisor, which locks a file of its
own: while the supervisor lives, only it may handle the worker's death.

A worker that is ready also writes heartbeats into the state, by the state's clock. A worker of another directory or
machine is known to be dead when its heartbeats stop.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from sqlalchemy import Engine

from reelport.server.credentials import short_id
from reelport.server.settings import Settings
from reelport.server.state.database import reading, writing
from reelport.server.state.statements import Statements
from reelport.storage.durable import private, translate_io_errors

_SUFFIX = ".lock"
_SUPERVISOR = ".supervisor"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_SQL = Statements("queue/liveness")
BEAT_SECONDS = 10.0
"""Seconds between two heartbeats of a worker."""
SILENT_SECONDS = 35.0
"""Seconds without a heartbeat after which a worker counts as dead: three heartbeats and some slack."""
_FORGOTTEN_SECONDS = 3600.0


def make_owner_name(settings: Settings) -> str:
    """Make a unique name of this process: host, directory, process id and a random id."""
    return f"{_name_directory(settings)}-{os.getpid()}-{short_id()}"


def _name_directory(settings: Settings) -> str:
    """Name this data directory on this machine.

    The host's name alone won't do: two machines may have the same, and a machine may have two directories. Where the
    system tells it, the machine is known by its boot: what lies on its disk may be a copy of another machine's.
    """
    known: list[object] = []
    with suppress(OSError):  # no such file on this system
        known.append(_BOOT.read_text("ascii"))
    with suppress(OSError):  # a directory that went away holds nobody's lock
        found = settings.data.stat()
        known += found.st_dev, found.st_ino
    place = hashlib.sha256(repr(known).encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9.]+', '', socket.gethostname())[:40] or 'host'}-{place}"


def parse_pid(owner: str) -> int:
    """Parse the process id out of an owner's name."""
    return int(owner.rsplit("-", 2)[1])


@contextmanager
def hold_name(settings: Settings, owner: str, supervisor: str = "") -> Iterator[None]:
    """Count as alive until the block or process ends; '' is the name of no supervisor."""
    descriptor = _create_locked_file(settings, f"{owner}{_SUFFIX}", supervisor)
    try:
        yield
    finally:
        _remove_files(settings, owner)
        os.close(descriptor)


@contextmanager
def hold_supervisor_name(settings: Settings) -> Iterator[str]:
    """Count as a living supervisor until the block or the process ends; yields its name."""
    name = make_owner_name(settings)
    descriptor = _create_locked_file(settings, f"{name}{_SUPERVISOR}", "")
    try:
        yield name
    finally:
        (settings.workers_root / f"{name}{_SUPERVISOR}").unlink(missing_ok=True)
        os.close(descriptor)


def _create_locked_file(settings: Settings, name: str, content: str) -> int:
    with translate_io_errors(settings.workers_root), private():
        settings.workers_root.mkdir(parents=True, exist_ok=True)
        # Lock it before it has its final name: nobody can find it unlocked while this process lives.
        draft = settings.workers_root / f"{name}.new"
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, content.encode())
        draft.rename(settings.workers_root / name)
    return descriptor


def lock_unwatched_dead(settings: Settings) -> AbstractContextManager[tuple[str, ...]]:
    """Lock the dead workers whose supervisor is dead too; their files go after the block."""
    for path in settings.workers_root.glob(f"*{_SUPERVISOR}"):
        if _is_free(path):
            path.unlink(missing_ok=True)
    supervisors = {path.name.removesuffix(_SUPERVISOR) for path in settings.workers_root.glob(f"*{_SUPERVISOR}")}
    return _lock_and_forget_dead(
        settings, [path for path in _list_files(settings) if _read_supervisor(path) not in supervisors]
    )


def lock_dead(settings: Settings, supervisor: str, pid: int) -> AbstractContextManager[tuple[str, ...]]:
    """Lock a dead process that this supervisor watched; its files go after the block."""
    return _lock_and_forget_dead(settings, _find_watched(settings, supervisor, pid))


def is_unsettled(settings: Settings, supervisor: str, pid: int) -> bool:
    """Whether the death of a process that this supervisor watched was not handled yet."""
    return bool(_find_watched(settings, supervisor, pid))


def _find_watched(settings: Settings, supervisor: str, pid: int) -> list[Path]:
    found = settings.workers_root.glob(f"*-{pid}-*{_SUFFIX}")
    return [path for path in found if _read_supervisor(path) == supervisor]


def _read_supervisor(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@contextmanager
def _lock_and_forget_dead(settings: Settings, files: Iterable[Path]) -> Iterator[tuple[str, ...]]:
    """Lock the files of dead workers, so that no other process cleans up after them."""
    locked: dict[str, int] = {}
    try:
        for path in files:
            descriptor = _try_lock(path)
            if descriptor is not None:
                locked[path.name.removesuffix(_SUFFIX)] = descriptor
        yield tuple(locked)
        for owner in locked:
            _remove_files(settings, owner)
    finally:
        for descriptor in locked.values():
            os.close(descriptor)


def list_living(settings: Settings) -> tuple[str, ...]:
    """List the workers that are alive on this machine."""
    # Files of the dead stay: `lock_unwatched_dead` cleans up after them.
    locked = (path for path in _list_files(settings) if path.exists() and not _is_free(path))
    return tuple(path.name.removesuffix(_SUFFIX) for path in locked)


def spill_folder(settings: Settings, owner: str) -> Path:
    """The folder that a worker spills to, which goes with the worker's other files."""
    return settings.spill_root / owner


def _list_files(settings: Settings) -> list[Path]:
    return sorted(settings.workers_root.glob(f"*{_SUFFIX}"))


def _is_free(path: Path) -> bool:
    descriptor = _try_lock(path)
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


def _try_lock(path: Path) -> int | None:
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


def _remove_files(settings: Settings, owner: str) -> None:
    shutil.rmtree(spill_folder(settings, owner), ignore_errors=True)
    (settings.workers_root / f"{owner}{_SUFFIX}").unlink(missing_ok=True)


def record_heartbeat(db: Engine, owner: str) -> None:
    """Record that this worker is alive and ready."""
    with writing(db) as connection:
        _SQL.run(connection, "beat", {"owner": owner})


def unregister(db: Engine, owner: str) -> None:
    """Remove this worker, and every other that has sent no heartbeat for an hour."""
    with writing(db) as connection:
        _SQL.run(connection, "leave", {"owner": owner})
        _SQL.run(connection, "forget", {"longest": round(_FORGOTTEN_SECONDS * 1000)})


def list_ready(db: Engine, settings: Settings) -> tuple[str, ...]:
    """List the workers that are ready now. StorageError when the state can't be read."""
    with reading(db) as connection:
        fresh = _SQL.run(connection, "fresh", {"longest": round(SILENT_SECONDS * 1000)}).scalars().all()
    here, directory = frozenset(list_living(settings)), _name_directory(settings)
    return tuple(owner for owner in fresh if owner in here or owner.rsplit("-", 2)[0] != directory)

"""The identity of the place that a state lies in: a copy of the state has another one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, text

from reelport.server.settings import Settings
from reelport.server.state.database import reading
from reelport.storage.birth_time import read_birth_time
from reelport.storage.durable import private, sync_file, sync_folder, translate_io_errors
from reelport.storage.locked_folders import lock_folder

NAME = "state.place"
"""The file of a data directory that holds the identity of its SQLite state, and the number of its own inode."""
SEEN_NAME = "state.place-seen"
"""The file that holds device, time of change and time of birth of the file of the identity, as last read.

On another disk a copy may have the same inode by chance: it is then told by all of these, of which no program can set
the times. Where nothing was copied a restart may change the device, and a `chown` the time of change; a volume that is
mounted elsewhere, for a service that then owns it, has another of both. Only the birth stays; some file systems don't
tell it.
"""
_DATABASE = text("""
SELECT system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database())
FROM pg_control_system()
""")


def identify_place(db: Engine, settings: Settings) -> str:
    """Identify the place of a state: the same for as long as the state stays there.

    A PostgreSQL tells it, the same by a replica that takes over. Beside SQLite a file does, which knows when it was
    copied: then, and in a directory that was restored, it is another one. StorageError when it can't be read.
    """
    if settings.database_url:
        with reading(db) as connection:
            cluster, database = connection.execute(_DATABASE).one()
        return f"postgresql {cluster} {database}"
    path = settings.data / NAME
    with translate_io_errors(path), lock_folder(settings.data):
        if (identity := _read(path)) is None:
            identity = secrets.token_hex(16)
            path.with_name(SEEN_NAME).unlink(missing_ok=True)
            _write(path, lambda handle: f"{identity} {os.fstat(handle).st_ino}")
        found, seen = path.stat(), path.with_name(SEEN_NAME)
        record = " ".join([str(found.st_dev), str(found.st_ctime_ns), *_read_birth(path)])
        if not seen.exists() or seen.read_bytes() != record.encode():
            _write(seen, lambda _: record)
        return f"sqlite {identity}"


def find_place(db: Engine, settings: Settings) -> str | None:
    """Find the identity of a state's place and change nothing; None where it has none yet."""
    if settings.database_url:
        return identify_place(db, settings)
    path = settings.data / NAME
    with translate_io_errors(path):
        identity = _read(path)
    return identity and f"sqlite {identity}"


def _write(path: Path, compose: Callable[[int], str]) -> None:
    """Write a file, whole or not at all; `compose` gets its descriptor."""
    part = path.with_name(f".{path.name}-{secrets.token_hex(6)}")
    try:
        with private(), part.open("x", encoding="ascii") as file:
            file.write(compose(file.fileno()))
        sync_file(part)
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)


def _read(path: Path) -> str | None:
    """Read the identity; None without one, or where the file is a copy."""
    try:
        identity, inode = path.read_text("ascii").split()
        found = path.stat()
    except (FileNotFoundError, ValueError):
        return None
    if inode != str(found.st_ino):
        return None
    try:
        device, changed, *born = path.with_name(SEEN_NAME).read_text("ascii").split()
    except (FileNotFoundError, ValueError):
        return identity
    is_same_file = bool(born) and born == _read_birth(path)
    is_elsewhere = device != str(found.st_dev) and changed != str(found.st_ctime_ns) and not is_same_file
    return None if is_elsewhere else identity


def _read_birth(path: Path) -> list[str]:
    born = read_birth_time(path)
    return [] if born is None else [str(born)]

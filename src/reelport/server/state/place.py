"""The identity of the place that a state lies in: a copy of the state has another one."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from sqlalchemy import Engine, text

from reelport.server.settings import Settings
from reelport.server.state.database import reading
from reelport.storage.birth_time import read_birth_time
from reelport.storage.durable import private, sync_file, sync_folder, translate_io_errors
from reelport.storage.locked_folders import lock_folder

NAME = "state.place"
"""The file of a data directory that holds the identity of its SQLite state, and its own inode and time of birth.

No program can set them, and no restart, `chown` or mount elsewhere changes them. On another disk a copy may have the
same inode by chance: it was then born at another time.
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
            _write(path, identity)
        return f"sqlite {identity}"


def find_place(db: Engine, settings: Settings) -> str | None:
    """Find the identity of a state's place and change nothing; None where it has none yet."""
    if settings.database_url:
        return identify_place(db, settings)
    path = settings.data / NAME
    with translate_io_errors(path):
        identity = _read(path)
    return identity and f"sqlite {identity}"


def _write(path: Path, identity: str) -> None:
    """Write the identity and what tells the file from a copy, whole or not at all."""
    part = path.with_name(f".{path.name}-{secrets.token_hex(6)}")
    try:
        with private(), part.open("x", encoding="ascii") as file:
            file.write(f"{identity} {os.fstat(file.fileno()).st_ino} {read_birth_time(part)}")
        sync_file(part)
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)


def _read(path: Path) -> str | None:
    """Read the identity; None without one, or for a copy."""
    try:
        identity, inode, born = path.read_text("ascii").split()
        is_itself = inode == str(path.stat().st_ino) and born == str(read_birth_time(path))
    except (FileNotFoundError, ValueError):
        return None
    return identity if is_itself else None

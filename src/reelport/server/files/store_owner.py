"""The owner of a store of reports: one state of one service, in one place.

The owner's sweeps delete every other file in the store. A copy of a state has another place.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Engine, text

from reelport.errors import UsageError
from reelport.server.credentials import has_service_secret, load_service_secret
from reelport.server.settings import Settings
from reelport.server.state.database import reading
from reelport.server.state.secret_fingerprint import read_fingerprint, require_same_secret
from reelport.storage.durable import private, sync_file, sync_folder, translate_io_errors
from reelport.storage.file_store import FileStore, read_file
from reelport.storage.locked_folders import lock_folder

PLACE_FILE = "state.place"
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
    path = settings.data / PLACE_FILE
    with translate_io_errors(path), lock_folder(settings.data):
        if (identity := _read_place(path)) is None:
            identity = secrets.token_hex(16)
            _write(path, identity)
        return f"sqlite {identity}"


def find_place(db: Engine, settings: Settings) -> str | None:
    """Find the identity of a state's place and change nothing; None where it has none yet."""
    if settings.database_url:
        return identify_place(db, settings)
    path = settings.data / PLACE_FILE
    with translate_io_errors(path):
        identity = _read_place(path)
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


def _read_place(path: Path) -> str | None:
    """Read the identity; None without one, or for a copy."""
    try:
        identity, inode, born = path.read_text("ascii").split()
        is_itself = inode == str(path.stat().st_ino) and born == str(read_birth_time(path))
    except (FileNotFoundError, ValueError):
        return None
    return identity if is_itself else None


_HERE = -100
"""AT_FDCWD: a relative path begins at the process's folder."""
_BIRTH_TIME = 0x800
"""STATX_BTIME, in what is asked for and in what is told."""


class _Time(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_int64), ("nanoseconds", ctypes.c_uint32), ("_", ctypes.c_int32)]


class _Statx(ctypes.Structure):
    """The start of Linux's `struct statx`, and the room that the system writes the rest into."""

    _fields_ = [("told", ctypes.c_uint32), ("_", ctypes.c_uint32 * 15), ("read", _Time), ("born", _Time)]
    _fields_ += [("_rest", ctypes.c_uint8 * 160)]


def read_birth_time(path: Path) -> int | None:
    """Read when a file was made, in nanoseconds; None where the file system doesn't tell.

    Python's own `stat` tells it only outside Linux. OSError where the file can't be reached.
    """
    if sys.platform != "linux":
        return getattr(path.stat(), "st_birthtime_ns", None)
    statx = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
    found = _Statx()
    if statx is None or statx(_HERE, bytes(path), 0, _BIRTH_TIME, ctypes.byref(found)):
        path.stat()
        return None
    born = found.born.seconds * 1_000_000_000 + found.born.nanoseconds
    return born if found.told & _BIRTH_TIME and born else None


NAME = ".reelport-service"
"""The file that holds the fingerprint of a service's secret; no report has such a name."""
PLACE_NAME = ".reelport-state"
"""The file that holds the identity of the place that the service's state lies in."""


def require_own_store(db: Engine, settings: Settings) -> None:
    """Claim the prefix of report files for this state; UsageError if it is another one's."""
    if not settings.files_url:
        return
    own, place = require_same_secret(db, settings).fingerprint, identify_place(db, settings)
    store = settings.report_store
    if _read_owner(store, NAME, own) != own:
        # A state has one secret at a time, and no other service takes a prefix whose state lies elsewhere.
        if _read(store, PLACE_NAME) != place:
            raise UsageError(_describe_other_secret(settings))
        store.put(NAME, own.encode())
    if _read_owner(store, PLACE_NAME, place) != place:
        raise UsageError(_describe_other_place(settings))


def find_owner_fault(db: Engine, settings: Settings) -> str | None:
    """Say why `require_own_store` would refuse the prefix; None where it wouldn't."""
    if not settings.files_url:
        return None
    with reading(db) as connection:
        own = {None, read_fingerprint(connection)}
    if has_service_secret(settings):
        own.add(load_service_secret(settings).fingerprint)
    marked, place = _read(settings.report_store, PLACE_NAME), find_place(db, settings)
    if marked is not None and marked == place:
        return None
    if _read(settings.report_store, NAME) not in own:
        return _describe_other_secret(settings)
    return None if marked is None else _describe_other_place(settings)


def _describe_other_secret(settings: Settings) -> str:
    return (
        f"{settings.files_url} holds the reports of a service with another secret, whose files this one would "
        "delete. Take another prefix (REELPORT_FILES_URL); or, where that service is gone, or was this one before its "
        f"secret was replaced, delete {NAME} there."
    )


def _describe_other_place(settings: Settings) -> str:
    return (
        f"{settings.files_url} holds the reports of this service as it is elsewhere: its state was copied, moved "
        "or restored, and each would delete the other's files. Take another prefix (REELPORT_FILES_URL); or, where "
        f"the other one never starts again, delete {PLACE_NAME} there, and this one takes over."
    )


def _read_owner(store: FileStore, name: str, own: str) -> str | None:
    if (found := _read(store, name)) is not None:
        return found
    with suppress(FileExistsError):
        store.put(name, own.encode(), is_new=True)
        return own
    return _read(store, name)


def _read(store: FileStore, name: str) -> str | None:
    try:
        return read_file(store, name).decode().strip()
    except FileNotFoundError:
        return None

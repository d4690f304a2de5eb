"""Checks of a data directory itself: its layout file, its permissions, and its disk."""

from __future__ import annotations

import fcntl
import os
import pwd
import shlex
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from reelport.errors import ReelportError
from reelport.facts.layout import FILE_NAME, UNFINISHED_NAME, check_layout
from reelport.server.credentials import short_id
from reelport.server.doctor import start_checks
from reelport.server.queue.supervisor import can_begin
from reelport.server.settings import Settings
from reelport.server.state import database, revisions
from reelport.storage.durable import Readers, describe_os_error
from reelport.wording import format_size

_MIN_FREE_BYTES = 1_000_000_000
_MIN_FREE_SHARE = 0.05
_MAX_SYNC_SECONDS = 0.2
_SYNCS = 5
_OWNER_ONLY = ("secret.key", "workers", "spill", "facts/.work")
"""Paths that only the owner may read, whatever the setting: the secret, and files of running processes."""
_HOW_MADE = "the first load, sample, org add or serve makes it"


def check_directory(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Check that it is a data directory of this version; none is fine with a new PostgreSQL."""
    data = settings.data
    if (data / FILE_NAME).exists() or (data / UNFINISHED_NAME).exists():
        check_layout(data)  # which tells an unfinished restore, too
        yield True, f"{data} has a layout that this version knows."
    elif data.is_dir() and any(data.iterdir()):
        yield False, f"{data} has no layout.json: is it a data directory of Reelport?"
    elif settings.database_url and _is_new(settings):
        yield True, f"{data} is new, as the database is: {_HOW_MADE}."
    elif can_begin(settings):
        yield True, f"{data} is new, and all that others need lies elsewhere: the first worker makes it."
    elif data.exists() and not data.is_dir():
        yield False, f"{data.absolute()} is no directory: name the data directory by --data or REELPORT_DATA."
    else:
        what = "holds no layout.json" if data.is_dir() else "isn't there"
        # It may have been lost, or the path may be wrong: without a database nothing tells that from a first start.
        yield False, f"{data.absolute()} {what}: {_HOW_MADE}. If there is one, name it by --data or REELPORT_DATA."


def _is_new(settings: Settings) -> bool:
    with open_state(settings) as (db, revision):
        return db is not None and revision is None


@contextmanager
def open_state(settings: Settings) -> Iterator[tuple[Engine | None, str | None]]:
    """Open the database, if there is one, with its revision: "" where it can't be read."""
    db, revision = None, None
    try:
        if settings.database_url or settings.state_file.exists():
            db = database.open_database(settings)
            with database.reading(db) as connection:
                revision = revisions.read_revision(connection)
    except ReelportError:
        revision = ""
    try:
        yield db, revision
    finally:
        if db is not None:
            db.dispose()


def check_permissions(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Check that the right users can read it and nobody else, nor replace it."""
    data, readers = settings.data, settings.readers
    if not data.is_dir():
        return
    audience = "its owner" if readers is Readers.OWNER else "its owner and group"
    hint = " (its group may read them where REELPORT_READABLE_BY=group)" if readers is Readers.OWNER else ""
    modes, own = tuple(_walk_modes(data)), {data / name for name in _OWNER_ONLY}
    too_open = [path for path, mode in modes if stat.S_IMODE(mode) & readers.denied_bits]
    too_closed = [path for path, mode in modes if readers.needed_bits(mode) & ~mode and not own & {path, *path.parents}]
    if too_open:
        denied = "go-rwx" if readers is Readers.OWNER else "g-w,o-rwx"
        closing = f"chmod -R {denied} {shlex.quote(str(data))}"
        yield False, f"{_count_paths(too_open)} open to more than {audience}{hint}. To close them: {closing}"
    if too_closed:
        spared = " ".join(f"-name {Path(name).name} -prune -o" for name in _OWNER_ONLY)
        opening = f"find {shlex.quote(str(data))}/. {spared} -exec chmod g+rX {{}} +"
        why = "though REELPORT_READABLE_BY=group lets it"
        yield False, f"{_count_paths(too_closed)} closed to its group, {why}. To open them: {opening}"
    if not too_open and not too_closed:
        yield True, f"Open to {audience} alone."
    yield from ((False, sentence) for sentence in start_checks.describe_replaceable(data))


def check_access(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Check that this user can read and write all of it, as commands that write must."""
    if not settings.data.is_dir():
        return
    if inaccessible := list_inaccessible(settings.data):
        mend = _format_owner_command(settings.data)
        closed = f"{_count_paths(inaccessible)} closed to the user of its commands, who has to read and write."
        yield False, f"{closed} Mend it: {mend}"
    else:
        yield True, "Its user can read and write what is in it."


def list_inaccessible(data: Path) -> tuple[Path, ...]:
    """List what this user, or for root the owner, can't use: folders, databases, other files."""
    return tuple(path for path, mode in _walk_modes(data) if not _is_usable(path, mode))


def _format_owner_command(data: Path) -> str:
    owner = data.stat().st_uid
    if os.geteuid() in {0, owner}:
        return f"chmod -R u+rwX {shlex.quote(str(data))}"
    give = f"chown -R {_name_user(os.geteuid())} {shlex.quote(str(data))}"
    return f"run Reelport as {_name_user(owner)}, to whom it belongs, or give it to this user as root: {give}"


def _is_usable(path: Path, mode: int) -> bool:
    if stat.S_ISDIR(mode):
        needed = os.R_OK | os.W_OK | os.X_OK
    else:
        needed = os.R_OK | os.W_OK if path.name.startswith("state.db") else os.R_OK
    # The owner's permission bits are R_OK, W_OK and X_OK, shifted by six.
    denied_to_owner = os.geteuid() == 0 and needed << 6 & ~mode
    return not denied_to_owner and (os.access(path, needed) or not path.exists())


def _name_user(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _walk_modes(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield a folder and the folders and regular files in it, with their modes."""
    waiting = [folder]
    yield folder, folder.stat().st_mode
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    mode = entry.stat(follow_symlinks=False).st_mode
                    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                        yield Path(entry.path), mode
                    if stat.S_ISDIR(mode):
                        waiting.append(Path(entry.path))
        except (FileNotFoundError, PermissionError):
            # `list_inaccessible` reports folders that can't be listed.
            continue


def _count_paths(paths: Sequence[Path]) -> str:
    return f"{len(paths)} files and folders, such as {paths[0]}, are" if len(paths) > 1 else f"{paths[0]} is"


def check_disk(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Check that its disk has free space, and writes and syncs 4 kB fast enough."""
    if not settings.data.is_dir():
        return
    space = shutil.disk_usage(settings.data)
    needed = max(_MIN_FREE_BYTES, round(_MIN_FREE_SHARE * space.total))
    free_space = f"{format_size(space.free)} of {format_size(space.total)} are free"
    advice = (
        f", and {format_size(needed)} should be (1 GB, and 5 % of the disk). Make room, move the data directory to "
        "a larger disk, or keep reports for less long (REELPORT_RETENTION_HOURS)."
    )
    enough = space.free >= needed
    yield enough, f"{free_space}{'.' if enough else advice}"
    # The least of some: what else the disk has to do at one moment says nothing of how fast it is.
    seconds = min(_time_sync(settings.data / f".probe-{short_id()}") for _ in range(_SYNCS))
    yield seconds < _MAX_SYNC_SECONDS, f"Writing and syncing 4 kB takes {seconds * 1000:.1f} ms."
    if fault := _find_lock_fault(settings.data / f".probe-{short_id()}"):
        yield False, f"A file of it can't be locked: {fault}."


def _find_lock_fault(probe: Path) -> str | None:
    """Say why a lock by which processes keep each other out can't be had; None if all can."""
    try:
        for lock in (fcntl.flock, fcntl.lockf):
            with probe.open("wb") as file:  # one after the other: over NFS the two keep each other out
                lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return describe_os_error(error, probe)
    finally:
        probe.unlink(missing_ok=True)
    return None


def _time_sync(probe: Path) -> float:
    started = time.perf_counter()
    try:
        with probe.open("wb") as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
    finally:
        probe.unlink(missing_ok=True)
    return time.perf_counter() - started

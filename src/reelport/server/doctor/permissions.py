"""Who can read and change a data directory: others than those who should, fewer than those, and this user itself."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from reelport.facts.modes import Readers

_OWNER_ONLY = ("secret.key", "workers", "spill", "facts/.work")
"""What is for its user alone, whoever reads the rest: the secret, and what processes hold while they run."""


def list_too_open(data: Path, readers: Readers) -> tuple[Path, ...]:
    """The directory itself and all in it that others may read or change. What goes away meanwhile is not there."""
    return tuple(path for path, mode in _walk_modes(data) if stat.S_IMODE(mode) & readers.denied_bits)


def format_closing_command(data: Path, readers: Readers) -> str:
    """The command after which others may neither read nor change anything in it."""
    denied = "go-rwx" if readers is Readers.OWNER else "g-w,o-rwx"
    return f"chmod -R {denied} {shlex.quote(str(data))}"


def list_too_closed(data: Path, readers: Readers) -> tuple[Path, ...]:
    """The directory itself and all in it that its group should be able to read and can't; none where it should not."""
    own = {data / name for name in _OWNER_ONLY}
    return tuple(
        path
        for path, mode in _walk_modes(data)
        if readers.needed_bits(mode) & ~mode and not own & {path, *path.parents}
    )


def format_group_command(data: Path) -> str:
    """The command after which its group may read all in it that it should."""
    own = " ".join(f"-name {Path(name).name} -prune -o" for name in _OWNER_ONLY)
    return f"find {shlex.quote(str(data))}/. {own} -exec chmod g+rX {{}} +"


def list_inaccessible(data: Path) -> tuple[Path, ...]:
    """All in it that this user can't use: folders and state that it can't change, others that it can't read.

    Root is kept from nothing. It is told what the owner is kept from, whose services those files are for.
    """
    return tuple(path for path, mode in _walk_modes(data) if not _is_usable(path, mode))


def format_owner_command(data: Path) -> str:
    """The command after which this user may use all in it."""
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
    # The owner's three bits are these very numbers, shifted.
    denied_to_owner = os.geteuid() == 0 and needed << 6 & ~mode
    return not denied_to_owner and (os.access(path, needed) or not path.exists())


def _name_user(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def describe_replaceable(data: Path) -> tuple[str, ...]:
    """A sentence for each folder above it in which another user could move it away, and put another in its place."""
    owner = data.stat().st_uid
    # Where it is reached by a link, the link could be replaced as well.
    above = dict.fromkeys((*data.absolute().parents, *data.resolve().parents))
    return tuple(sentence for folder in above for sentence in _describe_writers(folder, owner))


def _describe_writers(folder: Path, owner: int) -> Iterator[str]:
    found = folder.stat()
    if found.st_uid not in {0, owner}:
        yield f"{folder} above it belongs to another user, who could put another directory in its place."
    # In a sticky folder, such as /tmp, only its owner moves what is in it.
    elif found.st_mode & stat.S_ISVTX:
        return
    elif found.st_mode & stat.S_IWOTH:
        yield _describe_open_folder(folder, "everybody", "o-w")
    elif found.st_mode & stat.S_IWGRP and not _is_private_group(found.st_gid, owner):
        yield _describe_open_folder(folder, "its group", "g-w")


def _describe_open_folder(folder: Path, whom: str, mode: str) -> str:
    mend = f"chmod {mode} {shlex.quote(str(folder))}"
    return f"{folder} above it can be changed by {whom}, who could put another directory in its place: {mend}"


def _is_private_group(number: int, owner: int) -> bool:
    """Whether nobody else is in a group: it is root's, or the one that this user alone is in."""
    if number == 0:
        return True
    try:
        return number == pwd.getpwuid(owner).pw_gid and not grp.getgrgid(number).gr_mem
    except KeyError:
        return False


def _walk_modes(folder: Path) -> Iterator[tuple[Path, int]]:
    """All in a folder, and it, with their modes; links are not followed, and have none of their own."""
    waiting = [folder]
    yield folder, folder.stat().st_mode
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    mode = entry.stat(follow_symlinks=False).st_mode
                    if not stat.S_ISLNK(mode):
                        yield Path(entry.path), mode
                    if stat.S_ISDIR(mode):
                        waiting.append(Path(entry.path))
        except (FileNotFoundError, PermissionError):
            # One that may not be listed is told by `list_shut`.
            continue

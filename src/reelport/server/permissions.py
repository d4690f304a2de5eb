"""Whether others than those who should can read a data directory, or put another one in its place."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from reelport.facts.modes import Readers


def list_wider(data: Path, readers: Readers) -> tuple[Path, ...]:
    """The directory itself and all in it that others may read or change. What goes away meanwhile is not there."""
    return tuple(path for path, mode in _modes(data) if stat.S_IMODE(mode) & readers.denied)


def mending(data: Path, readers: Readers) -> str:
    """The command after which others may neither read nor change anything in it."""
    denied = "go-rwx" if readers is Readers.OWNER else "g-w,o-rwx"
    return f"chmod -R {denied} {shlex.quote(str(data))}"


def list_movable(data: Path) -> tuple[str, ...]:
    """A sentence for each folder above it in which another user could move it away, and put another in its place."""
    owner = data.stat().st_uid
    # Where it is reached by a link, the link could be replaced as well.
    above = dict.fromkeys((*data.absolute().parents, *data.resolve().parents))
    return tuple(sentence for folder in above for sentence in _others_in(folder, owner))


def _others_in(folder: Path, owner: int) -> Iterator[str]:
    found = folder.stat()
    if found.st_uid not in {0, owner}:
        yield f"{folder} above it belongs to another user, who could put another directory in its place."
    # In a sticky folder, such as /tmp, only its owner moves what is in it.
    elif found.st_mode & stat.S_ISVTX:
        return
    elif found.st_mode & stat.S_IWOTH:
        yield _open_to(folder, "everybody", "o-w")
    elif found.st_mode & stat.S_IWGRP and not _is_own_group(found.st_gid, owner):
        yield _open_to(folder, "its group", "g-w")


def _open_to(folder: Path, whom: str, mode: str) -> str:
    mend = f"chmod {mode} {shlex.quote(str(folder))}"
    return f"{folder} above it can be changed by {whom}, who could put another directory in its place: {mend}"


def _is_own_group(number: int, owner: int) -> bool:
    """Whether nobody else is in a group: it is root's, or the one that this user alone is in."""
    if number == 0:
        return True
    try:
        return number == pwd.getpwuid(owner).pw_gid and not grp.getgrgid(number).gr_mem
    except KeyError:
        return False


def _modes(folder: Path) -> Iterator[tuple[Path, int]]:
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
        except FileNotFoundError:
            continue

"""Files that stay once they are there: each is on the disk before anything relies on it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from reelport.client.files.locks import POSIX, rename_into_place


def synced(path: Path) -> Path:
    """The file or folder, once its bytes or names are on the disk."""
    if not POSIX and path.is_dir():
        return path  # Windows syncs no folders: NTFS writes down names by itself.
    handle = os.open(path, os.O_RDONLY if POSIX else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return path


def point(link: Path, target: str) -> None:
    """Let a symbolic link point elsewhere, in one step; where links can't be made, a file that holds the target."""
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        fresh.symlink_to(target)
    except (OSError, NotImplementedError):  # a Windows without the right to, a disk without links
        fresh.write_text(f"{target}\n", "utf-8")
        synced(fresh)
    rename_into_place(fresh, link)
    synced(link.parent)


def pointed(link: Path) -> Path | None:
    """What it points to, be that there or not; None where there is no such link."""
    if link.is_symlink():
        return link.resolve()
    return (link.parent / link.read_text("utf-8").strip()).resolve() if link.is_file() else None


def share(file: Path, name: Path) -> None:
    """Give a file one more name; on a disk that has no such names, a copy of it."""
    try:
        name.hardlink_to(file)
    except (OSError, NotImplementedError):
        shutil.copyfile(file, name)
        synced(name)

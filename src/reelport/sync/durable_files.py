"""Durable files: fsync, and links that are replaced atomically."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from reelport.client.files.locks import POSIX, rename_into_place


def fsync_path(path: Path) -> Path:
    """Flush a file's bytes, or a folder's names, to the disk; return the path."""
    if not POSIX and path.is_dir():
        return path  # Windows syncs no folders: NTFS writes down names by itself.
    handle = os.open(path, os.O_RDONLY if POSIX else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return path


def point_link(link: Path, target: str) -> None:
    """Point a link elsewhere, atomically; a text file where links can't be made."""
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        fresh.symlink_to(target)
    except (OSError, NotImplementedError):  # a Windows without the right to, a disk without links
        fresh.write_text(f"{target}\n", "utf-8")
        fsync_path(fresh)
    rename_into_place(fresh, link)
    fsync_path(link.parent)


def read_link(link: Path) -> Path | None:
    """Return the link's target, whether that exists or not; None where there is no such link."""
    if link.is_symlink():
        return link.resolve()
    return (link.parent / link.read_text("utf-8").strip()).resolve() if link.is_file() else None


def link_or_copy(file: Path, name: Path) -> None:
    """Hard-link a file under one more name; copy it where the disk has no hard links."""
    try:
        name.hardlink_to(file)
    except (OSError, NotImplementedError):
        shutil.copyfile(file, name)
        fsync_path(name)

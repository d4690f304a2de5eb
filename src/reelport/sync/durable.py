"""Files that stay once they are there: each is on the disk before anything relies on it."""

from __future__ import annotations

import os
from pathlib import Path


def synced(path: Path) -> Path:
    """The file or folder, once its bytes or names are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return path


def point(link: Path, target: str) -> None:
    """Let a symbolic link point elsewhere, in one step."""
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
    synced(link.parent)
